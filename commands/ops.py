from datetime import timedelta

import disnake

from botctl import Command, Context, StatusSource


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
        embed.set_footer(text=f"Up for {timedelta(seconds=round(ctx.bot.uptime_s))}")
        await ctx.reply(embed=embed, ephemeral=True)
