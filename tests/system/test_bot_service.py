"""The bot as a service: readiness, errors at the start, reconnects, drain."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from disnake.http import HTTPClient

from botctl.bot.loader import load
from botctl.core.config.settings import DiscordSettings, Intent, Settings, ShutdownSettings
from botctl.core.contracts.discord_access import TokenFound
from botctl.core.contracts.events import DrainStarted, GatewayChanged, ServiceChanged
from botctl.core.errors import CommandFaults, ConfigError, DeadToken
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from botctl.sandbox.sandbox import Sandbox
from tests.support.bots import (
    BOT,
    GUILD,
    ROLES,
    SECRET,
    TOKEN,
    CustomService,
    Rig,
    last_text,
    new_sandbox,
    rig,
    validation_context,
    write_commands,
)
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


STARTING = """
    from botctl import CommandFinished, on
    from disnake.ext import commands
    from tests.support.bots import CustomService

    class Waits(commands.Cog):
        def __init__(self, bot: commands.InteractionBot, custom: CustomService) -> None:
            self.bot, self.custom = bot, custom

        async def cog_load(self):
            await self.bot.wait_until_ready()
            self.custom.calls.append("ready")
            await self.custom.fails.wait()
            raise RuntimeError("late")

    @on(CommandFinished)
    def heard(event: CommandFinished, custom: CustomService) -> None:
        custom.calls.append(f"{event.name} {event.result}")
"""


@pytest.mark.parametrize("end", ["stopped", "failed"])
async def test_commands_of_an_unfinished_start_are_drained(tmp_path: Path, monkeypatch, end: str):
    """The handlers of events hear of them. The error of the start is the first failure."""
    monkeypatch.setattr("botctl.bot.catalog.COG_LOAD_S", 0.0)
    monkeypatch.setattr("botctl.bot.service.COG_LOAD_S", LIMIT_S)
    custom, sandboxes = CustomService(), []

    def make(url: str) -> Sandbox:
        sandboxes.append((url, new_sandbox(url)))
        return sandboxes[0][1]

    async def start() -> None:
        settings = Settings(roles=ROLES, shutdown=ShutdownSettings(drain_s=0.05))
        folder = write_commands(tmp_path / "commands", a=COMMANDS, b=STARTING)
        async with rig(folder, values={CustomService: custom}, settings=settings, make=make, start_s=LIMIT_S):
            raise AssertionError("it has started")

    custom.open.set()
    starting = asyncio.create_task(start())
    await until(lambda: bool(sandboxes))
    url, sandbox = sandboxes[0]
    await until(lambda: custom.calls == ["ready"])
    await until(lambda: any(c["name"] == "endless" for c in sandbox.world.applications[BOT].all_commands()))
    async with SandboxClient(url, SECRET) as client:
        assert last_text(await client.send(SlashCall("quick"), Identity("ann"), timeout_s=LIMIT_S)) == "finished"
        await until(lambda: custom.calls == ["ready", "quick ok"])
        await client.send(SlashCall("endless"), Identity("bob"), timeout_s=expires(0.1))
    if end == "stopped":
        starting.cancel()
    else:
        custom.fails.set()
    with pytest.raises(asyncio.CancelledError if end == "stopped" else CommandFaults):
        await starting
    assert custom.calls == ["ready", "quick ok", "endless cancelled"]
    shown = [message.content for channel in sandbox.world.messages.values() for message in channel.values()]
    assert any("had to stop this" in content for content in shown)


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


async def test_token_that_replaced_a_refused_one_is_used(tmp_path: Path):
    body = 'from botctl import Command\n\nclass Ping(Command):\n    "P."\n    async def execute(self, ctx):\n'
    commands = write_commands(tmp_path / "commands", a=body + "        await ctx.reply('pong')\n")
    async with rig(commands, token="wrong", reread=lambda: TokenFound(TOKEN, "secrets/token")) as bot:
        assert last_text(await bot.run_command("ping")) == "pong"


async def test_reset_token_is_read_again_and_the_bot_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """With its cogs and commands, and again at the next reset. In the end there is no other token."""
    body = """
        import disnake
        from disnake.ext import commands

        class Cog(commands.Cog):
            @commands.slash_command(description="P.")
            async def ping(self, inter: disnake.ApplicationCommandInteraction) -> None:
                await inter.response.send_message("pong")

        def setup(bot):
            bot.add_cog(Cog())
    """
    tokens, commands = [TOKEN], write_commands(tmp_path / "commands", a=body)

    async def run_through_resets() -> None:
        async with rig(commands, reread=lambda: TokenFound(tokens[-1], "secrets/token")) as bot:
            for count in (1, 2):
                tokens.append(bot.sandbox.reset_token(BOT))
                await until(lambda count=count: _ready_count(bot) == 1 + count)
                assert last_text(await bot.run_command("ping")) == "pong"
                await bot.service.bot.fetch_guild(int(GUILD))  # with the new token
            assert caplog.text.count("logs in with the other one that is in secrets/token now") == 2
            bot.sandbox.reset_token(BOT)
            await bot.running.wait()

    with pytest.raises(DeadToken, match="refuses the token, and secrets/token has no other one"):
        await run_through_resets()


def _ready_count(bot: Rig) -> int:
    return sum(isinstance(event, GatewayChanged) and event.state == "ready" for event in bot.events)


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
        ({"bad": "async def setup(bot):\n    raise RuntimeError('no')\n"}, r"commands/bad.py:2: RuntimeError: no"),
        (
            {
                name: f"from disnake.ext import commands\n\nclass {name}(commands.Cog):\n"
                "    @commands.slash_command(description='x')\n    async def same(self, inter): ...\n\n"
                f"def setup(bot):\n    bot.add_cog({name}())\n"
                for name in ("one", "two")
            },
            r"commands/two.py:8: the command 'same' is registered twice",
        ),
        (
            {
                "long": "from disnake.ext import commands\n\n@commands.slash_command(description='x' * 120)\n"
                "async def long(inter): ...\n\nasync def setup(bot):\n    bot.add_slash_command(long)\n"
            },
            r"commands/long.py:3: the description of /long has 120 characters",
        ),
        (
            {
                "load": "from disnake.ext import commands\n\nclass Load(commands.Cog):\n"
                "    async def cog_load(self):\n        raise RuntimeError('no file')\n",
                "bad": "def setup(bot):\n    raise RuntimeError('no')\n",
            },
            r"(?s)commands/bad.py:2: RuntimeError: no.*commands/load.py:5: cog_load of Load: RuntimeError: no file",
        ),
        (
            {
                "late": "from disnake.ext import commands\n\nclass Late(commands.Cog):\n"
                "    def __init__(self, bot):\n        self.bot = bot\n"
                "    async def cog_load(self):\n        await self.bot.wait_until_ready()\n        1 / 0\n"
            },
            r"commands/late.py:8: cog_load of Late: ZeroDivisionError",
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


PLAIN = """
    from disnake.ext import commands

    @commands.slash_command(description="Plain.")
    async def plain(inter):
        await inter.response.send_message("plain")

    @commands.slash_command(description="{text}")
    async def other(inter): ...
"""
ASYNC = """
    import asyncio
    from disnake.ext import commands

    class Slow(commands.Cog):
        loaded = False

        async def cog_load(self):
            await asyncio.sleep(0)
            self.loaded = True

        @commands.command()
        async def old(self, ctx): ...

        @commands.slash_command(description="Slow.")
        async def slow(self, inter):
            await inter.response.send_message(f"loaded: {self.loaded}")

    async def setup(bot):
        await asyncio.sleep(0)
        bot.add_cog(Slow())
"""


async def test_plain_commands_and_async_setup_are_registered(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A prefix command of the cog is left out, and named; the rest of the cog works."""
    async with rig(write_commands(tmp_path / "commands", a=PLAIN.format(text="x"), b=ASYNC)) as bot:
        assert last_text(await bot.run_command("plain")) == "plain"
        assert last_text(await bot.run_command("slow")) == "loaded: True"
    assert "left out: commands/b.py:12: old is a prefix command" in caplog.text


async def test_cog_load_that_never_ends_is_named(tmp_path: Path, monkeypatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr("botctl.bot.service.COG_LOAD_S", 0.0)
    monkeypatch.setattr("botctl.bot.catalog.COG_LOAD_S", 0.0)
    body = ASYNC.replace("await asyncio.sleep(0)\n            self.loaded = True", "await asyncio.Event().wait()")
    async with rig(write_commands(tmp_path / "commands", b=body)) as bot:
        assert last_text(await bot.run_command("slow")) == "loaded: False"
    assert "cog_load of Slow has not ended" in caplog.text


def bot_state(bot: Rig) -> tuple[str, str]:
    """The state of the bot's service, and why."""
    (status,) = [status for status in bot.running.statuses() if status.name == "bot"]
    return str(status.state), status.detail


async def test_command_that_discord_refuses_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One that botctl does not find at load. With skip_broken, the bot is degraded and names it."""
    monkeypatch.setattr("botctl.bot.commands.plain_disnake.refusals", lambda _: iter(()))
    folder = write_commands(tmp_path / "commands", a=PLAIN.format(text="x" * 120))
    fault = r"commands/a.py:8: Discord refuses /other: description: Must be between 1 and 100 in length"
    with pytest.raises(CommandFaults, match=fault):
        async with rig(folder):
            pass
    async with rig(load(folder, validation_context(), skip_broken=True)) as bot:
        state, detail = bot_state(bot)
        assert state == "degraded"
        assert "/plain, /other could not be registered: Discord answers 400" in detail


async def test_guild_that_forbids_commands_degrades_the_bot(tmp_path: Path):
    settings = Settings(discord=DiscordSettings(test_guilds=("900000000000000999", GUILD)))
    async with rig(write_commands(tmp_path / "commands", a=PLAIN.format(text="x")), settings=settings) as bot:
        state, detail = bot_state(bot)
        assert state == "degraded"
        assert "/plain, /other could not be registered in the guild 900000000000000999: Discord" in detail
        assert detail.endswith("Invite the bot there with the scope applications.commands, or remove the guild")
        assert last_text(await bot.run_command("plain")) == "plain"


@pytest.mark.parametrize("call", ["get_global_commands", "bulk_upsert_global_commands"])
async def test_failed_registration_is_repeated_until_it_succeeds(tmp_path: Path, monkeypatch, call: str):
    monkeypatch.setattr("botctl.bot.registration.RETRY_S", (0.01,))
    works, real = asyncio.Event(), getattr(HTTPClient, call)

    async def fail(*args: Any, **options: Any) -> Any:
        if not works.is_set():
            raise ConnectionResetError
        return await real(*args, **options)

    monkeypatch.setattr(HTTPClient, call, fail)
    async with rig(write_commands(tmp_path / "commands", a=PLAIN.format(text="x"))) as bot:
        state, detail = bot_state(bot)
        assert state == "degraded"
        assert detail.startswith("/plain, /other could not be registered: Discord cannot be reached")
        works.set()
        await until(lambda: bot_state(bot)[0] == "ready")
        assert last_text(await bot.run_command("plain")) == "plain"


async def test_slow_registration_degrades_the_bot_until_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("botctl.bot.registration.SYNC_S", 0.01)
    works, real = asyncio.Event(), HTTPClient.bulk_upsert_global_commands

    async def wait(*args: Any) -> Any:
        await works.wait()
        return await real(*args)

    monkeypatch.setattr(HTTPClient, "bulk_upsert_global_commands", wait)
    async with rig(write_commands(tmp_path / "commands", a=PLAIN.format(text="x"))) as bot:
        state, detail = bot_state(bot)
        assert state == "degraded"
        assert detail.startswith("Discord has not taken the commands in")
        works.set()
        await until(lambda: bot_state(bot)[0] == "ready")
