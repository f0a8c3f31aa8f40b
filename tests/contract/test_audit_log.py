"""The audit log on every store: the newest matching entries, and a follower that misses and repeats none."""

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import MagicMock

import pytest
from pymongo.errors import AutoReconnect

from botctl.audit.log import LOOK_BACK_MS, AuditLog, EntryBatch, Follower, entry_of
from botctl.audit.query import Query
from botctl.audit.spool import Spool
from botctl.audit.writer import COLLECTION, MongoAuditor
from botctl.core.contracts.audit_entry import AuditEntry, AuditOutcome, Principal
from botctl.core.errors import Unreachable
from tests.support.clock import ManualClock
from tests.support.stores import tasks_for
from tests.support.waiting import until

START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(n, actor="9", name=None, action="command.roll", **fields):
    """The entry ``n``, which happened ``n`` seconds after the start."""
    at = START + timedelta(seconds=n)
    return AuditEntry(id=f"e{n:04}", at=at, action=action, actor=Principal("user", actor, name), **fields)


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
    return AuditLog(mongo_db)


def ids(documents):
    return [entry_of(document)["id"] for document in documents]


async def test_newest_entries_are_in_ascending_order(write, log):
    await write(*(entry(n) for n in (3, 1, 2, 0)))
    assert ids(await log.newest(Query(), 3)) == ["e0001", "e0002", "e0003"]


async def test_order_is_by_millisecond_not_by_id(write, log):
    """Entries of the same millisecond have a fixed order."""
    moments = [7, 3, 1000, 5, 999, 3]
    await write(*(replace(entry(0), id=f"{n}", at=START + timedelta(milliseconds=ms)) for n, ms in enumerate(moments)))
    assert ids(await log.newest(Query(), 50)) == ["1", "5", "3", "0", "4", "2"]
    bounds = Query(since=START + timedelta(milliseconds=5), until=START + timedelta(milliseconds=1000))
    assert ids(await log.newest(bounds, 50)) == ["3", "0", "4"]


async def test_newest_of_one_millisecond_are_those_with_the_last_ids(write, log):
    """Also where the limit cuts a millisecond, in whatever order the server returns it."""
    await write(*(replace(entry(0), id=f"{n}") for n in (4, 0, 3, 1, 2)), entry(1))
    assert ids(await log.newest(Query(), 3)) == ["3", "4", "e0001"]
    assert ids(await log.newest(Query(until=START + timedelta(seconds=1)), 2)) == ["3", "4"]
    assert ids(await log.newest(Query(), 6)) == ["0", "1", "2", "3", "4", "e0001"]


async def test_empty_log_has_no_entries(log):
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
        (Query(outcome=AuditOutcome.ERROR), {3}),
        (Query(since=START + timedelta(seconds=1), until=START + timedelta(seconds=3)), {1, 2}),
        (Query(since=START + timedelta(seconds=1), actor="ann", outcome=AuditOutcome.ERROR), {3}),
    ],
    ids=str,
)
async def test_only_matching_entries_are_returned(write, log, query, expected):
    await write(
        entry(0, "9", "ann"),
        entry(1, "91", "bob", "command.ops.status"),
        entry(2, "5", action="guild.settings.set", guild="7"),
        entry(3, "9", "ann", "run.start", outcome=AuditOutcome.ERROR),
    )
    assert set(ids(await log.newest(query, 50))) == {f"e{n:04}" for n in expected}


class _Stopped(Exception):
    pass


class Reader:
    """Collects the batches of a follower in the background. ``away``: the database is away."""

    def __init__(self, database, clock, query=None, limit=50):
        self.batches, self.away, self._stopped = [], False, False
        self._database = database
        self._follower = Follower(self._connect, query or Query(), limit, clock)

    @asynccontextmanager
    async def _connect(self):
        if self.away:
            raise Unreachable("it is away")
        yield self

    def __getitem__(self, name):
        if self.away:
            raise Unreachable("it is away")
        if self._stopped:
            raise _Stopped
        return self._database[name]

    @property
    def ids(self):
        return [one for batch in self.batches for one in ids(batch.documents)]

    async def __aenter__(self):
        self._task = asyncio.create_task(self._collect())
        await until(lambda: bool(self.batches), what="the first batch")
        return self

    async def __aexit__(self, *_error):
        self._stopped = True  # between two calls: a cancelled call of pymongo may leave a socket behind
        with suppress(_Stopped):
            await self._task

    async def _collect(self):
        async with aclosing(self._follower.batches(poll_s=0.002)) as batches:
            async for batch in batches:
                self.batches.append(batch)


async def test_follower_gets_newest_then_each_new_entry_once(write, mongo_db, clock):
    await write(*(entry(n) for n in range(6)))
    async with Reader(mongo_db, clock, limit=3) as follower:
        assert follower.ids == ["e0003", "e0004", "e0005"]
        for n in range(6, 30, 3):
            clock.advance(3)
            await write(*(entry(n + i) for i in range(3)))
            await until(lambda n=n: f"e{n + 2:04}" in follower.ids)
        assert follower.ids == [f"e{n:04}" for n in range(3, 30)]


async def test_no_entry_is_repeated_at_any_look_back(write, mongo_db, clock):
    async with Reader(mongo_db, clock) as follower:
        for n in range(40):
            clock.advance(LOOK_BACK_MS / 10_000 + 0.037)
            await write(entry(n))
            await until(lambda n=n: f"e{n:04}" in follower.ids)
        assert follower.ids == [f"e{n:04}" for n in range(40)]


async def test_follower_gets_old_entry_that_is_written_now(write, mongo_db, clock):
    """For example entries that a dead process had spooled, and counted denials."""
    clock.advance(3600)
    await write(entry(3600))
    async with Reader(mongo_db, clock) as follower:
        clock.advance(60)
        await write(entry(3660))
        await until(lambda: "e3660" in follower.ids)
        await write(entry(5))
        await until(lambda: "e0005" in follower.ids)
        assert follower.ids == ["e3600", "e3660", "e0005"]


async def test_follower_gets_entry_of_writer_with_slow_clock(write, mongo_db, clock):
    async with Reader(mongo_db, clock) as follower:
        clock.advance(100)
        await write(entry(1))
        await until(lambda: "e0001" in follower.ids)
        await write(entry(2), clock=ManualClock(clock.now() - timedelta(milliseconds=LOOK_BACK_MS - 1)))
        await until(lambda: "e0002" in follower.ids)


async def test_follower_gets_only_matching_entries(write, mongo_db, clock):
    async with Reader(mongo_db, clock, Query(action="run.*")) as follower:
        assert follower.batches == [EntryBatch([])]
        await write(entry(1), entry(2, action="run.start"))
        await write(entry(3), entry(4, action="run.stop"))
        await until(lambda: "e0004" in follower.ids)
        assert follower.ids == ["e0002", "e0004"]


async def test_follower_survives_store_outage(write, mongo_db, clock):
    """It reports why it waits, and misses nothing that was written before the store is back."""
    reader = Reader(mongo_db, clock)
    reader.away = True
    async with reader:
        assert "away" in reader.batches[0].waiting_for
        reader.away = False
        await until(lambda: reader.batches[-1] == EntryBatch([]))
        await write(entry(1))
        await until(lambda: reader.ids == ["e0001"])
        reader.away = True
        await until(lambda: "away" in reader.batches[-1].waiting_for)
        clock.advance(600)
        await write(entry(2))
        reader.away = False
        await until(lambda: reader.ids == ["e0001", "e0002"])


async def test_store_failure_raises_unreachable():
    class Down(MagicMock):
        async def to_list(self):
            raise AutoReconnect("connection closed")

    down = Down()
    down.find.return_value = down.sort.return_value = down.limit.return_value = down
    with pytest.raises(Unreachable, match=r"cannot be read: MongoDB fails \(AutoReconnect\)"):
        await AuditLog({COLLECTION: down}).newest(Query(), 1)
