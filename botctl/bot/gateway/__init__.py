"""The connections to Discord's gateway: shards, and sessions that outlive a process.

Events go out to disnake's client. Read `shards` first, then `shard` (the life of one connection) and `shard_rules`;
for a RESUME in a new process `stored_sessions`, then `resume_rules`.
"""
