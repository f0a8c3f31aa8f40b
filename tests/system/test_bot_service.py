"""The bot as a service: it is ready when Discord sends, says why when it cannot, and comes back by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from botctl.core.config.settings import DiscordSettings, Intent, Settings, ShutdownSettings
from botctl.core.contracts.events import DrainStarted, GatewayChanged, ServiceChanged
from botctl.core.errors import CommandFaults, ConfigError, DeadToken
from botctl.sandbox.console.client import Identity
from botctl.sandbox.console.command_parser import SlashCall
from botctl.sandbox.server import Sandbox
from tests.support.bots import BOT, ROLES, Gates, new_sandbox, rig, text, write
from tests.support.waiting import until

GATED = """
    from botctl import Command, Context
    from tests.support.bots import Gates

    class Quick(Command):
        "It finishes when the gate opens."
        def __init__(self, gates: Gates) -> None:
            self.gates = gates
        async def execute(self, ctx: Context) -> None:
            await self.gates.open.wait()
            await ctx.reply("finished")

    class Endless(Command):
        "It never finishes."
        def __init__(self, gates: Gates) -> None:
            self.gates = gates
        async def execute(self, ctx: Context) -> None:
            await ctx.defer()
            await self.gates.never.wait()
"""


async def test_a_drain_lets_finish_then_stops_the_rest_and_tells_them(tmp_path: Path):
    """One command finishes in time, one is cancelled and its person told, a new one is refused."""
    gates = Gates()
    async with rig(write(tmp_path / "commands", a=GATED), values={Gates: gates}) as bot:
        quick = asyncio.create_task(bot.people.send(SlashCall("quick"), Identity("ann")))
        endless = asyncio.create_task(bot.people.send(SlashCall("endless"), Identity("bob"), timeout_s=0.1))
        await until(lambda: bot.service.in_flight == 2)
        drain = asyncio.create_task(bot.service.drain(0.3))
        await until(lambda: any(isinstance(event, DrainStarted) for event in bot.events))
        assert "restarting" in text(await bot.people.send(SlashCall("quick"), Identity("cat")))
        gates.open.set()
        assert text(await quick) == "finished"
        await drain
        await endless
        shown = [message.content for message in await bot.people.messages(Identity("bob"))]
        assert any("had to stop this" in content for content in shown)
        assert sorted((event.name, event.result) for event in bot.finished) == [
            ("endless", "cancelled"),
            ("quick", "denied"),
            ("quick", "ok"),
        ]


async def test_stopping_the_service_drains_it(tmp_path: Path):
    """Nobody called drain: the service does so itself before it closes the gateway."""
    settings = Settings(roles=ROLES, shutdown=ShutdownSettings(drain_s=0.05))
    async with rig(write(tmp_path / "commands", a=GATED), values={Gates: Gates()}, settings=settings) as bot:
        endless = asyncio.create_task(bot.people.send(SlashCall("endless"), Identity("bob"), timeout_s=0.1))
        await until(lambda: bot.service.in_flight == 1)
        await endless
    assert bot.results == ["cancelled"]


async def test_a_lost_connection_is_news_and_comes_back(tmp_path: Path):
    """disconnected and DEGRADED, then resumed and READY; commands work again."""
    ping = 'from botctl import Command\n\nclass Ping(Command):\n    "P."\n    async def execute(self, ctx):\n'
    async with rig(write(tmp_path / "commands", a=ping + "        await ctx.reply('pong')\n")) as bot:
        line = next(iter(bot.sandbox.sessions.connected())).transport
        assert line is not None
        line.abort()
        await until(lambda: any(isinstance(e, GatewayChanged) and e.state == "resumed" for e in bot.events), limit_s=15)
        states = [event.new for event in bot.events if isinstance(event, ServiceChanged) and event.service == "bot"]
        assert states[-2:] == ["degraded", "ready"]
        assert text(await bot.say("ping")) == "pong"


async def test_handlers_of_events_hear_them_with_their_services(tmp_path: Path):
    """`@on`: one that raises is logged and goes on; sync functions work too."""
    body = """
        from botctl import Command, on
        from botctl.core.contracts.events import CommandFinished
        from tests.support.bots import Gates

        class Ping(Command):
            "P."
            async def execute(self, ctx) -> None:
                await ctx.reply("pong")

        @on(CommandFinished)
        async def hear(event: CommandFinished, gates: Gates) -> None:
            gates.seen.append(event.name)
            raise RuntimeError("heard too much")

        @on(CommandFinished)
        def hear_too(event: CommandFinished, gates: Gates) -> None:
            gates.seen.append("too")
            raise SystemExit(3)
    """
    gates = Gates()
    async with rig(write(tmp_path / "commands", a=body), values={Gates: gates}) as bot:
        await bot.say("ping")
        await bot.say("ping")
        await until(lambda: len(gates.seen) == 4)
        assert sorted(gates.seen) == ["ping", "ping", "too", "too"]


async def test_plain_cogs_reach_services_through_the_bot(tmp_path: Path):
    """`bot.services.get(T)` in setup, and by annotation in a cog without setup."""
    body = """
        from disnake.ext import commands
        from tests.support.bots import Gates

        class Cog(commands.Cog):
            def __init__(self, bot: commands.InteractionBot, gates: Gates, colour: str = "red") -> None:
                bot.services.get(Gates).seen.append(f"made {gates is bot.services.get(Gates)} {colour}")
    """
    gates = Gates()
    async with rig(write(tmp_path / "commands", a=body), values={Gates: gates}):
        assert gates.seen == ["made True red"]


async def test_a_refused_token_is_dead(tmp_path: Path):
    """401 at login: DeadToken, never tried again."""
    with pytest.raises(DeadToken):
        async with rig(write(tmp_path / "commands"), token="wrong"):
            pass


async def test_intents_that_are_not_granted_are_named(tmp_path: Path):
    """Close code 4014."""

    def make(url: str) -> Sandbox:
        sandbox = new_sandbox(url)
        sandbox.world.applications[BOT].flags = 0
        return sandbox

    settings = Settings(roles=ROLES, discord=DiscordSettings(intents=(Intent.DEFAULT, Intent.MEMBERS)))
    with pytest.raises(ConfigError, match="intents members"):
        async with rig(write(tmp_path / "commands"), settings=settings, make=make):
            pass


async def test_the_gateway_is_told_about(tmp_path: Path):
    """connected and ready come before the service is ready; health shows the latency."""
    async with rig(write(tmp_path / "commands")) as bot:
        states = [event.state for event in bot.events if isinstance(event, GatewayChanged)]
        assert states[:2] == ["connected", "ready"]
        assert [one.ok for one in await bot.running.health() if one.name == "bot"] == [True]


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"bad": "def setup(bot):\n    raise RuntimeError('no')\n"}, r"commands/bad.py:2: RuntimeError: no"),
        (
            {
                name: f"from disnake.ext import commands\n\nclass {name}(commands.Cog):\n"
                "    @commands.slash_command(description='x')\n    async def same(self, inter): ...\n"
                for name in ("one", "two")
            },
            r"commands/two.py:1: the command 'same' is registered twice",
        ),
    ],
)
async def test_what_cannot_be_made_stops_the_start(tmp_path: Path, files: dict[str, Any], fault: str):
    """Faults that show only when a cog is made are told with their file, too."""
    with pytest.raises(CommandFaults, match=fault):
        async with rig(write(tmp_path / "commands", **files)):
            pass


async def test_a_bot_without_commands_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """An empty folder is allowed, and hardly what was meant."""
    async with rig(write(tmp_path / "commands")):
        pass
    assert "commands holds no commands" in caplog.text
