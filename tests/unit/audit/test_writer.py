"""The audit writer while building indexes takes long or fails, and after an unexpected error."""

import asyncio
from datetime import UTC, datetime

import pytest
from pymongo import _csot
from pymongo.errors import OperationFailure

from botctl.audit.spool import Spool
from botctl.audit.writer import COLLECTION, INDEXES, MongoAuditor
from botctl.core.contracts.audit_entry import AuditEntry, Principal
from tests.support.mongo_memory import MemoryCollection, MemoryDatabase
from tests.support.stores import tasks_for
from tests.support.waiting import until

pytestmark = pytest.mark.looptime


def entry(n):
    return AuditEntry(id=f"e{n}", at=datetime(2026, 1, 1, tzinfo=UTC), action="x.done", actor=Principal("user", "9"))


@pytest.fixture
async def auditor(tmp_path):
    async with tasks_for("audit") as (tasks, watcher):
        auditor = MongoAuditor(MemoryDatabase()[COLLECTION], Spool(tmp_path), tasks, 1000, 0.001)
        async with auditor.running():
            yield auditor
        assert watcher.failures == []


async def record(auditor, n):
    auditor.record(entry(n))
    await until(lambda: auditor.counts.written == n)


async def test_entries_are_written_while_an_index_is_built(auditor):
    """However long that takes: the limit of the client does not count."""
    limits_s = []

    async def create_index(_):
        limits_s.append(_csot.get_timeout())
        await asyncio.Event().wait()

    auditor.collection.create_index = create_index
    await record(auditor, 1)
    await until(lambda: bool(limits_s))
    await record(auditor, 2)
    assert limits_s == [86_400]


@pytest.mark.parametrize("fails", ["create_index", "index_information"])
async def test_indexes_that_fail_are_created_later(auditor, fails, caplog):
    """The others are created at once. The log says so once."""
    original, failures = getattr(auditor.collection, fails), 2

    async def sometimes(*keys):
        nonlocal failures
        if failures and keys in ((), (INDEXES[1],)):
            failures -= 1
            raise OperationFailure("no space left")
        return await original(*keys)

    setattr(auditor.collection, fails, sometimes)
    information = MemoryCollection.index_information
    await record(auditor, 1)
    await asyncio.sleep(1)
    assert len(await information(auditor.collection)) == (len(INDEXES) if fails == "create_index" else 1)
    assert caplog.text.count("OperationFailure") == 1
    await asyncio.sleep(3600)  # of virtual time
    assert len(await information(auditor.collection)) == len(INDEXES) + 1
    assert caplog.text.count("OperationFailure") == 1


async def test_writer_goes_on_after_an_unexpected_error(auditor, caplog):
    original, failures = auditor.collection.insert_many, 2

    async def sometimes(*arguments, **options):
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise LookupError("a bug")
        return await original(*arguments, **options)

    auditor.collection.insert_many = sometimes
    await record(auditor, 1)
    assert auditor.tasks.restarts == 2
    assert "task writer ended: LookupError" in caplog.text
