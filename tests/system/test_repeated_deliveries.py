"""Discord delivers events again after a RESUME: no handler runs twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

from redis.asyncio import Redis

from botctl.bot.interactions.claims import RedisClaims
from botctl.core.contracts.events import GatewayChanged
from tests.support.bots import rig, write_commands
from tests.support.stores import tasks_for
from tests.support.waiting import until

COMMANDS = """
    import disnake
    from disnake.ext import commands

    from botctl import Command, Context, component

    RUNS = []

    class Effect(Command):
        "It does something."
        async def execute(self, ctx: Context) -> None:
            RUNS.append(ctx.invocation.id)
            button = disnake.ui.Button(label="Press", custom_id=self.custom_id("press"))
            await ctx.reply("done", components=[button])

        @component("press")
        async def press(self, ctx: Context) -> None:
            RUNS.append(ctx.invocation.id)
            await ctx.edit(content="pressed")

    class Plain(commands.Cog):
        @commands.slash_command(description="of a cog")
        async def plain(self, inter):
            RUNS.append(str(inter.id))
            await inter.response.send_message("done")
"""


async def test_events_repeated_after_a_resume_run_no_handler_twice(redis: Redis, tmp_path: Path):
    folder = write_commands(tmp_path / "commands", effect=COMMANDS)
    async with (
        tasks_for("interactions") as (tasks, _),
        RedisClaims(redis, "bot", tasks, 5.0).running() as claims,
        rig(folder, values={RedisClaims: claims}) as bot,
    ):
        for _ in range(3):
            await bot.run_command("effect")
            await bot.run_command("plain")
            await bot.click("Press")
        await bot.client.incidents({"name": "repeated-deliveries", "settings": {"count": 30}})
        await until(lambda: any(isinstance(e, GatewayChanged) and e.state == "resumed" for e in bot.events))
        arrivals = bot.service.bot.pipeline.arrivals
        await until(lambda: arrivals.counts.repeated == 9)
        await asyncio.sleep(0)
        assert bot.service.in_flight == 0
        assert bot.results == ["ok"] * 9
        assert len({entry.id for entry in bot.auditor.entries}) == len(bot.auditor.entries) == 9
        assert await redis.dbsize() == 9
