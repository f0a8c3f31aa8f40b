from typing import Literal

import disnake

from botctl import Command, Context, GuildSettingsStore
from botctl.core.contracts.guild_settings import GuildSettings, plain, unknown

Key = Literal["locale", "disabled", "log_channel"]
STRANGE = {"en": "I have no such command; is it misspelt?", "de": "So einen Befehl habe ich nicht; vertippt?"}
TITLE = {"en": "Settings of this server", "de": "Einstellungen dieses Servers"}


class Settings(Command):
    """What this server may set for itself."""

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
        setting: Which one
        value: A locale (de), commands to switch off (roll, ops status; +poll, -poll), or a channel
        """
        await self.change(ctx, setting, value)

    async def execute_reset(self, ctx: Context, setting: Key) -> None:
        """Let a setting be as if it had never been set."""
        await self.change(ctx, setting, None)

    async def change(self, ctx: Context, setting: Key, value: str | None) -> None:
        # A value that makes no sense raises UsageError, which the person gets to read.
        settings = await self.store.update(ctx.guild, {setting: value}, actor=str(ctx.user.id))
        strange = unknown(settings, ctx.bot.policies()) if setting == "disabled" else []
        await self.show(ctx, settings, f"{ctx.pick(STRANGE)}: {', '.join(strange)}" if strange else None)

    async def show(self, ctx: Context, settings: GuildSettings, note: str | None = None) -> None:
        embed = disnake.Embed(title=ctx.pick(TITLE), colour=disnake.Colour.blurple())
        for key, value in plain(settings).items():
            shown = ", ".join(value) if isinstance(value, list) else value
            embed.add_field(key, f"<#{shown}>" if key == "log_channel" and shown else shown or "-", inline=False)
        await ctx.reply(note, embed=embed, ephemeral=True)
