"""A document that botctl did not write: its readers show the others and name it, and what runs goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from botctl.audit.log import AuditLog, entry_of
from botctl.audit.query import Query
from botctl.audit.writer import COLLECTION as AUDIT
from botctl.auth import key_format
from botctl.auth.api_keys import MongoKeys
from botctl.auth.key_documents import COLLECTION as KEYS
from botctl.auth.signing import Signer
from botctl.cli.audit.view import LogView
from botctl.core.clock import SystemClock
from botctl.core.contracts.api_keys import KeyRefused
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.jobs import Jobs
from botctl.core.contracts.malformed import Malformed
from botctl.core.errors import IntegrityError
from botctl.guilds.store import COLLECTION as GUILDS
from botctl.guilds.store import decode, load
from botctl.jobs.scheduler import Scheduler
from botctl.jobs.store import COLLECTION as JOBS
from botctl.migrate.files import Migrations
from botctl.migrate.ledger import COLLECTION as LEDGER
from botctl.migrate.ledger import Ledger
from botctl.migrate.plan import Direction, ProcessIdentity, Record, RecordState
from botctl.migrate.runner import read_rows, read_rows_that_can_be
from tests.support.jobs import FakeAuditor, Rig, make_job
from tests.support.mongo_memory import MemoryDatabase
from tests.support.stores import tasks_for
from tests.support.waiting import until
from tests.unit.jobs.test_scheduler import FakeLeases

SIGNER = Signer(b"a secret of 32 characters or more")
GARBAGE: tuple[dict[str, Any], ...] = ({}, {"name": 5}, {"at": "soon", "x": "?", "w": [], "b": 7}, {"rev": 0, "n": 1})


async def insert_garbage(collection: Any) -> set[str]:
    """The ids of the inserted documents, as text."""
    documents = [{"_id": f"bad{n}"} | fields for n, fields in enumerate(GARBAGE)] + [{"_id": 7}]
    await collection.insert_many(documents)
    return {str(document["_id"]) for document in documents}


@pytest.fixture
def db() -> Any:
    return MemoryDatabase()


async def test_keys_are_listed_without_malformed_documents(db: Any) -> None:
    log: Any = None
    keys = MongoKeys(db[KEYS], log, Bus(), FakeAuditor(), SystemClock(), SIGNER)
    key, text = await keys.create("good")
    bad = await insert_garbage(db[KEYS])
    assert [listed.id for listed in await keys.list()] == [key.id]
    assert keys.malformed.faults.keys() == bad
    with pytest.raises(
        IntegrityError, match=r"5 documents of botctl_api_keys cannot be read: .*bad0 .it is not signed by this bot"
    ):
        keys.malformed.require_none()
    assert (await keys.active([key.id, "bad0", "bad1"])).keys() == {key.id}
    assert await keys.purge(ended_for=timedelta(0)) == 0
    assert (await keys.check(text)).id == key.id


@pytest.mark.parametrize(
    "change", [{"digest": None}, {"permissions": "*"}, {"created_ms": "now"}, {"revoked_ms": True}]
)
async def test_malformed_key_is_refused(db: Any, change: dict[str, Any]) -> None:
    log: Any = None
    keys = MongoKeys(db[KEYS], log, Bus(), FakeAuditor(), SystemClock(), SIGNER)
    key, text = await keys.create("good")
    await db[KEYS].update_one({"_id": key.id}, {"$set": change})
    with pytest.raises(KeyRefused):
        await keys.check(text)
    assert key_format.parse_id(text) == key.id


def test_malformed_document_is_logged_until_it_is_correct(caplog: Any) -> None:
    caplog.set_level("INFO")
    malformed, good, bad = Malformed("c"), {"_id": "a", "n": "1"}, {"_id": "a", "n": "x"}
    for document in (bad, bad, good, bad):
        malformed.read([document], lambda each: int(each["n"]))
        malformed.read([], int)
    assert caplog.text.count("the document a of c is left out") == 2


async def test_malformed_job_does_not_stop_the_others(db: Any) -> None:
    rig = Rig(db, clock=SystemClock())
    calls: list[str] = []

    async def work() -> None:
        calls.append("run")

    good, broken = make_job(work, "every 1w"), make_job(work, "every 1w", name="bad0")
    await rig.store.get(good, rig.clock.now() - timedelta(days=8))
    bad = await insert_garbage(db[JOBS])
    leases = FakeLeases()
    scheduler = Scheduler(Jobs([broken, good]), leases, rig.runner, 5.0)
    leases.allowed.set()
    async with tasks_for("jobs") as (tasks, watcher):
        tasks.spawn(scheduler.lead, name="lead")
        await until(lambda: rig.results == ["ok"])
        assert watcher.failures == []
    assert calls == ["run"]
    assert [record.name for record in await rig.store.all()] == [good.name]
    assert rig.store.malformed.faults.keys() == bad
    with pytest.raises(IntegrityError, match="A document of botctl_jobs cannot be read: bad0"):
        await rig.record(broken)
    await db[JOBS].delete_many({"_id": {"$in": [*bad, 7]}})
    await rig.store.all()
    assert rig.store.malformed.faults == {}


async def test_audit_log_shows_the_id_of_malformed_documents(db: Any, capsys: Any) -> None:
    bad = await insert_garbage(db[AUDIT])
    log = AuditLog(db)
    documents = await log.newest(Query(), 50)
    assert {entry_of(document)["id"] for document in documents} == bad
    LogView(as_json=False).print_entries(documents, 50)
    shown = capsys.readouterr().out
    assert all(f"the stored entry {name} cannot be read" in shown for name in bad)
    await db[AUDIT].insert_one({"_id": "late", "w": {"at": 10}, "x": []})
    assert [document["_id"] for document in await log.written_since(5)] == ["late"]


async def test_migration_status_leaves_out_malformed_records(db: Any, tmp_path: Any) -> None:
    """They are not shown as pending. What runs migrations refuses."""
    ledger, migrations = Ledger(db), Migrations(tmp_path, ())
    by = ProcessIdentity("h", 1, "", "0.1.0", 1)
    now = SystemClock().now()
    record = Record(
        name="0001_a",
        n=1,
        checksum="",
        state=RecordState.RUNNING,
        direction=Direction.UP,
        started=now,
        ended=None,
        took_ms=None,
        by=by,
        error=None,
    )
    await ledger.put(record, previous=None)
    bad = await insert_garbage(db[LEDGER])
    malformed = Malformed(LEDGER)
    rows = await read_rows_that_can_be(migrations, ledger, malformed)
    assert [row.name for row in rows] == ["0001_a"]
    assert malformed.faults.keys() == bad
    with pytest.raises(IntegrityError, match=r"A document of botctl_migrations cannot be read: .* is missing"):
        await read_rows(migrations, ledger)


@pytest.mark.parametrize("fields", [{"locale": 5}, {"disabled": "roll"}, {"disabled": 7}, {"revision": "many"}])
async def test_malformed_guild_settings_are_named(db: Any, fields: dict[str, Any]) -> None:
    await db[GUILDS].insert_one({"_id": "1", "revision": 1} | fields)
    with pytest.raises(IntegrityError, match=f"A document of botctl_guilds cannot be read: 1 .{next(iter(fields))} is"):
        await load(db, "1")
    with pytest.raises(ValueError, match="revision is 'x'"):
        decode(b'{"revision": "x"}')


def test_sentence_names_few_of_many_documents() -> None:
    malformed = Malformed("things")

    def refuse(_: object) -> None:
        raise ValueError

    assert malformed.read([{"_id": n} for n in range(7)], refuse) == []
    with pytest.raises(IntegrityError, match=r"7 documents of things .*; 4 \(ValueError\); and 2 more\.$"):
        malformed.require_none()
    assert malformed.read([{"_id": 1}], lambda document: document["_id"]) == [1]
    malformed.require_none()
