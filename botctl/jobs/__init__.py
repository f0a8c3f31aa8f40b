"""Scheduled jobs. One process of the bot runs each job at its due times, or when an operator asks.

In: the jobs of ``commands/`` and a lease. Out: records in MongoDB, events, audit entries. Read `planning` first, then
`store`, `runner` and `scheduler`.
"""
