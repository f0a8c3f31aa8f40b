"""The settings of each guild (Discord server): read through a cache, changed from Discord or the terminal.

In: changes (`core.contracts.guild_settings`). Out: documents in MongoDB, an event and an audit entry for each change.
"""
