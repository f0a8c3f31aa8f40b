"""Scheduled jobs. One process of the bot runs each job at its due times, or when an operator asks.

The jobs of ``commands/`` and a lease come in; records in MongoDB, events and audit entries go out. Read `planning`
first, then `store`, `runner` and `scheduler`.
"""
