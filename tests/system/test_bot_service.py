"""The bot as a service: readiness, errors at the start, reconnects, drain."""

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
from botctl.sandbox.sandbox import Sandbox
from tests.support.bots import BOT, ROLES, CustomService, last_text, new_sandbox, rig, write_commands
from tests.support.offline import snowflake_at
from tests.support.waiting import LIMIT_S, expires, until

COMMANDS = """
    from botctl import Command, Context
    from tests.support.bots import CustomService

    class Quick(Command):
        "It finishes when the gate opens."
        def __init__(self, custom: CustomService) -> None:
            self.custom = custom
        async def execute(self, ctx: Context) -> None:
            await self.custom.open.wait()
            await ctx.reply("finished")

    class Endless(Command):
        "It never finishes."
        def __init__(self, custom: CustomService) -> None:
            self.custom = custom
        async def execute(self, ctx: Context) -> None:
            await ctx.defer()
            await self.custom.never.wait()
"""


async def test_drain_waits_then_cancels_and_notifies_users(tmp_path: Path):
    custom = CustomService()
    async with rig(write_commands(tmp_path / "commands", a=COMMANDS), values={CustomService: custom}) as bot:
        quick = asyncio.create_task(bot.client.send(SlashCall("quick"), Identity("ann"), timeout_s=LIMIT_S))
        endless = asyncio.create_task(bot.client.send(SlashCall("endless"), Identity("bob"), timeout_s=expires(0.1)))
        await until(lambda: bot.service.in_flight == 2)
        drain = asyncio.create_task(bot.service.drain(1.0))
        await until(lambda: any(isinstance(event, DrainStarted) for event in bot.events))
        assert "restarting" in last_text(await bot.client.send(SlashCall("quick"), Identity("cat"), timeout_s=LIMIT_S))
        custom.open.set()
        assert last_text(await quick) == "finished"
        await drain
        await endless
        shown = [message.content for message in await bot.client.messages(Identity("bob"))]
        assert any("had to stop this" in content for content in shown)
        assert sorted((event.name, event.result) for event in bot.finished) == [
            ("endless", "cancelled"),
            ("quick", "denied"),
            ("quick", "ok"),
        ]


async def test_stopping_the_service_drains_it(tmp_path: Path):
    settings = Settings(roles=ROLES, shutdown=ShutdownSettings(drain_s=0.05))
    async with rig(
        write_commands(tmp_path / "commands", a=COMMANDS), values={CustomService: CustomService()}, settings=settings
    ) as bot:
        endless = asyncio.create_task(bot.client.send(SlashCall("endless"), Identity("bob"), timeout_s=expires(0.1)))
        await until(lambda: bot.service.in_flight == 1)
        await endless
    assert bot.results == ["cancelled"]


async def test_lost_connection_degrades_the_service_until_it_resumes(tmp_path: Path):
    ping = 'from botctl import Command\n\nclass Ping(Command):\n    "P."\n    async def execute(self, ctx):\n'
    async with rig(write_commands(tmp_path / "commands", a=ping + "        await ctx.reply('pong')\n")) as bot:
        line = next(iter(bot.sandbox.sessions.connected())).transport
        assert line is not None
        line.abort()
        await until(lambda: any(isinstance(e, GatewayChanged) and e.state == "resumed" for e in bot.events))
        states = [event.new for event in bot.events if isinstance(event, ServiceChanged) and event.service == "bot"]
        assert states[-2:] == ["degraded", "ready"]
        assert last_text(await bot.run_command("ping")) == "pong"


async def test_event_handlers_get_events_and_services(tmp_path: Path):
    """Whatever a handler raises is logged, and it gets the next event; sync functions work too."""
    body = """
        import asyncio

        from botctl import Command, on
        from botctl.core.contracts.events import CommandFinished
        from tests.support.bots import CustomService

        class Ping(Command):
            "P."
            async def execute(self, ctx) -> None:
                await ctx.reply("pong")

        @on(CommandFinished)
        async def handle(event: CommandFinished, custom: CustomService) -> None:
            custom.calls.append(event.name)
            raise RuntimeError("handler failed")

        @on(CommandFinished)
        def handle_too(event: CommandFinished, custom: CustomService) -> None:
            custom.calls.append("too")
            raise SystemExit(3)

        @on(CommandFinished)
        async def handle_third(event: CommandFinished, custom: CustomService) -> None:
            custom.calls.append("third")
            raise asyncio.CancelledError if custom.calls.count("third") > 1 else BaseException("panic")
    """
    custom = CustomService()
    async with rig(write_commands(tmp_path / "commands", a=body), values={CustomService: custom}) as bot:
        for _ in range(3):
            await bot.run_command("ping")
        await until(lambda: len(custom.calls) == 9)
        assert sorted(custom.calls) == ["ping"] * 3 + ["third"] * 3 + ["too"] * 3


async def test_plain_cogs_get_services(tmp_path: Path):
    body = """
        from disnake.ext import commands
        from tests.support.bots import CustomService

        class Cog(commands.Cog):
            def __init__(self, bot: commands.InteractionBot, custom: CustomService, colour: str = "red") -> None:
                same = custom is bot.services.get(CustomService)
                custom.calls.append(f"made {same} {colour}")
    """
    custom = CustomService()
    async with rig(write_commands(tmp_path / "commands", a=body), values={CustomService: custom}):
        assert custom.calls == ["made True red"]


async def test_refused_token_raises_dead_token(tmp_path: Path):
    with pytest.raises(DeadToken):
        async with rig(write_commands(tmp_path / "commands"), token="wrong"):
            pass


async def test_error_names_the_missing_intents(tmp_path: Path):
    def make(url: str) -> Sandbox:
        sandbox = new_sandbox(url)
        sandbox.world.applications[BOT].flags = 0
        return sandbox

    settings = Settings(roles=ROLES, discord=DiscordSettings(intents=(Intent.DEFAULT, Intent.MEMBERS)))
    with pytest.raises(ConfigError, match="intents members"):
        async with rig(write_commands(tmp_path / "commands"), settings=settings, make=make):
            pass


async def test_gateway_state_is_published_and_reported_as_health(tmp_path: Path):
    async with rig(write_commands(tmp_path / "commands")) as bot:
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
async def test_cog_that_cannot_be_installed_stops_the_start(tmp_path: Path, files: dict[str, Any], fault: str):
    with pytest.raises(CommandFaults, match=fault):
        async with rig(write_commands(tmp_path / "commands", **files)):
            pass


async def test_empty_commands_folder_is_logged_as_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async with rig(write_commands(tmp_path / "commands")):
        pass
    assert "commands contains no commands" in caplog.text


async def test_discord_time_is_known_when_the_bot_has_started(tmp_path: Path):
    """Discord is an hour ahead of this host, and no interaction has come yet."""

    def an_hour_ahead(url: str) -> Sandbox:
        sandbox = new_sandbox(url)
        sandbox.world.clock.advance(3600)
        return sandbox

    custom = CustomService()
    custom.open.set()
    folder = write_commands(tmp_path / "commands", a=COMMANDS)
    async with rig(folder, values={CustomService: custom}, make=an_hour_ahead) as bot:
        minute_ago = snowflake_at(bot.sandbox.world.clock.now().timestamp() - 60)
        assert bot.service.bot.pipeline.arrivals.clock.age_s(minute_ago) == pytest.approx(60, abs=2)
        assert last_text(await bot.run_command("quick")) == "finished"
