"""Reading the audit log on every store: the newest that are wanted, and a follower that misses and repeats nothing."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from botctl.audit.log import LOOK_BACK_S, AuditLog
from botctl.audit.query import Query
from botctl.audit.spool import Spool
from botctl.audit.writer import COLLECTION, MongoAuditor
from botctl.core.audit import AuditEntry, Success, Who
from botctl.core.clock import ManualClock
from botctl.core.errors import Unreachable
from tests.support.stores import tasks_for
from tests.support.waiting import until

START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(n, actor="9", name=None, action="command.roll", **fields):
    """The entry ``n``, which happened ``n`` seconds after the start."""
    at = START + timedelta(seconds=n)
    return AuditEntry(id=f"e{n:04}", at=at, action=action, actor=Who("user", actor, name), **fields)


@pytest.fixture
def clock():
    return ManualClock(START)


@pytest.fixture
async def write(mongo_db, tmp_path, clock):
    """Write entries as the writer does, and wait until they are written."""

    async def write(*entries, clock=clock):
        async with tasks_for("audit") as (tasks, _):
            auditor = MongoAuditor(mongo_db[COLLECTION], Spool(tmp_path), tasks, 1000, 0.001, clock)
            async with auditor.running():
                for one in entries:
                    auditor.record(one)

    return write


@pytest.fixture
def log(mongo_db, clock):
    return AuditLog(mongo_db[COLLECTION], clock)


async def test_the_newest_come_and_the_newest_of_them_last(write, log):
    await write(*(entry(n) for n in (3, 1, 2, 0)))
    assert [e["id"] for e in await log.newest(Query(), 3)] == ["e0001", "e0002", "e0003"]


async def test_nothing_is_an_empty_log(log):
    assert await log.newest(Query(), 50) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(actor="91"), {1}),
        (Query(actor="ann"), {0, 3}),
        (Query(actor="an*"), {0, 3}),
        (Query(action="command.*"), {0, 1}),
        (Query(action="*.s*", actor="ann"), {3}),
        (Query(action="command.rol"), set()),
        (Query(guild="7"), {2}),
        (Query(outcome=Success.ERROR), {3}),
        (Query(since=START + timedelta(seconds=1), until=START + timedelta(seconds=3)), {1, 2}),
        (Query(since=START + timedelta(seconds=1), actor="ann", outcome=Success.ERROR), {3}),
    ],
    ids=str,
)
async def test_only_what_is_wanted_comes(write, log, query, expected):
    await write(
        entry(0, "9", "ann"),
        entry(1, "91", "bob", "command.ops.status"),
        entry(2, "5", action="guild.settings.set", guild="7"),
        entry(3, "9", "ann", "run.start", outcome=Success.ERROR),
    )
    assert {e["id"] for e in await log.newest(query, 50)} == {f"e{n:04}" for n in expected}


class Follower:
    """Collects what a follower gets, in the background."""

    def __init__(self, log, query=None, limit=50):
        self.batches = []
        self._work = log.follow(query or Query(), limit, poll_s=0.002)

    @property
    def ids(self):
        return [e["id"] for batch in self.batches for e in batch]

    async def __aenter__(self):
        self._task = asyncio.create_task(self._collect())
        await until(lambda: bool(self.batches), what="the first batch")
        return self

    async def __aexit__(self, *_error):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _collect(self):
        async for batch in self._work:
            self.batches.append(batch)


async def test_a_follower_gets_the_newest_then_each_that_is_written_once(write, log, clock):
    await write(*(entry(n) for n in range(6)))
    async with Follower(log, limit=3) as follower:
        assert follower.ids == ["e0003", "e0004", "e0005"]
        for n in range(6, 30, 3):
            clock.advance(3)
            await write(*(entry(n + i) for i in range(3)))
            await until(lambda n=n: f"e{n + 2:04}" in follower.ids)
        assert follower.ids == [f"e{n:04}" for n in range(3, 30)]


async def test_a_follower_gets_what_happened_long_ago_and_is_written_only_now(write, log, clock):
    """What a dead process had spooled, and refusals that were counted for a minute."""
    clock.advance(3600)
    await write(entry(3600))
    async with Follower(log) as follower:
        clock.advance(60)
        await write(entry(3660))
        await write(entry(5))
        await until(lambda: "e0005" in follower.ids)
        assert follower.ids == ["e3600", "e3660", "e0005"]


async def test_a_writer_whose_clock_is_slow_within_bounds_is_not_missed(write, log, clock):
    async with Follower(log) as follower:
        clock.advance(100)
        await write(entry(1))
        await until(lambda: "e0001" in follower.ids)
        await write(entry(2), clock=ManualClock(clock.now() - timedelta(seconds=LOOK_BACK_S - 1)))
        await until(lambda: "e0002" in follower.ids)


async def test_a_follower_of_some_gets_no_others(write, log):
    async with Follower(log, Query(action="run.*")) as follower:
        assert follower.batches == [[]]
        await write(entry(1), entry(2, action="run.start"))
        await write(entry(3), entry(4, action="run.stop"))
        await until(lambda: "e0004" in follower.ids)
        assert follower.ids == ["e0002", "e0004"]


async def test_a_store_that_does_not_answer_is_a_sentence(clock):
    from botctl.stores.mongo import connect

    async with connect("mongodb://127.0.0.1:9", timeout_s=0.05) as client:
        with pytest.raises(Unreachable, match="cannot be read"):
            await AuditLog(client["x"][COLLECTION], clock).newest(Query(), 1)
