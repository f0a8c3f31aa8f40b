"""The routes of the local Discord, by what they are about. Importing this fills the table of `botctl.sandbox.rest`."""

from botctl.sandbox.routes import (
    accounts,
    applications,
    audit_log,
    bans,
    channels,
    emojis,
    guild_channels,
    guilds,
    interactions,
    invites,
    members,
    roles,
)

__all__ = [
    "accounts",
    "applications",
    "audit_log",
    "bans",
    "channels",
    "emojis",
    "guild_channels",
    "guilds",
    "interactions",
    "invites",
    "members",
    "roles",
]
