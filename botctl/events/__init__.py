"""Carries events between the processes of a bot, in streams of Redis.

In: what is published on the bus of a process (`relay`). Out: a log that all processes read (`log`). Read `log` first.
"""
