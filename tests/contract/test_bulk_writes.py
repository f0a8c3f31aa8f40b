"""Writes of many documents on the embedded store: leases are renewed, and other calls are answered in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pymongo
import pytest

from botctl.core.clock import SystemClock
from botctl.core.contracts.bus import Bus
from botctl.migrate.files import discover
from botctl.migrate.ledger import Ledger
from botctl.migrate.runner import Migrator
from botctl.migrate.session import MigrationContext
from botctl.stores.leases import COLLECTION, database_of_leases, leases, renew
from tests.support.job_process import NullAuditor
from tests.support.stores import Database, new_database

MIGRATION = """
async def up(db):
    await db.users.insert_many([{"n": n, "name": f"user {n}"} for n in range(50_000)])
    await db.users.update_many({}, {"$set": {"level": 1}})
"""


@pytest.fixture
async def db(mongo_server: str) -> AsyncIterator[Database]:
    """A database of the embedded store only."""
    async with new_database(mongo_server) as database:
        yield database
        await database.client.drop_database(database_of_leases(database).name)


async def test_lease_is_renewed_while_one_command_writes_much(db: Database) -> None:
    """While it does, more commands wait for the bot's database than asyncio has threads by default."""
    await db.users.insert_many([{"n": n} for n in range(5_000)])
    async with leases(db) as taker, taker.lease("a", ttl_s=300) as lease:
        with pymongo.timeout(300):
            await asyncio.gather(*(db.users.find_one() for _ in range(40)))  # opens connections
            writing = asyncio.create_task(db.users.update_many({}, {"$set": {"level": 1}}))
            waiting = [asyncio.create_task(db.users.find_one()) for _ in range(40)]
            renewals = 0
            while not writing.done():
                assert await renew(database_of_leases(db)[COLLECTION], "a", lease.fence)
                renewals += not writing.done()
            await asyncio.gather(writing, *waiting)
    assert renewals >= 3


async def test_other_calls_are_answered_between_batches_of_an_insert(db: Database) -> None:
    await db.other.insert_one({"_id": "1"})
    with pymongo.timeout(300):
        inserting = asyncio.create_task(db.users.insert_many([{"n": n} for n in range(5_000)]))
        answers = 0
        while not inserting.done():
            await db.other.update_one({"_id": "1"}, {"$inc": {"n": 1}})
            answers += not inserting.done()
    assert answers >= 3
    assert await db.users.count_documents({}) == 5_000


@pytest.mark.soak
async def test_migration_of_many_documents_keeps_its_lease(db: Database, tmp_path: Path) -> None:
    (tmp_path / "0001_users.py").write_text(MIGRATION)
    context = MigrationContext(Ledger(db), NullAuditor(), Bus(), SystemClock(), 5.0)
    async with leases(db) as taker:
        await Migrator(context, taker).up(discover(tmp_path))
    assert await db.users.count_documents({"level": 1}) == 50_000
