"""What a process says of itself, from what its event loop has left, and what follows for a supervisor."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from botctl.core.contracts.health import ALL_IS_WELL, Diagnosis, Health
from botctl.monitor import own_health
from botctl.monitor.health_answer import (
    BLOCKED_S,
    HealthAnswer,
    KnownHealth,
    answer,
    as_json,
    parse_answer,
    should_restart,
)
from botctl.monitor.own_health import OwnHealth
from botctl.monitor.rows import SILENT_S
from botctl.monitor.snapshot import ServiceSnapshot
from tests.support.snapshots import make_snapshot
from tests.support.waiting import LIMIT_S, until

SNAPSHOT = make_snapshot(12, host="vm")
STORE = Diagnosis(verdict=Health.DEGRADED, proc="vm:12", why="redis of vm:12 is degraded", action="look")
STARTING = Diagnosis(verdict=Health.STARTING, proc="vm:12", why="vm:12 is starting")
DRAINING = Diagnosis(verdict=Health.DRAINING, proc="vm:12", why="vm:12 is stopping")
DEAF = Diagnosis(verdict=Health.DEAF, proc="vm:12", why="shard 0 is deaf", restart_helps=True)


def answer_of(
    known: KnownHealth, *, age_s: float = 1.0, late_s: float = 0.0, blocker: str | None = None
) -> HealthAnswer:
    known = replace(known, at_s=100.0)
    return answer(known, proc="vm:12", roles=("bot",), now_s=100.0 + age_s, late_s=late_s, blocker=blocker)


def test_fresh_snapshot_without_a_finding_is_healthy() -> None:
    given = answer_of(KnownHealth(snapshot=SNAPSHOT))
    assert (given.health, given.diagnoses, given.age_s, given.is_current) == (ALL_IS_WELL, (), 1.0, True)


def test_before_the_first_snapshot_only_the_phase_is_known() -> None:
    given = answer_of(KnownHealth(phase=STARTING))
    assert (given.health, given.snapshot, given.age_s, given.is_current) == (STARTING, None, None, False)


def test_worst_finding_is_the_verdict() -> None:
    given = answer_of(KnownHealth(snapshot=SNAPSHOT, found=(STORE, DEAF)))
    assert (given.health, given.diagnoses) == (DEAF, (DEAF, STORE))


def test_blocked_loop_is_all_that_is_said() -> None:
    known = KnownHealth(snapshot=SNAPSHOT, found=(STORE,))
    given = answer_of(known, age_s=12.0, late_s=12.0, blocker="/block (commands/block.py:9)")
    assert (given.health.verdict, given.health.restart_helps) == (Health.BLOCKED, True)
    assert given.health.why == "/block (commands/block.py:9) has blocked the event loop of vm:12 (bot) for 12 s"
    assert given.diagnoses == (given.health,)
    almost = answer_of(known, late_s=BLOCKED_S - 0.1, blocker="/block")
    assert (almost.health, almost.blocker) == (STORE, "/block")


def test_old_snapshot_tells_nothing_of_now() -> None:
    """Its loop runs, and something keeps it from making snapshots. A stop in order is known without one."""
    given = answer_of(KnownHealth(snapshot=SNAPSHOT, found=(DEAF,)), age_s=SILENT_S + 1)
    assert (given.health.verdict, given.health.why) == (
        Health.DEGRADED,
        "vm:12 (bot) has not looked at itself for 7 s",
    )
    stopping = answer_of(KnownHealth(phase=DRAINING, snapshot=SNAPSHOT, found=(DEAF,)), age_s=SILENT_S + 1)
    assert stopping.diagnoses == (DRAINING,)


def test_answer_is_read_back_and_unknown_fields_are_ignored() -> None:
    given = answer_of(KnownHealth(snapshot=SNAPSHOT, found=(STORE,), bot=DEAF))
    fields: dict[str, Any] = json.loads(as_json(given))
    assert parse_answer(fields | {"new": 1}) == given
    assert parse_answer(fields | {"v": 2}) is None
    assert parse_answer({"roles": ["bot"]}) is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((), False),
        ((STORE,), False),
        ((DEAF,), True),
        ((DEAF, STORE), True),
        ((replace(DEAF, restart_helps=False),), False),
        ((replace(DEAF, verdict=Health.DEGRADED),), False),  # other shards hear
        ((DEAF, Diagnosis(verdict=Health.BANNED, why="banned")), False),
        ((DEAF, Diagnosis(verdict=Health.LIMITED, why="limited")), False),
        ((STARTING,), False),
        ((Diagnosis(verdict=Health.WAITING, why="waits for a login"),), False),
    ],
)
def test_restart_is_wanted_only_where_it_helps(found: tuple[Diagnosis, ...], expected: bool) -> None:
    assert should_restart(found) is expected


def test_life_of_a_process() -> None:
    """It starts, waits, works, and stops; a last snapshot does not undo that."""
    own = OwnHealth(("jobs", "bot"))
    assert (own.answer().health.verdict, own.answer().roles) == (Health.STARTING, ("bot", "jobs"))
    own.enter(Health.WAITING, "waiting 5 s", "wait")
    assert own.answer().health.verdict is Health.WAITING
    own.post(SNAPSHOT)
    assert own.answer().health is ALL_IS_WELL
    own.post(replace(SNAPSHOT, services=(ServiceSnapshot(name="redis", state="degraded", detail="no answer"),)))
    assert own.answer().health.why == "redis of vm:12 is degraded: no answer"
    own.post_bot(DEAF)
    assert own.answer().bot == DEAF
    own.enter(Health.DRAINING, "stopping")
    for draining in (False, True):
        own.post(replace(SNAPSHOT, draining=draining))
        assert [finding.why for finding in own.answer().diagnoses] == ["stopping"]


class BlockedLoop:
    """An event loop in a thread that a callback blocks until `end` is set. ``ahead_s``: how far its clock is ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.own = OwnHealth(("bot",), clock_s=lambda: time.monotonic() + self.ahead_s)
        self.is_blocked, self.end = threading.Event(), threading.Event()

    def run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        beating = asyncio.create_task(self.own.beat())
        await asyncio.sleep(0)
        await asyncio.create_task(self.blocking_call())
        beating.cancel()

    async def blocking_call(self) -> None:
        self.is_blocked.set()
        self.end.wait(LIMIT_S)


def test_blocked_loop_is_named_by_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_health, "_MOMENT_S", 0.0)
    loop = BlockedLoop()
    loop.own.watch_tasks(lambda _: "/block")
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        assert loop.is_blocked.wait(LIMIT_S)
        loop.own.post(SNAPSHOT)
        assert loop.own.answer().health is ALL_IS_WELL
        loop.ahead_s = 7.5
        given = loop.own.answer()
    finally:
        loop.end.set()
        thread.join(LIMIT_S)
    assert given.health.verdict is Health.BLOCKED
    assert given.blocker is not None
    assert given.blocker.startswith("/block (monitor/test_health_answer.py:")
    assert 6.5 < given.late_s < 7.5 + LIMIT_S


async def test_process_that_was_continued_has_a_moment_to_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """After SIGCONT, or when a laptop wakes up, the answering thread may run before the loop."""
    monkeypatch.setattr(own_health, "_MOMENT_S", LIMIT_S)
    monkeypatch.setattr(own_health, "BEAT_S", 0.0)
    ahead_s = 0.0
    own = OwnHealth(("bot",), clock_s=lambda: time.monotonic() + ahead_s)
    own.post(SNAPSHOT)
    ahead_s = 60.0
    asking = asyncio.create_task(asyncio.to_thread(own.answer))
    await asyncio.sleep(0)
    beating = asyncio.create_task(own.beat())
    await until(asking.done, what="an answer")
    beating.cancel()
    assert asking.result().health.verdict is not Health.BLOCKED
