"""The sessions of a process: what the next one finds, and what it says when it finds nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from botctl.bot.gateway import stored_sessions
from botctl.bot.gateway.restart_reasons import why_login
from botctl.bot.gateway.session_file import SessionFile, encode_all, newest, session_path
from botctl.bot.gateway.session_mirror import SessionMirror
from botctl.bot.gateway.stored_sessions import StoredSessions
from botctl.core.clock import SystemClock
from botctl.core.config.settings import DiscordSettings, Settings
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.shards import ShardSession
from botctl.core.errors import Unreachable
from tests.support.services import SetClock
from tests.unit.bot.gateway.test_session_file import GUILD, ORIGIN, READY, message

TOKEN = "a.b.c"


class NoRedis(SessionMirror):
    """A Redis that is away."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.asked: list[int] = []

    async def read(self, shard: int) -> bytes | None:
        self.asked.append(shard)
        raise Unreachable("Redis is away")

    async def write(self, files: Any) -> None:
        raise Unreachable("Redis is away")

    async def forget(self, shard: int) -> None:
        raise Unreachable("Redis is away")


Make = Callable[..., StoredSessions]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[StoredSessions] = []

    def process(*, clock: Any = None, **discord: Any) -> StoredSessions:
        """The sessions of another process of the same project."""
        for other in made:
            other.close()
        settings = Settings(discord=DiscordSettings(**discord))
        made.append(StoredSessions(tmp_path, settings, None, clock or SystemClock(), NoRedis()))
        return made[-1]

    yield process
    for one in made:
        one.close()


def record(sessions: StoredSessions, shard: int, event: str, data: Any) -> None:
    sessions.record(shard, event, data, message(event, data))


async def log_in(sessions: StoredSessions, shards: int = 1) -> None:
    await sessions.begin(shards, TOKEN)
    for shard in range(shards):
        record(sessions, shard, "READY", READY | {"session_id": f"s{shard}"})
        sessions.mark(shard, 1)
        record(sessions, shard, "GUILD_CREATE", GUILD)
        sessions.mark(shard, 2)


async def test_next_process_has_sessions_and_guilds(make: Make, tmp_path: Path) -> None:
    await log_in(make(), 2)
    second = make()
    assert await second.begin(2, TOKEN) == {n: ShardSession(f"s{n}", 2, "u") for n in (0, 1)}
    guilds = second.take(1)
    assert guilds is not None
    assert [guild["id"] for guild in guilds.complete()] == ["1"]
    assert second.take(1) is None
    record(second, 1, "GUILD_DELETE", {"id": "1"})
    second.mark(1, 3)
    third = make()
    assert (await third.begin(2, TOKEN))[1].sequence == 3
    assert third.take(1).complete() == []  # type: ignore[union-attr]
    assert sorted(path.name for path in (tmp_path / "gateway").iterdir()) == ["shard-0", "shard-1"]


@pytest.mark.parametrize(
    ("discord", "bot", "why"),
    [
        ({"intents": "guilds"}, (1, TOKEN), "discord.intents was default, and is guilds"),
        ({}, (2, TOKEN), "the number of shards was 1, and is 2"),
        ({}, (1, "other"), "its session belongs to another token"),
        ({"resume": False}, (1, TOKEN), "discord.resume is false"),
    ],
)
async def test_log_says_why_a_shard_logs_in(
    make: Make, caplog: pytest.LogCaptureFixture, discord: Any, bot: tuple[int, str], why: str
) -> None:
    """And the plan said it before."""
    shards, token = bot
    caplog.set_level(logging.INFO)
    await log_in(make())
    sessions = make(**discord)
    folder, settings = sessions._folder, Settings(discord=DiscordSettings(**discord))
    planned = why_login(folder, settings, DiscordAccess(token), range(shards), SystemClock())
    assert planned[0] == why
    assert await sessions.begin(shards, token) == {}
    assert f"logs in: {why}" in caplog.text
    assert not session_path(folder, 0).exists()


async def test_plan_of_what_is_not_there(make: Make, tmp_path: Path) -> None:
    def plan(clock: Any = None) -> str:
        return why_login(tmp_path, Settings(), DiscordAccess(TOKEN), [0], clock or SystemClock())[0]

    assert plan() == "no session is stored"
    clock = SetClock()
    await log_in(make(clock=clock))
    assert plan(clock) == ""
    clock.ahead += timedelta(hours=1, seconds=1)
    assert plan(clock) == "its session is older than 1 h"
    session_path(tmp_path, 0).write_bytes(b"x")
    assert plan() == "its stored session cannot be read"


async def test_redis_that_fails_is_asked_once_in_a_start(make: Make) -> None:
    """Each answer may take seconds to miss, and the start has one minute for all shards."""
    await log_in(make(), 3)
    sessions = make()
    assert set(await sessions.begin(3, TOKEN)) == {0, 1, 2}
    assert cast(NoRedis, sessions._mirror).asked == [0]
    await sessions.begin(3, TOKEN)
    assert cast(NoRedis, sessions._mirror).asked == [0, 0], "the next start asks again"


async def test_session_that_is_over_is_not_found(make: Make) -> None:
    first = make()
    await log_in(first)
    first.end(0)
    record(first, 0, "CHANNEL_CREATE", {"guild_id": "1", "id": "9"})
    first.mark(0, 9)
    assert await make().begin(1, TOKEN) == {}


async def kill(
    make: Make, event: str, data: Any, caplog: pytest.LogCaptureFixture, *, begun: bool
) -> tuple[StoredSessions, list[str]]:
    """A process is killed when ``event`` has arrived, or when its listeners begin: the next process, and its log."""
    first = make()
    await log_in(first)
    first.record(0, event, data, message(event, data, 3))
    if begun:
        first.mark_begun(0, 3)
    caplog.clear()
    second = make()
    assert (await second.begin(1, TOKEN))[0].sequence == 2
    second.record(0, event, data, message(event, data, 3))
    second.record(0, event, data, message(event, data, 4))
    return second, [record.message for record in caplog.records if record.levelno == logging.WARNING]


async def test_event_that_may_be_handled_twice_is_named(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """And no other one."""
    event = ("CHANNEL_DELETE", {"guild_id": "1", "id": "9"})
    second, log = await kill(make, *event, caplog, begun=True)
    assert log == ["shard 0: CHANNEL_DELETE comes again, for the last process was killed while its listeners began"]
    second.mark_begun(0, 3)
    second.mark(0, 3)
    assert (await kill(make, *event, caplog, begun=False))[1] == []
    assert (await kill(make, "INTERACTION_CREATE", {"id": "1"}, caplog, begun=True))[1] == [], "commands are claimed"


async def test_doubt_outlives_a_start_that_does_not_get_so_far(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    first = make()
    await log_in(first)
    first.mark_begun(0, 3)
    await make().begin(1, TOKEN)
    third = make()
    await third.begin(1, TOKEN)
    record(third, 0, "MESSAGE_CREATE", {})
    assert "MESSAGE_CREATE comes again" in caplog.text


async def test_disk_that_is_full_costs_the_session_and_nothing_else(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guilds that are not complete are not restored."""
    first = make()
    await log_in(first, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda _fd, data: len(data) - 1)
        record(first, 0, "CHANNEL_CREATE", {"guild_id": "1", "id": "9"})
        record(first, 1, "CHANNEL_CREATE", {"guild_id": "1", "id": "9"})
        first.mark(0, 9)
    assert caplog.text.count("cannot be stored (No space left on device)") == 1
    assert await make().begin(2, TOKEN) == {}


async def test_folder_that_cannot_be_written(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "gateway").write_text("a file")
    await log_in(make())
    assert "the session of shard 0 cannot be stored" in caplog.text


async def test_commands_without_an_answer_are_named(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_sessions, "MAX_NAMED", 20)
    first = make()
    first.take_over()
    for number in range(22):
        first.commands.begin(number, f"slow {number}")
    first.commands.end(0)
    make().take_over()
    assert "slow 0 " not in caplog.text
    assert "slow 1 (1) was under way when the last process ended, and has no answer" in caplog.text
    assert "1 more commands were under way" in caplog.text


def test_newest_copy_counts() -> None:
    def copy(session: str, sequence: int, seen_ms: int) -> bytes:
        records = encode_all(ORIGIN, [("READY", READY | {"session_id": session})])
        return SessionFile.content(sequence, seen_ms, records)

    assert newest([]) is None
    assert newest([b"x"]) == b"x"
    old, new = copy("s", 5, 9000), copy("s", 6, 1000)
    assert newest([old, new]) == newest([new, old, b"x"]) == new, "of one session, the number counts"
    other = copy("t", 1, 9001)
    assert newest([old, other]) == newest([other, old]) == other
