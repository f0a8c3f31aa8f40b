"""The logins of the bot at Discord's gateway: counted, spaced, and never used up by restarts.

A login is an IDENTIFY. In comes what Discord says of its limit, and each shard that wants to log in; out goes the
permission, or the time until which it waits. `budget` has the arithmetic, `pauses` the time between starts, `gate` what
every login passes, `token_claim` that one process has a token. Start with `gate`.
"""
