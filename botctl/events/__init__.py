"""Carries events between the processes of a bot, in streams of Redis.

The events on the bus of a process come in (`relay`). A log that all processes read goes out (`log`). Read `log` first.
"""
