from typing import Literal

import disnake

from botctl import Command, Context, GuildSettingsStore
from botctl.core.contracts.guild_settings import GuildSettings, plain, unknown

Key = Literal["locale", "disabled", "log_channel"]
UNKNOWN = {"en": "There is no such command. Is it misspelt?", "de": "So einen Befehl habe ich nicht; vertippt?"}
TITLE = {"en": "Settings of this server", "de": "Einstellungen dieses Servers"}


class Settings(Command):
    """Show or change the settings of this server."""

    roles = ("admin",)
    defer = "ephemeral"
    guild_only = True

    def __init__(self, store: GuildSettingsStore) -> None:
        self.store = store

    async def execute_show(self, ctx: Context) -> None:
        """Show the settings."""
        await self.show(ctx, await self.store.get(ctx.guild))

    async def execute_set(self, ctx: Context, setting: Key, value: str) -> None:
        """Change a setting.

        Parameters
        ----------
        setting: The setting
        value: A locale (de), commands to switch off (roll, ops status; +poll, -poll), or a channel
        """
        await self.change(ctx, setting, value)

    async def execute_reset(self, ctx: Context, setting: Key) -> None:
        """Set a setting back to its default."""
        await self.change(ctx, setting, None)

    async def change(self, ctx: Context, setting: Key, value: str | None) -> None:
        # An invalid value raises UsageError, whose text the user sees.
        settings = await self.store.update(ctx.guild, {setting: value}, actor=str(ctx.user.id))
        names = unknown(settings, ctx.bot.policies()) if setting == "disabled" else []
        await self.show(ctx, settings, f"{ctx.pick(UNKNOWN)} {', '.join(names)}" if names else None)

    async def show(self, ctx: Context, settings: GuildSettings, note: str | None = None) -> None:
        embed = disnake.Embed(title=ctx.pick(TITLE), colour=disnake.Colour.blurple())
        for key, value in plain(settings).items():
            shown = ", ".join(value) if isinstance(value, list) else value
            embed.add_field(key, f"<#{shown}>" if key == "log_channel" and shown else shown or "-", inline=False)
        await ctx.reply(note, embed=embed, ephemeral=True)
