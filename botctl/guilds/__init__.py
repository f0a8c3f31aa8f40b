"""The settings of each guild (Discord server): read through a cache, changed from Discord or the terminal.

Changes (`core.contracts.guild_settings`) come in. Documents in MongoDB go out, and an event and an audit entry for
each change. Read `store` first.
"""
