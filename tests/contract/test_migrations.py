"""Migrations on a real document store: who runs what, what is written down, and what becomes of it when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import monitoring

from botctl.core.clock import SystemClock
from botctl.core.contracts.audit_entry import AuditEntry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import Event, MigrationApplied, MigrationFailed
from botctl.core.errors import BotctlError, Held, IntegrityError, NeedsDecision, Unreachable, WorkPending
from botctl.core.services.registry import Registry
from botctl.migrate.files import Migration, Migrations, discover, load
from botctl.migrate.ledger import COLLECTION, Ledger
from botctl.migrate.plan import By, Direction, MigrationStatus, Record, RecordState
from botctl.migrate.runner import LEASE, Migrator, RunOptions, migrated, rows_of
from botctl.migrate.session import ProgressListener, Tools, has_exited
from botctl.stores.leases import MongoLeases
from botctl.stores.mongo import connect
from tests.support.waiting import until

INSERT = 'async def up(db):\n    await db.done.insert_one({{"_id": "{name}"}})\n'
BACK = '\n\nasync def down(db):\n    await db.done.delete_one({{"_id": "{name}"}})\n'
WAITS = """
import asyncio

async def up(db):
    await db.done.insert_one({"_id": "entered"})
    while await db.done.find_one({"_id": "finish"}) is None:
        await asyncio.sleep(0.005)
    await db.done.insert_one({"_id": "left"})
"""


class Entries:
    def __init__(self) -> None:
        self.all: list[AuditEntry] = []

    def record(self, entry: AuditEntry) -> None:
        self.all.append(entry)


class World:
    """A database, a folder, and one process's migrator."""

    def __init__(self, db: Any, folder: Path) -> None:
        self.db = db
        self.folder = folder
        self.audit = Entries()
        self.events: list[Event] = []
        bus = Bus()
        self._listening = bus.listen(self.events.append, Event)
        self._listening.__enter__()
        self.leases = MongoLeases(db["botctl_leases"])
        self.migrator = Migrator(Tools(Ledger(db), self.audit, bus, SystemClock(), 15.0), self.leases)

    def write(self, *names: str, **texts: str) -> Migrations:
        for name in names:
            (self.folder / f"{name}.py").write_text((INSERT + BACK).format(name=name))
        for name, text in texts.items():
            (self.folder / f"{name.removeprefix('m')}.py").write_text(text)
        return self.found

    @property
    def found(self) -> Migrations:
        return discover(self.folder)

    async def done(self) -> list[str]:
        return sorted([document["_id"] async for document in self.db.done.find()])

    async def standings(self) -> list[MigrationStatus]:
        return [row.standing for row in await rows_of(self.found, Ledger(self.db))]

    async def entered(self) -> None:
        async def is_there() -> bool:
            return await self.db.done.find_one({"_id": "entered"}) is not None

        await until(is_there, what="the migration to begin")


@pytest.fixture
def world(mongo_db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("botctl.stores.leases.POLL_S", 0.01)
    folder = tmp_path / "migrations"
    folder.mkdir()
    return World(mongo_db, folder)


def again(world: World) -> World:
    """Another process of the same bot."""
    return World(world.db, world.folder)


async def test_up_and_down_and_what_is_written_of_it(world: World) -> None:
    found = world.write("0001_a", "0002_b", "0003_c")
    await world.migrator.up(found, to=2)
    assert await world.done() == ["0001_a", "0002_b"]
    await world.migrator.up(found)
    await world.migrator.down(found, found.files[:0:-1])
    assert await world.done() == ["0001_a"]
    assert await world.standings() == [MigrationStatus.APPLIED, MigrationStatus.PENDING, MigrationStatus.PENDING]
    one, two, _ = await Ledger(world.db).read()
    assert (one.state, one.direction, one.checksum) == (RecordState.APPLIED, Direction.UP, found.files[0].checksum)
    assert (two.state, two.direction) == (RecordState.REVERTED, Direction.DOWN)
    assert one.took_ms is not None
    assert one.ended is not None
    assert one.by.fence < two.by.fence
    assert not has_exited(one.by)
    moves = [("0001_a", "up"), ("0002_b", "up"), ("0003_c", "up"), ("0003_c", "down"), ("0002_b", "down")]
    assert [(e.name, e.direction) for e in world.events if isinstance(e, MigrationApplied)] == moves
    told = [(e.target.id, e.action, e.stage) for e in world.audit.all if e.target]
    assert told == [(name, f"migration.{way}", stage) for name, way in moves for stage in ("begin", "end")]
    assert len({e.op for e in world.audit.all}) == 5


async def test_again_is_nothing_and_takes_no_lease(world: World) -> None:
    found = world.write("0001_a")
    await world.migrator.up(found)
    async with world.leases.lease(LEASE):
        await again(world).migrator.up(found, order=RunOptions(wait_s=0))
    assert await world.done() == ["0001_a"]


async def test_of_many_at_the_same_moment_one_applies(world: World) -> None:
    """Each migration once: a second insert would fail."""
    found = world.write("0001_a", "0002_b", "0003_c")
    others = [again(world) for _ in range(4)]
    await asyncio.gather(*(other.migrator.up(found) for other in others))
    assert await world.done() == ["0001_a", "0002_b", "0003_c"]
    assert sorted(len(other.events) for other in others) == [0, 0, 0, 3]


@dataclass
class Believed:
    """A lease, as a process believes to hold it."""

    fence: int
    name: str = LEASE
    held: bool = True
    lost: asyncio.Event = field(default_factory=asyncio.Event)


def believing(world: World, lease: Believed) -> World:
    """Another process, which believes to hold ``lease``."""

    class Leases:
        @asynccontextmanager
        async def lease(self, *_: Any, **__: Any) -> AsyncIterator[Believed]:
            yield lease

    other = again(world)
    other.migrator = Migrator(other.migrator.tools, Leases())
    return other


@pytest.mark.parametrize("before", ["never applied", "taken back"])
async def test_even_if_two_believed_to_hold_the_lease_only_one_runs(
    world: World, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """The ledger is a compare-and-swap of its own: both have read that it is pending, then both begin."""
    found, put, both = world.write("0001_a"), Ledger.put, asyncio.Barrier(2)
    if before == "taken back":
        await world.migrator.up(found)
        await world.migrator.down(found, found.files)

    async def at_once(self: Ledger, record: Record, *, after: Record | None) -> None:
        await both.wait()
        await put(self, record, after=after)

    monkeypatch.setattr(Ledger, "put", at_once)
    two = [believing(world, Believed(fence)) for fence in (101, 102)]
    ends = await asyncio.gather(*(w.migrator.up(found) for w in two), return_exceptions=True)
    assert [type(end) for end in ends if end is not None] == [Held]
    assert await world.done() == ["0001_a"]
    assert sum(len(w.events) for w in two) == 1


async def test_a_second_one_is_told_who_works_or_waits(world: World) -> None:
    """Exit code 6 with the process; with patience, it finds all done."""
    found = world.write(m0001_wait=WAITS)
    first, second = asyncio.create_task(world.migrator.up(found)), again(world)
    await world.entered()
    with pytest.raises(Held, match="held by process"):
        await second.migrator.up(found, order=RunOptions(wait_s=0))
    waiting = asyncio.create_task(second.migrator.up(found))
    await world.db.done.insert_one({"_id": "finish"})
    await asyncio.gather(first, waiting)
    assert (len(world.events), second.events) == (1, [])


async def test_a_failure_is_written_down_and_stops_everything_after_it(world: World) -> None:
    """With the file's own line; the next call wants a person, who can say either way."""
    found = world.write("0001_a", "0003_c", m0002_b='async def up(db):\n    raise ValueError("no \\x1b such luck")\n')
    with pytest.raises(BotctlError, match=r"migrations/0002_b.py:2: ValueError: no \\x1b such luck"):
        await world.migrator.up(found)
    assert await world.done() == ["0001_a"]
    assert await world.standings() == [MigrationStatus.APPLIED, MigrationStatus.FAILED, MigrationStatus.PENDING]
    assert isinstance(world.events[-1], MigrationFailed)
    assert (world.audit.all[-1].outcome, world.audit.all[-1].stage) == ("error", "end")
    with pytest.raises(NeedsDecision, match="such luck"):
        await world.migrator.up(found)
    await world.migrator.resolve(found, "0002", RecordState.APPLIED, reason="by hand")
    assert (world.audit.all[-1].action, world.audit.all[-1].reason) == ("migration.resolve", "by hand")
    await world.migrator.up(found)
    assert await world.done() == ["0001_a", "0003_c"]


async def test_what_calls_exit_fails_like_anything_else(world: World) -> None:
    found = world.write(m0001_a="async def up(db):\n    raise SystemExit(0)\n")
    with pytest.raises(BotctlError, match=r"it called exit\(0\)"):
        await world.migrator.up(found)
    assert await world.standings() == [MigrationStatus.FAILED]


async def test_what_was_cut_off_is_seen_and_runs_again_only_when_a_person_says_so(world: World) -> None:
    """As kill -9 leaves it: begun, and never ended."""
    found = world.write("0001_a")
    async with world.leases.lease(LEASE) as lease:
        await Ledger(world.db).put(_begun(found, lease.fence), after=None)
    with pytest.raises(NeedsDecision, match="was cut off"):
        await world.migrator.up(found)
    with pytest.raises(NeedsDecision):
        await world.migrator.settled(found)
    assert await world.done() == []
    await world.migrator.resolve(found, "0001_a", RecordState.REVERTED, reason="nothing had happened")
    await world.migrator.up(found)
    assert await world.done() == ["0001_a"]


def _begun(found: Migrations, fence: int) -> Record:
    file = found.files[0]
    return Record(
        name=file.name,
        n=file.n,
        checksum=file.checksum,
        state=RecordState.RUNNING,
        direction=Direction.UP,
        started=SystemClock().now(),
        ended=None,
        took_ms=None,
        by=By("elsewhere", 1, "long ago", "0.1.0", fence),
        error=None,
    )


async def test_the_first_stop_lets_it_finish_the_second_does_not(world: World) -> None:
    """No other one begins after a stop; what is interrupted has failed, and says so."""
    found = world.write("0002_b", m0001_wait=WAITS)
    work = asyncio.create_task(world.migrator.up(found))
    await world.entered()
    work.cancel()
    await world.db.done.insert_one({"_id": "finish"})
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await world.standings() == [MigrationStatus.APPLIED, MigrationStatus.PENDING]

    other = again(world)
    await world.db.drop_collection("done")
    other.write(m0002_b=WAITS)
    heard = asyncio.Event()

    class Ear(ProgressListener):
        def stops_after(self, file: Migration) -> None:
            heard.set()

    work = asyncio.create_task(other.migrator.up(other.found, order=RunOptions(view=Ear())))
    await other.entered()
    work.cancel()
    await heard.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await other.standings() == [MigrationStatus.APPLIED, MigrationStatus.FAILED]
    with pytest.raises(NeedsDecision, match="it was interrupted"):
        await other.migrator.up(other.found)


async def test_a_lost_lease_stops_the_migration_and_the_successor_is_not_overwritten(world: World) -> None:
    """Who was succeeded cannot write the ledger any more."""
    found = world.write(m0001_wait=WAITS)
    lease = Believed(1)
    work = asyncio.create_task(believing(world, lease).migrator.up(found))
    await world.entered()
    [record] = await Ledger(world.db).read()
    successors = replace(record, by=replace(record.by, fence=2))
    await Ledger(world.db).put(successors, after=record)
    lease.lost.set()
    with pytest.raises(Held, match="The lease was lost"):
        await work
    assert await world.done() == ["entered"]
    assert await Ledger(world.db).read() == (successors,)


async def test_without_the_lease_nothing_begins(world: World) -> None:
    """It may be lost between two migrations."""
    with pytest.raises(Held):
        await believing(world, Believed(1, held=False)).migrator.up(world.write("0001_a"))
    assert (await world.done(), await Ledger(world.db).read()) == ([], ())


async def test_an_end_that_cannot_be_written_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hiccup of the store does not need a person."""
    found = world.write("0001_a")
    end, tries = Ledger.end, []

    async def flaky(self: Ledger, record: Record) -> None:
        tries.append(record)
        if len(tries) == 1:
            raise Unreachable("away")
        await end(self, record)

    monkeypatch.setattr(Ledger, "end", flaky)
    monkeypatch.setattr("botctl.migrate.session._AGAIN_S", 0)
    await world.migrator.up(found)
    assert len(tries) == 2
    assert await world.standings() == [MigrationStatus.APPLIED]


async def test_a_ledger_of_another_version_is_not_guessed_at(world: World) -> None:
    await world.db[COLLECTION].insert_one({"_id": "0001_a", "n": 1, "state": "baselined"})
    with pytest.raises(IntegrityError, match="0001_a"):
        await Ledger(world.db).read()


async def test_the_status_reads_and_nothing_else(mongo_url: str, world: World) -> None:
    """Its one question is a find, and no collection comes to be."""
    found = world.write("0001_a", "0002_b")
    spy = _Spy()
    monitoring.register(spy)
    try:
        async with connect(mongo_url, timeout_s=10.0) as client:
            rows = await rows_of(found, Ledger(client[world.db.name]))
    finally:
        monitoring._LISTENERS.command_listeners.remove(spy)
    assert [row.standing for row in rows] == [MigrationStatus.PENDING] * 2
    assert set(spy.commands) - {"endSessions"} == {"find"}
    assert COLLECTION not in await world.db.list_collection_names()


class _Spy(monitoring.CommandListener):
    def __init__(self) -> None:
        self.commands: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


async def _start(world: World, *, on_start: bool) -> None:
    async with migrated(world.migrator, world.found, apply=on_start):
        pass


async def test_a_run_does_not_start_with_pending_ones_unless_it_may_apply_them(world: World) -> None:
    """Several at once: one applies, the others wait for it."""
    world.write("0001_a", "0002_b")
    with pytest.raises(WorkPending, match="2 migrations are pending: 0001_a, 0002_b"):
        await _start(world, on_start=False)
    assert await world.done() == []
    await asyncio.gather(*(_start(again(world), on_start=True) for _ in range(3)))
    assert await world.done() == ["0001_a", "0002_b"]
    await _start(world, on_start=False)


async def test_a_run_waits_for_the_process_that_migrates_already(world: World) -> None:
    """Also one that may not migrate itself: it is a matter of moments."""
    found = world.write(m0001_wait=WAITS)
    first = asyncio.create_task(world.migrator.up(found))
    await world.entered()
    started = asyncio.create_task(_start(again(world), on_start=False))
    await world.db.done.insert_one({"_id": "finish"})
    await asyncio.gather(first, started)


async def test_a_run_that_is_stopped_while_it_applies_lets_the_migration_finish(world: World) -> None:
    """The registry asks once, and only after its limit a second time."""
    found = world.write("0002_b", m0001_wait=WAITS)
    registry = Registry()
    registry.value(Migrator, world.migrator)
    registry.value(Migrations, found)
    registry.add(partial(migrated, apply=True), stop_s=60)

    async def run() -> None:
        async with registry.open():
            pytest.fail("it started")

    running = asyncio.create_task(run())
    await world.entered()
    running.cancel()
    await world.db.done.insert_one({"_id": "finish"})
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await world.standings() == [MigrationStatus.APPLIED, MigrationStatus.PENDING]


async def test_the_shipped_examples_do_what_they_say(world: World) -> None:
    """Indexes are made and taken away; a document without a revision gets one; again changes nothing."""
    found = discover(Path(__file__).parents[2] / "migrations")
    await world.db.botctl_guilds.insert_many([{"_id": "1", "locale": "de"}, {"_id": "2", "revision": 5}])
    await world.migrator.up(found)
    revisions = {d["_id"]: d["revision"] async for d in world.db.botctl_guilds.find()}
    assert revisions == {"1": 1, "2": 5}

    async def fields() -> set[tuple[str, ...]]:
        indexes = (await world.db.botctl_audit.index_information()).values()
        return {tuple(field for field, _ in index["key"]) for index in indexes}

    wanted = load(found, found.files)["0002_audit_indexes"].up.__globals__["INDEXES"]
    assert await fields() - {("_id",)} == {tuple(field for field, _ in keys) for keys in wanted}
    await world.db.botctl_audit.insert_one({"_id": "e", "at": 1, "x": [{"actor": "9"}], "w": {"at": 1}})
    await world.migrator.down(found, [found.files[1]])
    assert await fields() == {("_id",)}
    await world.migrator.up(found)
