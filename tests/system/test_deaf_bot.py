"""A real bot whose connection hears nothing, in several ways: it notices, mends what it can, and says the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from botctl.bot.gateway import shard, socket
from botctl.core.config.settings import DiscordSettings, Settings
from botctl.core.contracts.shards import Hearing
from botctl.core.telemetry.metrics import Metrics, render_prometheus
from botctl.sandbox.model.gateway.session import LoginResult
from tests.support.bots import ROLES, Rig, rig, write_commands
from tests.support.waiting import expires, until

EVERY_S = 0.2
COMMANDS = """
    from botctl import Command, Context

    class Ping(Command):
        "Are you there?"
        async def execute(self, ctx: Context) -> None:
            await ctx.reply("pong")
"""


@asynccontextmanager
async def probing_bot(folder: Path) -> AsyncIterator[Rig]:
    """A bot that asks a question after `EVERY_S`."""
    discord = DiscordSettings(shards=1).model_copy(update={"probe_s": EVERY_S})
    commands = write_commands(folder / "commands", ping=COMMANDS)
    async with rig(commands, settings=Settings(roles=ROLES, discord=discord), values={Metrics: Metrics()}) as bot:
        yield bot


def hearing(bot: Rig) -> Hearing | None:
    return bot.service.shards()[0].hearing


def is_deaf(bot: Rig) -> bool:
    known = hearing(bot)
    return known is not None and known.deaf


def hears(bot: Rig) -> bool:
    known = hearing(bot)
    return known is not None and known.misses == known.reconnects == 0


def results(bot: Rig) -> Counter[str]:
    return Counter(login.result for login in bot.sandbox.sessions.logins)


async def test_deaf_connection_resumes_and_hears_what_it_missed(tmp_path: Path):
    async with probing_bot(tmp_path) as bot:
        await bot.client.incidents({"name": "deaf", "settings": {}})
        reply = await bot.run_command("ping")  # it waits for the RESUME
        assert reply.messages[-1].content == "pong"
        await until(lambda: hears(bot))
        assert results(bot) == {LoginResult.IDENTIFIED: 1, LoginResult.RESUMED: 1}
        assert "it was deaf" in str(bot.service.shards()[0].last_close)


async def test_bot_that_stays_deaf_logs_in_once_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No login follows, and it hears again as soon as Discord speaks."""
    monkeypatch.setattr(shard, "HEALTHY_S", 0.0)  # else a second loss so soon is followed by a pause
    async with probing_bot(tmp_path) as bot:
        await bot.client.incidents({"name": "deaf", "settings": {"new_connections": True}})
        await until(lambda: results(bot)[LoginResult.IDENTIFIED] == 2 and is_deaf(bot))
        metrics = bot.running.get(Metrics)
        assert 'botctl_gateway_deaf{shard="0"} 1.0' in render_prometheus(metrics)
        misses, reconnects = hearing(bot).misses, hearing(bot).reconnects
        await until(lambda: hearing(bot).misses > misses + 2)
        assert results(bot) == {LoginResult.IDENTIFIED: 2, LoginResult.RESUMED: 1}
        assert hearing(bot).reconnects == reconnects == 2
        await bot.client.incidents({"stop": "all"})
        await until(lambda: hears(bot))
        assert 'botctl_gateway_deaf{shard="0"} 0.0' in render_prometheus(metrics)
        assert results(bot).total() == 3


async def test_half_open_connection_is_deaf_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "CLOSE_S", expires(0.02))
    async with probing_bot(tmp_path) as bot:
        await bot.client.incidents({"name": "half-open", "settings": {}})
        await until(lambda: results(bot)[LoginResult.RESUMED] == 1)
        await until(lambda: hears(bot))
        assert "it was deaf" in str(bot.service.shards()[0].last_close)
        assert results(bot)[LoginResult.IDENTIFIED] == 1


async def test_guild_in_an_outage_is_not_asked(tmp_path: Path):
    """The default world has one guild. Without it only heartbeats are known."""
    async with probing_bot(tmp_path) as bot:
        await bot.client.incidents({"name": "guild-outage", "settings": {}})
        await until(lambda: hearing(bot) is not None and not hearing(bot).can_ask)
        assert not is_deaf(bot)
        await bot.client.incidents({"stop": "all"})
        await until(lambda: hearing(bot).can_ask)
        assert results(bot) == {LoginResult.IDENTIFIED: 1}
