"""Migrations on a real document store: which process runs them, what is recorded, and how failures end."""

from __future__ import annotations

import asyncio
import inspect
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
from botctl.migrate.plan import Direction, MigrationStatus, ProcessIdentity, Record, RecordState
from botctl.migrate.runner import LEASE, Migrator, RunOptions, migrated, read_rows
from botctl.migrate.session import MigrationContext, ProgressListener, has_exited
from botctl.stores.leases import MongoLeases
from botctl.stores.mongo import connect
from tests.support.waiting import LIMIT_S, until

INSERT = 'async def up(db):\n    await db.done.insert_one({{"_id": "{name}"}})\n'
DOWN = '\n\nasync def down(db):\n    await db.done.delete_one({{"_id": "{name}"}})\n'
WAITS = """
import asyncio

async def up(db):
    await db.done.insert_one({"_id": "entered"})
    while await db.done.find_one({"_id": "finish"}) is None:
        await asyncio.sleep(0.005)
    await db.done.insert_one({"_id": "left"})
"""


class EntryList:
    def __init__(self) -> None:
        self.all: list[AuditEntry] = []

    def record(self, entry: AuditEntry) -> None:
        self.all.append(entry)


class Environment:
    """A database, a folder, and the migrator of one process."""

    def __init__(self, db: Any, folder: Path) -> None:
        self.db = db
        self.folder = folder
        self.audit = EntryList()
        self.events: list[Event] = []
        bus = Bus()
        self._listening = bus.listen(self.events.append, Event)
        self._listening.__enter__()
        self.leases = MongoLeases(db["botctl_leases"])
        self.migrator = Migrator(MigrationContext(Ledger(db), self.audit, bus, SystemClock(), 15.0), self.leases)

    def write(self, *names: str, **texts: str) -> Migrations:
        for name in names:
            (self.folder / f"{name}.py").write_text((INSERT + DOWN).format(name=name))
        for name, text in texts.items():
            (self.folder / f"{name.removeprefix('m')}.py").write_text(text)
        return self.found

    @property
    def found(self) -> Migrations:
        return discover(self.folder)

    async def done(self) -> list[str]:
        return sorted([document["_id"] async for document in self.db.done.find()])

    async def statuses(self) -> list[MigrationStatus]:
        return [row.status for row in await read_rows(self.found, Ledger(self.db))]

    async def wait_until_started(self) -> None:
        async def is_there() -> bool:
            return await self.db.done.find_one({"_id": "entered"}) is not None

        await until(is_there, what="the migration to begin")


@pytest.fixture
def env(mongo_db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setattr("botctl.stores.leases.POLL_S", 0.01)
    folder = tmp_path / "migrations"
    folder.mkdir()
    return Environment(mongo_db, folder)


def another_process(env: Environment) -> Environment:
    """Another process of the same bot."""
    return Environment(env.db, env.folder)


async def test_up_and_down_are_recorded_published_and_audited(env: Environment) -> None:
    found = env.write("0001_a", "0002_b", "0003_c")
    await env.migrator.up(found, to=2)
    assert await env.done() == ["0001_a", "0002_b"]
    await env.migrator.up(found)
    await env.migrator.down(found, found.files[:0:-1])
    assert await env.done() == ["0001_a"]
    assert await env.statuses() == [MigrationStatus.APPLIED, MigrationStatus.PENDING, MigrationStatus.PENDING]
    one, two, _ = await Ledger(env.db).read()
    assert (one.state, one.direction, one.checksum) == (RecordState.APPLIED, Direction.UP, found.files[0].checksum)
    assert (two.state, two.direction) == (RecordState.REVERTED, Direction.DOWN)
    assert one.took_ms is not None
    assert one.ended is not None
    assert one.by.fence < two.by.fence
    assert not has_exited(one.by)
    moves = [("0001_a", "up"), ("0002_b", "up"), ("0003_c", "up"), ("0003_c", "down"), ("0002_b", "down")]
    assert [(e.name, e.direction) for e in env.events if isinstance(e, MigrationApplied)] == moves
    audited = [(e.target.id, e.action, e.stage) for e in env.audit.all if e.target]
    assert audited == [(name, f"migration.{way}", stage) for name, way in moves for stage in ("begin", "end")]
    assert len({e.op for e in env.audit.all}) == 5


async def test_up_without_pending_takes_no_lease(env: Environment) -> None:
    found = env.write("0001_a")
    await env.migrator.up(found)
    async with env.leases.lease(LEASE):
        await another_process(env).migrator.up(found, options=RunOptions(wait_s=0))
    assert await env.done() == ["0001_a"]


async def test_only_one_of_many_processes_applies(env: Environment) -> None:
    """A second run of a migration would fail to insert."""
    found = env.write("0001_a", "0002_b", "0003_c")
    others = [another_process(env) for _ in range(4)]
    await asyncio.gather(*(other.migrator.up(found) for other in others))
    assert await env.done() == ["0001_a", "0002_b", "0003_c"]
    assert sorted(len(other.events) for other in others) == [0, 0, 0, 3]


@dataclass
class FakeLease:
    """A lease that a process believes to hold."""

    fence: int
    name: str = LEASE
    held: bool = True
    lost: asyncio.Event = field(default_factory=asyncio.Event)


def process_with_lease(env: Environment, lease: FakeLease) -> Environment:
    """Another process, which believes to hold ``lease``."""

    class Leases:
        @asynccontextmanager
        async def lease(self, *_: Any, **__: Any) -> AsyncIterator[FakeLease]:
            yield lease

    other = another_process(env)
    other.migrator = Migrator(other.migrator.context, Leases())
    return other


@pytest.mark.parametrize("before", ["never applied", "taken back"])
async def test_only_one_of_two_presumed_lease_holders_runs(
    env: Environment, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """Both have read that the migration is pending. The compare-and-swap of the ledger lets one start."""
    found, put, both = env.write("0001_a"), Ledger.put, asyncio.Barrier(2)
    if before == "taken back":
        await env.migrator.up(found)
        await env.migrator.down(found, found.files)

    async def at_once(self: Ledger, record: Record, *, previous: Record | None) -> None:
        await both.wait()
        await put(self, record, previous=previous)

    monkeypatch.setattr(Ledger, "put", at_once)
    two = [process_with_lease(env, FakeLease(fence)) for fence in (101, 102)]
    ends = await asyncio.gather(*(w.migrator.up(found) for w in two), return_exceptions=True)
    assert [type(end) for end in ends if end is not None] == [Held]
    assert await env.done() == ["0001_a"]
    assert sum(len(w.events) for w in two) == 1


async def test_second_process_raises_held_or_waits(env: Environment) -> None:
    found = env.write(m0001_wait=WAITS)
    first, second = asyncio.create_task(env.migrator.up(found)), another_process(env)
    await env.wait_until_started()
    with pytest.raises(Held, match="held by process"):
        await second.migrator.up(found, options=RunOptions(wait_s=0))
    waiting = asyncio.create_task(second.migrator.up(found))
    await env.db.done.insert_one({"_id": "finish"})
    await asyncio.gather(first, waiting)
    assert (len(env.events), second.events) == (1, [])


async def test_failure_is_recorded_and_stops_later_migrations(env: Environment) -> None:
    """The error has the file's own line. The next call needs a decision of the operator."""
    found = env.write("0001_a", "0003_c", m0002_b='async def up(db):\n    raise ValueError("no \\x1b such luck")\n')
    with pytest.raises(BotctlError, match=r"migrations/0002_b.py:2: ValueError: no \\x1b such luck"):
        await env.migrator.up(found)
    assert await env.done() == ["0001_a"]
    assert await env.statuses() == [MigrationStatus.APPLIED, MigrationStatus.FAILED, MigrationStatus.PENDING]
    assert isinstance(env.events[-1], MigrationFailed)
    assert (env.audit.all[-1].outcome, env.audit.all[-1].stage) == ("error", "end")
    with pytest.raises(NeedsDecision, match="such luck"):
        await env.migrator.up(found)
    await env.migrator.resolve(found, "0002", RecordState.APPLIED, reason="by hand")
    assert (env.audit.all[-1].action, env.audit.all[-1].reason) == ("migration.resolve", "by hand")
    await env.migrator.up(found)
    assert await env.done() == ["0001_a", "0003_c"]


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("SystemExit(0)", r"it called exit\(0\)"),
        ("KeyboardInterrupt", "it raised KeyboardInterrupt"),
        ("BaseException('odd')", "BaseException: odd"),
        ("__import__('asyncio').CancelledError", "it raised CancelledError"),
    ],
)
async def test_migration_that_raises_no_exception_has_failed(env: Environment, raised: str, told: str) -> None:
    found = env.write(m0001_a=f"async def up(db):\n    raise {raised}\n")
    with pytest.raises(BotctlError, match=told):
        await env.migrator.up(found)
    assert await env.statuses() == [MigrationStatus.FAILED]


async def test_interrupted_migration_runs_again_only_after_resolve(env: Environment) -> None:
    """The record is as kill -9 leaves it."""
    found = env.write("0001_a")
    async with env.leases.lease(LEASE) as lease:
        await Ledger(env.db).put(_running_record(found, lease.fence), previous=None)
    with pytest.raises(NeedsDecision, match="was interrupted"):
        await env.migrator.up(found)
    with pytest.raises(NeedsDecision):
        await env.migrator.wait_until_idle(found)
    assert await env.done() == []
    await env.migrator.resolve(found, "0001_a", RecordState.REVERTED, reason="nothing had happened")
    await env.migrator.up(found)
    assert await env.done() == ["0001_a"]


def _running_record(found: Migrations, fence: int) -> Record:
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
        by=ProcessIdentity("elsewhere", 1, "long ago", "0.1.0", fence),
        error=None,
    )


async def test_first_stop_waits_and_second_stop_interrupts(env: Environment) -> None:
    """No other migration starts after a stop. An interrupted one has failed."""
    found = env.write("0002_b", m0001_wait=WAITS)
    work = asyncio.create_task(env.migrator.up(found))
    await env.wait_until_started()
    work.cancel()
    await env.db.done.insert_one({"_id": "finish"})
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await env.statuses() == [MigrationStatus.APPLIED, MigrationStatus.PENDING]

    other = another_process(env)
    await env.db.drop_collection("done")
    other.write(m0002_b=WAITS)
    stopping = asyncio.Event()

    class StopListener(ProgressListener):
        def stopping_after(self, file: Migration) -> None:
            stopping.set()

    work = asyncio.create_task(other.migrator.up(other.found, options=RunOptions(listener=StopListener())))
    await other.wait_until_started()
    work.cancel()
    await stopping.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await other.statuses() == [MigrationStatus.APPLIED, MigrationStatus.FAILED]
    with pytest.raises(NeedsDecision, match="it was interrupted"):
        await other.migrator.up(other.found)


async def test_lost_lease_stops_migration_without_overwriting_successor(env: Environment) -> None:
    found = env.write(m0001_wait=WAITS)
    lease = FakeLease(1)
    work = asyncio.create_task(process_with_lease(env, lease).migrator.up(found))
    await env.wait_until_started()
    [record] = await Ledger(env.db).read()
    successor = replace(record, by=replace(record.by, fence=2))
    await Ledger(env.db).put(successor, previous=record)
    lease.lost.set()
    with pytest.raises(Held, match="The lease was lost"):
        await work
    assert await env.done() == ["entered"]
    assert await Ledger(env.db).read() == (successor,)


async def test_no_migration_starts_without_the_lease(env: Environment) -> None:
    """The lease may be lost between two migrations."""
    with pytest.raises(Held):
        await process_with_lease(env, FakeLease(1, held=False)).migrator.up(env.write("0001_a"))
    assert (await env.done(), await Ledger(env.db).read()) == ([], ())


async def test_write_of_the_end_is_retried(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    found = env.write("0001_a")
    finish, tries = Ledger.finish, []

    async def flaky(self: Ledger, record: Record) -> None:
        tries.append(record)
        if len(tries) == 1:
            raise Unreachable("away")
        await finish(self, record)

    monkeypatch.setattr(Ledger, "finish", flaky)
    monkeypatch.setattr("botctl.migrate.session._RETRY_S", 0)
    await env.migrator.up(found)
    assert len(tries) == 2
    assert await env.statuses() == [MigrationStatus.APPLIED]


async def test_record_of_other_version_is_an_integrity_error(env: Environment) -> None:
    await env.db[COLLECTION].insert_one({"_id": "0001_a", "n": 1, "state": "baselined"})
    with pytest.raises(IntegrityError, match="0001_a"):
        await Ledger(env.db).read()


async def test_status_sends_one_find_and_creates_nothing(mongo_url: str, env: Environment) -> None:
    found = env.write("0001_a", "0002_b")
    spy = _Spy()
    monitoring.register(spy)
    try:
        async with connect(mongo_url, timeout_s=LIMIT_S) as client:
            rows = await read_rows(found, Ledger(client[env.db.name]))
    finally:
        monitoring._LISTENERS.command_listeners.remove(spy)
    assert [row.status for row in rows] == [MigrationStatus.PENDING] * 2
    assert set(spy.commands) - {"endSessions"} == {"find"}
    assert COLLECTION not in await env.db.list_collection_names()


class _Spy(monitoring.CommandListener):
    def __init__(self) -> None:
        self.commands: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


async def _start(env: Environment, *, on_start: bool) -> None:
    async with migrated(env.migrator, env.found, apply=on_start):
        pass


async def test_run_refuses_pending_migrations_unless_allowed_to_apply(env: Environment) -> None:
    """Of several runs at once, one applies and the others wait."""
    env.write("0001_a", "0002_b")
    with pytest.raises(WorkPending, match="2 migrations are pending: 0001_a, 0002_b"):
        await _start(env, on_start=False)
    assert await env.done() == []
    await asyncio.gather(*(_start(another_process(env), on_start=True) for _ in range(3)))
    assert await env.done() == ["0001_a", "0002_b"]
    await _start(env, on_start=False)


async def test_run_waits_for_another_migrating_process(env: Environment) -> None:
    found = env.write(m0001_wait=WAITS)
    first = asyncio.create_task(env.migrator.up(found))
    await env.wait_until_started()
    started = asyncio.create_task(_start(another_process(env), on_start=False))
    await env.db.done.insert_one({"_id": "finish"})
    await asyncio.gather(first, started)


async def test_stopped_run_lets_its_migration_finish(env: Environment) -> None:
    """The registry cancels once, and a second time only after its limit."""
    found = env.write("0002_b", m0001_wait=WAITS)
    registry = Registry()
    registry.value(Migrator, env.migrator)
    registry.value(Migrations, found)
    registry.add(partial(migrated, apply=True), stop_s=60)

    async def run() -> None:
        async with registry.open():
            pytest.fail("it started")

    running = asyncio.create_task(run())
    await env.wait_until_started()
    running.cancel()
    await env.db.done.insert_one({"_id": "finish"})
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await env.statuses() == [MigrationStatus.APPLIED, MigrationStatus.PENDING]


async def test_shipped_migrations_apply_and_revert(env: Environment) -> None:
    """Indexes are created and dropped; a document without a revision gets one; a second run changes nothing."""
    found = discover(Path(__file__).parents[2] / "migrations")
    await env.db.botctl_guilds.insert_many([{"_id": "1", "locale": "de"}, {"_id": "2", "revision": 5}])
    await env.migrator.up(found)
    revisions = {d["_id"]: d["revision"] async for d in env.db.botctl_guilds.find()}
    assert revisions == {"1": 1, "2": 5}

    async def fields() -> set[tuple[str, ...]]:
        indexes = (await env.db.botctl_audit.index_information()).values()
        return {tuple(field for field, _ in index["key"]) for index in indexes}

    wanted = inspect.unwrap(load(found, found.files)["0002_audit_indexes"].up).__globals__["INDEXES"]
    assert await fields() - {("_id",)} == {tuple(field for field, _ in keys) for keys in wanted}
    await env.db.botctl_audit.insert_one({"_id": "e", "at": 1, "x": [{"actor": "9"}], "w": {"at": 1}})
    await env.migrator.down(found, [found.files[1]])
    assert await fields() == {("_id",)}
    await env.migrator.up(found)
