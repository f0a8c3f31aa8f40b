"""A helper: its name begins with ``_``, so that it is not taken for a command. The files beside it may import it."""

import disnake
from disnake.ext import commands

from botctl import GuildSettingsStore


async def post(
    bot: commands.InteractionBot, guilds: GuildSettingsStore, guild: str | None, embed: disnake.Embed
) -> None:
    """Send ``embed`` to the log channel of ``guild``, where it has one."""
    channel = (await guilds.get(guild)).log_channel if guild else None
    if channel:
        await bot.get_partial_messageable(int(channel)).send(embed=embed)
