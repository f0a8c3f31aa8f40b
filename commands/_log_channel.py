"""A helper for the other files: a name that begins with ``_`` holds no commands."""

import disnake
from disnake.ext import commands

from botctl import GuildSettingsStore


async def post(
    bot: commands.InteractionBot, guilds: GuildSettingsStore, guild: str | None, embed: disnake.Embed
) -> None:
    """Send ``embed`` to the log channel of ``guild``, if it has one."""
    channel = (await guilds.get(guild)).log_channel if guild else None
    if channel:
        await bot.get_partial_messageable(int(channel)).send(embed=embed)
