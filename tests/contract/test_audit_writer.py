"""The audit writer on a real document store: recorded entries are found, whatever happens to the store."""

import asyncio
import itertools
import json
import logging
import signal
from contextlib import asynccontextmanager

import pytest

from botctl.audit.spool import Spool
from botctl.audit.writer import COLLECTION, INDEXES, MAX_BATCH, MongoAuditor
from botctl.core.contracts.audit_entry import AuditEntry, Change, Principal, Target, encode_line, entry_for
from botctl.core.contracts.invocation import Actor, Invocation, Kind, Outcome, Result
from botctl.stores import embedded_mongo
from botctl.stores.mongo import connect
from tests.support.clock import ManualClock
from tests.support.stores import server, tasks_for
from tests.support.waiting import LIMIT_S, expires, until

_numbers = itertools.count()
CLOCK = ManualClock()


@pytest.fixture
def own_mongo(tmp_path):
    """A server of the test's own, to be killed."""
    (tmp_path / "server").mkdir()
    with server(embedded_mongo.PART, tmp_path / "server") as running:
        yield running


@pytest.fixture
def name():
    return f"audit{next(_numbers)}"


def entry(n, **fields):
    fields = {"id": f"e{n:06}", "at": CLOCK.now(), "action": "test.done", "actor": Principal("user", "9")} | fields
    return AuditEntry(**fields)


@asynccontextmanager
async def auditor_on(url, name, folder, *, queue_size=10_000, flush_s=0.001, timeout_s=LIMIT_S, clock=CLOCK):
    async with connect(url, timeout_s=timeout_s) as client, tasks_for("audit") as (tasks, _):
        collection = client[name][COLLECTION]
        yield MongoAuditor(collection, Spool(folder / "spool"), tasks, queue_size, flush_s, clock)


@asynccontextmanager
async def running_auditor(*args, **options):
    async with auditor_on(*args, **options) as auditor, auditor.running():
        yield auditor


async def read_all(url, name):
    """Every entry of the log, by id."""
    async with connect(url, timeout_s=LIMIT_S) as client:
        documents = await client[name][COLLECTION].find().to_list()
    assert all(json.loads(document["b"])["id"] == document["_id"] for document in documents)
    return {document["_id"]: document for document in documents}


async def test_entry_is_stored_as_exact_bytes_with_search_fields(mongo_server, name, tmp_path):
    one = entry(1, target=Target("guild", "7"), guild="7", op="o", changes=(Change("locale", None, "de"),))
    async with running_auditor(mongo_server, name, tmp_path) as auditor:
        auditor.record(one)
        await until(lambda: auditor.counts.written == 1)
        assert auditor.waiting == 0
    document = (await read_all(mongo_server, name))[one.id]
    assert document["b"] == encode_line(one)
    assert document["x"] == [
        {
            "at": "2026-01-01T00:00:00.000Z", "action": "test.done", "actor": "9", "target": "7", "guild": "7",
            "outcome": "success", "op": "o",
        }
    ]  # fmt: skip
    search = {"actor": "9", "at": {"$gte": "2026"}}
    async with connect(mongo_server, timeout_s=LIMIT_S) as client:
        assert await client[name][COLLECTION].count_documents({"x": {"$elemMatch": search}}) == 1


async def test_entry_recorded_twice_is_one_document(mongo_server, name, tmp_path):
    async with running_auditor(mongo_server, name, tmp_path) as auditor:
        auditor.record(entry(1))
        await until(lambda: auditor.counts.written == 1)
        for n in (0, 1, 1, 2):
            auditor.record(entry(n))
        await until(lambda: auditor.waiting == 0)
    assert set(await read_all(mongo_server, name)) == {entry(n).id for n in range(3)}


async def test_stop_writes_the_rest(mongo_server, name, tmp_path):
    """Also more than a batch, and denials whose minute is not over."""
    invocation = Invocation("i1", Kind.SLASH, "roll", Actor("9", "ann"), CLOCK.now(), 0.0)
    async with running_auditor(mongo_server, name, tmp_path, flush_s=60) as auditor:
        for n in range(MAX_BATCH + 10):
            auditor.record(entry(n))
        for _ in range(50):
            auditor.record(entry_for(invocation, Outcome(Result.THROTTLED, 1.0, reason="5/10s per user")))
    documents = await read_all(mongo_server, name)
    assert len(documents) == auditor.counts.written == MAX_BATCH + 11
    assert json.loads(documents["i1.end"]["b"])["changes"] == [{"k": "times", "new": 50, "old": None}]


async def test_denials_are_written_after_their_minute(mongo_server, name, tmp_path):
    clock = ManualClock()
    invocation = Invocation("i1", Kind.SLASH, "roll", Actor("9", "ann"), clock.now(), 0.0)
    async with running_auditor(mongo_server, name, tmp_path, clock=clock) as auditor:
        for n in range(20):
            auditor.record(entry_for(invocation, Outcome(Result.DENIED, 1.0, reason="needs role moderator")))
            auditor.record(entry(n))
        await until(lambda: auditor.counts.written == 20)
        assert len(await read_all(mongo_server, name)) == 20
        clock.advance(61)
        auditor.record(entry(20))
        await until(lambda: auditor.counts.written == 22)


async def test_no_entry_is_lost_when_store_is_killed(own_mongo, name, tmp_path):
    """The ids that were recorded are compared with the store after each kill."""
    ledger = set()
    numbers = itertools.count()

    def record(auditor, count):
        for n in itertools.islice(numbers, count):
            auditor.record(entry(n))
            ledger.add(entry(n).id)

    async with running_auditor(own_mongo.url, name, tmp_path, timeout_s=expires(0.3)) as auditor:
        for _ in range(2):
            record(auditor, 50)
            own_mongo.kill()
            record(auditor, 50)
            await until(lambda: auditor.tasks.detail.startswith("audit entries wait in memory"))
            own_mongo.start()
            await until(lambda: auditor.waiting == 0 and not auditor.tasks.detail)
        assert auditor.counts.lost == 0
    assert set(await read_all(own_mongo.url, name)) == ledger


async def test_unwritten_entries_are_spooled_and_written_at_next_start(own_mongo, name, tmp_path):
    async with running_auditor(own_mongo.url, name, tmp_path, timeout_s=expires(0.2)) as auditor:
        auditor.record(entry(0))
        await until(lambda: auditor.counts.written == 1)
        own_mongo.kill()
        for n in range(1, 30):
            auditor.record(entry(n))
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 60
    assert auditor.counts.spooled == 29
    assert len(Spool(tmp_path / "spool").files()) == 1
    own_mongo.start()
    async with running_auditor(own_mongo.url, name, tmp_path):
        await until(lambda: not Spool(tmp_path / "spool").files())
    assert set(await read_all(own_mongo.url, name)) == {entry(n).id for n in range(30)}


async def test_unreadable_spool_file_does_not_stop_the_writer(mongo_server, name, tmp_path, caplog):
    """The file is reported once and kept. Other spooled and new entries are written."""
    spool = Spool(tmp_path / "spool")
    readable = spool.write([encode_line(entry(1))])
    stuck = readable.with_name("audit-0.jsonl")
    stuck.mkdir()
    async with running_auditor(mongo_server, name, tmp_path) as auditor:
        for n in (2, 3):
            auditor.record(entry(n))
            await until(lambda: auditor.counts.written == n - 1)  # noqa: B023
    assert set(await read_all(mongo_server, name)) == {entry(n).id for n in (1, 2, 3)}
    assert spool.files() == [stuck]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert str(stuck) in warning


async def test_spool_failure_is_reported_as_such(mongo_server, name, tmp_path, caplog):
    class Broken(Spool):
        def files(self):
            raise PermissionError("the folder")

    async with auditor_on(mongo_server, name, tmp_path) as auditor:
        auditor.spool = Broken(tmp_path)
        async with auditor.running():
            await until(lambda: "wait in memory" in caplog.text)
    assert "the spool failed (PermissionError)" in caplog.text


async def test_cancelled_stop_spools_entries(own_mongo, name, tmp_path):
    """The registry cancels a service that does not stop in time, here because the store is frozen."""

    async def service():
        async with auditor.running():
            auditor.record(entry(0))
            await until(lambda: auditor.counts.written == 1)
            own_mongo.process.send_signal(signal.SIGSTOP)
            auditor.record(entry(1))
            await asyncio.Event().wait()

    async with auditor_on(own_mongo.url, name, tmp_path) as auditor:
        task = asyncio.create_task(service())
        await until(lambda: auditor.counts.recorded == 2)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        own_mongo.process.send_signal(signal.SIGCONT)  # so that the client can disconnect
    assert task.cancelled()
    (path,) = Spool(tmp_path / "spool").files()
    assert list(Spool.lines(path)) == [encode_line(entry(1))]


async def test_entries_beyond_queue_size_are_counted(own_mongo, name, tmp_path):
    async with running_auditor(own_mongo.url, name, tmp_path, queue_size=10, timeout_s=expires(0.2)) as auditor:
        own_mongo.kill()
        for n in range(25):
            auditor.record(entry(n))
        assert (auditor.waiting, auditor.counts.lost) == (10, 15)
        own_mongo.start()
        await until(lambda: auditor.counts.written == 11)
    documents = await read_all(own_mongo.url, name)
    (lost,) = [json.loads(d["b"]) for d in documents.values() if d["x"][0]["action"] == "audit.lost"]
    assert lost["changes"] == [{"k": "entries", "new": 15, "old": None}]
    assert len(documents) == 11


async def test_entry_that_cannot_be_encoded_does_not_stop_others(mongo_server, name, tmp_path, caplog):
    class Hostile:
        def __str__(self):
            raise ValueError("no")

    async with running_auditor(mongo_server, name, tmp_path) as auditor:
        auditor.record(entry(1, changes=(Change("x", None, Hostile()),)))
        auditor.record(entry(2))
        await until(lambda: auditor.waiting == 0 and auditor.counts.written == 1)
    assert set(await read_all(mongo_server, name)) == {entry(2).id}
    assert auditor.counts.lost == 1
    assert "test.done" in caplog.text


async def test_spool_file_with_bad_line_is_quarantined(mongo_server, name, tmp_path):
    spool = Spool(tmp_path / "spool")
    spool.write([encode_line(entry(1)), b"{not json"])
    async with running_auditor(mongo_server, name, tmp_path) as auditor:
        auditor.record(entry(2))
        await until(lambda: auditor.counts.written == 1)
    assert spool.files() == []
    assert len(list((tmp_path / "spool").glob("*.bad"))) == 1


async def test_writer_creates_the_missing_indexes(mongo_db, tmp_path):
    """Also in a database that has entries, and some of the indexes, from a migration."""

    async def fields():
        return {tuple(field for field, _ in index["key"]) for index in (await audit.index_information()).values()}

    audit = mongo_db[COLLECTION]
    await audit.create_index([("at", 1)])
    await audit.insert_one({"_id": "old", "at": 1, "x": [{"actor": "9"}], "w": {"at": 1}})
    wanted = {("_id",), *(tuple(field for field, _ in keys) for keys in INDEXES)}
    async with tasks_for("audit") as (tasks, _):
        auditor = MongoAuditor(audit, Spool(tmp_path), tasks, 1000, 0.001)
        async with auditor.running():
            auditor.record(entry(0))

            async def indexed():
                return await fields() == wanted

            await until(indexed)
    assert len(await audit.index_information()) == len(wanted)


@pytest.mark.parametrize("fields", [{}, {"b": "text"}, {"b": 7}], ids=str)
async def test_document_without_bytes_is_another_entry(mongo_db, tmp_path, fields):
    """For instance one that was written by hand."""
    audit = mongo_db[COLLECTION]
    await audit.insert_one({"_id": entry(1).id, **fields})
    async with tasks_for("audit") as (tasks, watcher):
        auditor = MongoAuditor(audit, Spool(tmp_path), tasks, 1000, 0.001, CLOCK)
        async with auditor.running():
            auditor.record(entry(1))
            auditor.record(entry(2))
            await until(lambda: auditor.counts.written == 2)
    ids = sorted([document["_id"] async for document in audit.find({"x": {"$exists": True}})])
    assert [ids[0].startswith(f"{entry(1).id}."), ids[1:]] == [True, [entry(2).id]]
    assert (watcher.failures, tasks.restarts) == ([], 0)


async def test_two_runs_of_one_interaction_are_two_entries(mongo_server, name, tmp_path, caplog):
    """The entries of an interaction that was handled twice; writing one of them again changes nothing."""
    invocation = Invocation("i1", Kind.SLASH, "roll", Actor("9", "ann"), CLOCK.now(), 0.0)
    runs = [
        entry_for(invocation, Outcome(Result.OK, 1.0)),
        entry_for(invocation, Outcome(Result.FAILED, 2.0, reason="x")),
    ]
    async with running_auditor(mongo_server, name, tmp_path) as auditor:
        for run in (*runs, *runs):
            auditor.record(run)
            await until(lambda: auditor.waiting == 0)
    documents = (await read_all(mongo_server, name)).values()
    lines = sorted((json.loads(document["b"]) for document in documents), key=lambda line: line["ms"])
    assert [(line["op"], line.get("reason")) for line in lines] == [("i1", None), ("i1", "x; done more than once")]
    assert lines[1]["id"].startswith("i1.end.")
    assert auditor.counts.repeated == 2
    assert "i1.end has two entries" in caplog.text
