"""Several shards in one process, on the sandbox: they log in by turns, and each lives for itself."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from botctl.bot.loader import load
from botctl.core.config.settings import DiscordSettings, Settings
from botctl.core.contracts.discord_access import TokenFound
from botctl.core.contracts.events import CommandFinished, GatewayChanged
from botctl.core.contracts.health import HealthSource
from botctl.core.contracts.logins import LoginGate, OpenGate
from botctl.core.contracts.shards import ShardState
from botctl.core.errors import ConfigError, DeadToken
from botctl.sandbox.console.client import Identity
from botctl.sandbox.console.command_parser import SlashCall
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.gateway.opcodes import CloseCode
from botctl.sandbox.model.gateway.session import GatewaySession, LoginResult, request_reconnect
from botctl.sandbox.model.world import Channel, Guild, Member, Role
from botctl.sandbox.sandbox import Access, Sandbox
from tests.support.bots import BOT, ROLES, SECRET, TOKEN, Rig, last_text, rig, validation_context, write_commands
from tests.support.discord import ANN, PATIENT
from tests.support.health import FakeHealth
from tests.support.waiting import LIMIT_S, until

COMMANDS = """
    from botctl import Command, Context

    class Where(Command):
        "Which shard is this?"
        async def execute(self, ctx: Context) -> None:
            await ctx.reply(f"{ctx.inter.guild.shard_id} of {ctx.bot.shard_count}")
"""
REDIS: dict[type, object] = {Redis: object(), HealthSource: FakeHealth()}  # of commands of the example
GUILD_OF = {shard: str(shard + 16 << 22) for shard in range(16)}
"""A guild of each shard, for 4 and for 16 shards."""


def world_with_guilds(url: str, **limits: object) -> Sandbox:
    """A sandbox in which the bot is in one more guild for each of 16 shards."""
    world = default_world(url=url)
    for number, guild_id in GUILD_OF.items():
        channel = Channel(str(int(guild_id) + 1), guild_id, "general")
        members = {user: Member(user) for user in (ANN, BOT)}
        roles = {guild_id: Role(guild_id, "@everyone", position=0, permissions=(1 << 53) - 1)}
        world.add_guild(Guild(guild_id, f"Guild {number}", ANN, roles, {channel.id: channel}, members))
    return Sandbox(world, Access({TOKEN: BOT}, SECRET), limits=PATIENT.replace({"max_concurrency": 16, **limits}))


def sharded(count: int | str) -> Settings:
    return Settings(roles=ROLES, discord=DiscordSettings(shards=str(count)))


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    return write_commands(tmp_path / "commands", where=COMMANDS)


async def ask(bot: Rig, shard: int) -> str:
    """What /where answers in a guild of the shard."""
    identity = Identity("ann", guild=GUILD_OF[shard])
    return last_text(await bot.client.send(SlashCall("where"), identity, timeout_s=LIMIT_S))


def session(bot: Rig, shard: int) -> GatewaySession:
    (found,) = [session for session in bot.sandbox.sessions.connected() if session.shard[0] == shard]
    return found


def close(found: GatewaySession, code: int, reason: str) -> None:
    """Close the connection as Discord."""
    assert found.transport is not None
    found.transport.close(code, reason)


def invalidate(bot: Rig, found: GatewaySession, *, resumable: bool) -> None:
    """Op 9."""
    bot.sandbox.sessions.invalidate(found, bot.sandbox.clock.monotonic(), resumable=resumable)


def results(bot: Rig) -> Counter[str]:
    """What became of all logins, by the sandbox's own ledger."""
    return Counter(login.result for login in bot.sandbox.sessions.logins)


def changes(bot: Rig, shard: int) -> list[str]:
    return [event.state for event in bot.events if isinstance(event, GatewayChanged) and event.shard == shard]


async def test_every_shard_answers_in_its_guilds(commands: Path):
    """Each logs in once, and nothing is refused; the shard of a command is in its event and in the audit log."""
    async with rig(commands, settings=sharded(16), make=world_with_guilds) as bot:
        client = bot.service.bot
        assert results(bot) == {LoginResult.IDENTIFIED: 16}
        for shard in range(16):
            assert await ask(bot, shard) == f"{shard} of 16"
        await until(lambda: len(bot.finished) == 16)
        shards = [event.shard for event in bot.events if isinstance(event, CommandFinished)]
        assert shards == [entry.shard for entry in bot.auditor.entries] == list(range(16))
        assert [changes(bot, shard) for shard in range(16)] == [["connected", "ready"]] * 16
        statuses = bot.service.shards()
        assert {status.state for status in statuses} == {ShardState.READY}
        assert sum(status.guilds for status in statuses) == len(client.guilds) == 17
        assert all(status.guilds and status.last_event_at and status.session_started_at for status in statuses)
        assert (client.shard_id, client.shard_count, sorted(client.shards)) == (None, 16, list(range(16)))
        assert client.ws is None
        await until(lambda: all(latency_s < LIMIT_S for _, latency_s in client.latencies))
        assert client.latency == pytest.approx(sum(latency_s for _, latency_s in client.latencies) / 16)
        assert client.get_shard(15).latency >= 0
        assert (await bot.service.ping() or "").startswith("16 shards; latency ")
        await client.change_presence(activity=None)


async def test_ops_status_of_the_example_shows_each_shard():
    folder = Path(__file__).parents[2] / "commands"
    async with rig(
        load(folder, validation_context()), settings=sharded(4), make=world_with_guilds, values=REDIS
    ) as bot:
        close(session(bot, 3), *CloseCode.UNKNOWN_ERROR)
        await until(lambda: changes(bot, 3)[-1] == "resumed")
        embed = (await bot.run_command("ops status")).messages[-1].embeds[0]
        lines = [line for line in embed["description"].split("\n") if "#" in line]
        assert [line.split(" ")[1] for line in lines] == ["#0", "#1", "#2", "#3"]
        assert "4 servers, last event <t:" in lines[1]
        assert "(4000, Discord had an unknown error)" in lines[3]


async def test_lost_shard_comes_back_alone(commands: Path):
    """Others answer while it is away, and only its own session is resumed."""
    async with rig(commands, settings=sharded(4), make=world_with_guilds) as bot:
        bot.sandbox.faults.lose_connections(1000)
        close(session(bot, 3), *CloseCode.UNKNOWN_ERROR)
        await until(lambda: not bot.service.shards()[3].up)
        assert [await ask(bot, shard) for shard in (0, 1, 2)] == ["0 of 4", "1 of 4", "2 of 4"]
        assert "3 of 4 shards are connected: shard 3 (" in (await bot.service.ping() or "")
        assert [health.ok for health in await bot.running.health() if health.name == "bot"] == [True]
        bot.sandbox.faults.attempts_to_drop = 0
        await until(lambda: bot.service.shards()[3].up)
        assert await ask(bot, 3) == "3 of 4"
        assert results(bot) == {LoginResult.IDENTIFIED: 4, LoginResult.RESUMED: 1}
        assert changes(bot, 3) == ["connected", "ready", "disconnected", "resumed"]
        assert [changes(bot, shard) for shard in (0, 1, 2)] == [["connected", "ready"]] * 3


LOSSES: list[tuple[Callable[[Rig, GatewaySession], None], bool, str]] = [
    (lambda bot, found: request_reconnect(found), True, "Discord asked for a new connection"),
    (lambda bot, found: invalidate(bot, found, resumable=True), True, "Discord asked for a new connection"),
    (lambda bot, found: invalidate(bot, found, resumable=False), False, "Discord ended the session"),
    (lambda bot, found: close(found, *CloseCode.UNKNOWN_ERROR), True, "4000, Discord had an unknown error"),
    (lambda bot, found: close(found, *CloseCode.SESSION_TIMED_OUT), False, "4009, the session has timed out"),
    (lambda bot, found: close(found, *CloseCode.INVALID_SEQ), False, "4007, the sequence number of the RESUME"),
    (lambda bot, found: close(found, 1000, "bye"), True, "1000, Discord closed the connection"),
]


async def test_shard_resumes_if_its_session_may_go_on(commands: Path):
    """And it logs in again if not. What it was is known. Each shard meets another end."""
    count = len(LOSSES)
    async with rig(commands, settings=sharded(count + 1), make=world_with_guilds) as bot:
        for shard, (lose, _, _) in enumerate(LOSSES):
            lose(bot, session(bot, shard))
        await until(lambda: len(bot.sandbox.sessions.logins) == 2 * count + 1)
        await until(lambda: all(status.up for status in bot.service.shards()))
        for shard, (_, resumes, why) in enumerate(LOSSES):
            assert str(bot.service.shards()[shard].last_close).startswith(why)
            assert changes(bot, shard)[2:4] == ["disconnected", "resumed" if resumes else "connected"], why
        resumed = sum(resumes for _, resumes, _ in LOSSES)
        assert results(bot) == {LoginResult.IDENTIFIED: 2 * count + 1 - resumed, LoginResult.RESUMED: resumed}
        assert (bot.service.shards()[count].last_close, changes(bot, count)) == (None, ["connected", "ready"])


async def test_guild_that_left_while_the_shard_was_away_is_forgotten(commands: Path):
    async with rig(commands, settings=sharded(4), make=world_with_guilds) as bot:
        found = session(bot, 2)
        invalidate(bot, found, resumable=False)
        del bot.sandbox.world.guilds[GUILD_OF[2]].members[BOT]
        await until(lambda: changes(bot, 2)[-1] == "ready" and changes(bot, 2).count("connected") == 2)
        assert bot.service.bot.get_guild(int(GUILD_OF[2])) is None
        assert len(bot.service.bot.guilds) == 16


@pytest.mark.parametrize(
    ("count", "code", "error", "fragment"),
    [
        (1, CloseCode.SHARDING_REQUIRED, ConfigError, "4011: the shard would have too many guilds"),
        (4, CloseCode.AUTHENTICATION_FAILED, DeadToken, "refuses the token"),
        (4, CloseCode.DISALLOWED_INTENTS, ConfigError, "privileged intents"),
    ],
)
async def test_fatal_close_of_one_shard_ends_the_run(
    commands: Path, count: int, code: tuple[int, str], error: type[ConfigError], fragment: str
):
    async def run() -> None:
        async with rig(commands, settings=sharded(count), make=world_with_guilds) as bot:
            close(session(bot, count - 1), *code)
            await bot.running.wait()

    with pytest.raises(error, match=fragment) as caught:
        await run()
    assert ("discord.shards" in caught.value.hint) == (code is CloseCode.SHARDING_REQUIRED)


async def test_all_shards_follow_a_token_that_was_replaced(commands: Path):
    tokens = [TOKEN]
    found = {"reread": lambda: TokenFound(tokens[-1], "secrets/token")}
    async with rig(commands, settings=sharded(4), make=world_with_guilds, **found) as bot:
        tokens.append(bot.sandbox.reset_token(BOT))
        await until(lambda: [changes(bot, shard).count("ready") for shard in range(4)] == [2] * 4)
        assert [await ask(bot, shard) for shard in range(4)] == [f"{shard} of 4" for shard in range(4)]
        assert len(bot.sandbox.sessions.connected()) == 4


async def test_too_many_guilds_for_the_shards_end_the_start_with_what_to_do(commands: Path):
    def small(url: str) -> Sandbox:
        return world_with_guilds(url, guilds_per_shard=3)

    with pytest.raises(ConfigError, match="4011") as caught:
        async with rig(commands, settings=sharded(4), make=small):
            raise AssertionError("it has started")
    assert 'Set discord.shards to "auto"' in caught.value.hint


async def test_recommendation_of_discord_is_used_and_its_growth_is_said(commands: Path, caplog):
    """17 guilds with at most 10 in a shard: the sandbox recommends 5 shards; of 15, it would be 9."""

    def small(url: str) -> Sandbox:
        return world_with_guilds(url, guilds_per_shard=10)

    async with rig(commands, settings=sharded("auto"), make=small) as bot:
        assert (bot.service.bot.shard_count, results(bot)) == (5, {LoginResult.IDENTIFIED: 5})
        bot.sandbox.limits = bot.sandbox.limits.replace({"guilds_per_shard": 5})
        await bot.service.shard_watch.ask()
        for _ in range(2):
            bot.service.shard_watch.look()
        sentence = "Discord recommends 9 shards, and 5 run: restart the bot, and it has 9 shards"
        assert sentence in (await bot.service.ping() or "")
        assert [health.ok for health in await bot.running.health() if health.name == "bot"] == [True]
    assert caplog.text.count(sentence) == 1


@pytest.mark.parametrize(("most", "least_s"), [(16, 0.0), (1, 0.1)])
async def test_logins_keep_to_the_concurrency_of_discord(commands: Path, most: int, least_s: float):
    """By the sandbox's own clock: logins of one key are apart, those of different keys need not be."""
    limits = {"max_concurrency": most, "concurrency_s": least_s}

    def make(url: str) -> Sandbox:
        return world_with_guilds(url, **limits)

    values = {LoginGate: OpenGate(spacing_s=least_s * 5)}
    async with rig(commands, settings=sharded(3), make=make, values=values) as bot:
        assert results(bot) == {LoginResult.IDENTIFIED: 3}
        for key in range(most):
            times = [login.at_s for login in bot.sandbox.sessions.logins if login.shard[0] % most == key]
            assert all(later - earlier >= least_s for earlier, later in itertools.pairwise(times))


async def test_stop_in_the_middle_of_the_logins_ends_them(commands: Path):
    """One shard is connected, one waits for its turn at the gate, and two wait behind it."""
    sandboxes: list[Sandbox] = []

    def make(url: str) -> Sandbox:
        sandboxes.append(world_with_guilds(url, max_concurrency=1))
        return sandboxes[0]

    async def start() -> None:
        values = {LoginGate: OpenGate(spacing_s=LIMIT_S)}
        async with rig(commands, settings=sharded(4), make=make, values=values, start_s=LIMIT_S):
            raise AssertionError("it has started")

    starting = asyncio.create_task(start())
    await until(lambda: bool(sandboxes) and len(sandboxes[0].sessions.connected()) == 1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert len(sandboxes[0].sessions.logins) == 1
    assert not [task for task in asyncio.all_tasks() if "shard" in task.get_name()]


async def test_operator_can_end_and_restart_a_shard(commands: Path):
    async with rig(commands, settings=sharded(4), make=world_with_guilds) as bot:
        shard = bot.service.bot.get_shard(1)
        await shard.disconnect()
        await until(lambda: bot.service.shards()[1].state is ShardState.CLOSED)
        assert shard.is_closed()
        assert await ask(bot, 2) == "2 of 4"
        await shard.connect()
        assert await ask(bot, 1) == "1 of 4"
        assert results(bot) == {LoginResult.IDENTIFIED: 5}
