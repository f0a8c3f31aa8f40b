"""Events between the processes of a bot, as streams in Redis.

In: what is published on the bus of a process (`relay`). Out: a log that all processes read (`log`). Read `log` first.
"""
