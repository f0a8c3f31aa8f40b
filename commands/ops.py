from collections.abc import Sequence
from datetime import timedelta

import disnake
from disnake.ext import commands

from botctl import (
    Command,
    Context,
    Diagnosis,
    Health,
    HealthSource,
    ServiceHealth,
    ServiceStatus,
    ShardStatus,
    StatusSource,
)

# Discord: Message > Embed Limits. One of the 25 fields is for what has no field of its own; the footer needs some room.
MAX_FIELDS, MAX_TEXT, MAX_DESCRIPTION, MAX_EMBED, MAX_SENTENCE = 24, 1024, 4096, 5900, 300


def suggest_questions(inter: disnake.ApplicationCommandInteraction, typed: str) -> list[str]:
    """Suggest commands and permissions that contain what was typed."""
    return inter.bot.access_questions(typed)


def describe_verdict(found: Diagnosis) -> disnake.Embed:
    """Show the verdict on the bot, why, and what to do."""
    colours = {Health.HEALTHY: disnake.Colour.green(), Health.DEGRADED: disnake.Colour.orange()}
    sentences = [found.why, found.action and f"**What to do:** {found.action}"]
    return disnake.Embed(
        title=found.verdict.capitalize(),
        description="\n".join(sentence[:MAX_SENTENCE] for sentence in sentences if sentence),
        colour=colours.get(found.verdict, disnake.Colour.red()),
    )


def add_services(embed: disnake.Embed, statuses: Sequence[ServiceStatus], health: Sequence[ServiceHealth]) -> None:
    """Show each service that has something to tell, those that are not well first, and the names of the others."""
    checks = {check.name: check for check in health}
    well = {service.name: service.name in checks and checks[service.name].ok for service in statuses}
    others = []
    for service in sorted(statuses, key=lambda service: well[service.name]):
        detail = (checks[service.name].detail if service.name in checks else "") or service.detail
        if len(embed.fields) == MAX_FIELDS or (well[service.name] and not detail):
            others.append(service.name)
        else:
            mark = "\N{LARGE GREEN CIRCLE}" if well[service.name] else "\N{LARGE RED CIRCLE}"
            embed.add_field(f"{mark} {service.name}", (detail or service.state)[:150])
    if others:
        embed.add_field("And", ", ".join(others)[:MAX_TEXT], inline=False)


def describe_shard(shard: ShardStatus) -> str:
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

    def __init__(self, status: StatusSource, health: HealthSource) -> None:
        self.status = status
        self.health = health

    async def execute_status(self, ctx: Context) -> None:
        """Show how the bot is, and the state of every part of this process."""
        embed = describe_verdict(self.health.of_bot())
        add_services(embed, self.status.statuses(), await self.status.health())
        if len(shards := ctx.bot.gateway.statuses()) > 1:
            lines = map(describe_shard, sorted(shards, key=lambda shard: shard.up))  # what is lost stands first
            room = min(MAX_DESCRIPTION, MAX_EMBED - len(embed) + len(embed.description or ""))
            embed.description = "\n".join([embed.description or "", "", *lines])[:room]
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
