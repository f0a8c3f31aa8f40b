"""Events between the processes of a bot, as streams in Redis.

The events on the bus of a process come in (`relay`). A log that all processes read goes out (`log`). Read `log` first.
"""
