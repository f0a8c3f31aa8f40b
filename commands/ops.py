from datetime import timedelta

import disnake
from disnake.ext import commands

from botctl import Command, Context, ShardStatus, StatusSource


def suggest_questions(inter: disnake.ApplicationCommandInteraction, typed: str) -> list[str]:
    """Suggest commands and permissions that contain what was typed."""
    return inter.bot.access_questions(typed)


MAX_DESCRIPTION = 4096  # Discord: Message > Embed Limits


def describe(shard: ShardStatus) -> str:
    """Show a shard in one line."""
    if shard.up:
        ping = "no heartbeat yet" if shard.latency_ms is None else f"{shard.latency_ms:.0f} ms"
        line = f"\N{LARGE GREEN CIRCLE} #{shard.id} {ping}, {shard.guilds:,} servers"
    else:
        line = f"\N{LARGE RED CIRCLE} #{shard.id} {shard.state} since {disnake.utils.format_dt(shard.since, 'R')}"
    if shard.last_event_at:
        line += f", last event {disnake.utils.format_dt(shard.last_event_at, 'R')}"
    if shard.last_close:
        line += f", last lost {disnake.utils.format_dt(shard.last_close.at, 'R')} ({shard.last_close})"
    return line


class Ops(Command):
    """Operate the bot."""

    roles = ("admin", "moderator")
    defer = "ephemeral"

    def __init__(self, status: StatusSource) -> None:
        self.status = status

    async def execute_status(self, ctx: Context) -> None:
        """Show the state of every part of the bot."""
        health = {service.name: service for service in await self.status.health()}
        healthy = all(service.ok for service in health.values())
        embed = disnake.Embed(
            title="All is well" if healthy else "Something is wrong",
            colour=disnake.Colour.green() if healthy else disnake.Colour.red(),
        )
        for service in self.status.statuses():
            check = health.get(service.name)
            mark = "\N{LARGE GREEN CIRCLE}" if check and check.ok else "\N{LARGE RED CIRCLE}"
            detail = (check.detail if check else "") or service.detail or service.state
            embed.add_field(f"{mark} {service.name}", detail[:200])
        if len(shards := ctx.bot.gateway.statuses()) > 1:
            lines = map(describe, sorted(shards, key=lambda shard: shard.up))  # what is lost stands first
            embed.description = "\n".join(lines)[:MAX_DESCRIPTION]
        embed.set_footer(text=f"Up for {timedelta(seconds=round(ctx.bot.uptime_s))}")
        await ctx.reply(embed=embed, ephemeral=True)

    class Why(Command):
        """Show why you may do something, or why not."""

        roles = ()  # everyone may ask about themselves

        async def execute(self, ctx: Context, what: str = commands.Param(autocomplete=suggest_questions)) -> None:
            """Show why you may do something, or why not.

            Parameters
            ----------
            what: A command, or a permission
            """
            told = await ctx.explain_access(what)
            text = "\n".join([f"**{told.answer}**", *(f"- {step}" for step in told.steps), told.change])
            await ctx.reply(text[:2000], ephemeral=True)
