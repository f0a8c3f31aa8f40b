"""Which writes must be on the disk before they are acknowledged, as the server is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo import monitoring

from botctl.audit.writer import COLLECTION as AUDIT
from botctl.audit.writer import audit_writer
from botctl.auth.api_keys import api_keys
from botctl.auth.grants import COLLECTION as GRANTS
from botctl.auth.grants import role_grants
from botctl.auth.key_documents import COLLECTION as KEYS
from botctl.auth.signing import Signer
from botctl.core.clock import SystemClock
from botctl.core.config.settings import Settings
from botctl.core.contracts.access import Holder, HolderType
from botctl.core.contracts.bus import Bus
from botctl.core.processes.runtime import Runtime
from botctl.guilds.store import COLLECTION as GUILDS
from botctl.guilds.store import GuildSettingsCache
from botctl.jobs.builtin import BUILTIN_JOBS
from botctl.jobs.store import COLLECTION as JOBS
from botctl.jobs.store import MongoJobStore
from botctl.migrate.ledger import COLLECTION as LEDGER
from botctl.migrate.ledger import Ledger
from botctl.migrate.plan import Direction, ProcessIdentity, Record, RecordState
from botctl.stores.leases import COLLECTION as LEASES
from botctl.stores.leases import leases
from tests.support.stores import Database, new_database, tasks_for

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = Record(
    name="0001_a",
    n=1,
    checksum="",
    state=RecordState.RUNNING,
    direction=Direction.UP,
    started=NOW,
    ended=None,
    took_ms=None,
    by=ProcessIdentity("h", 1, "", "0.1.0", 1),
    error=None,
)


class Spy(monitoring.CommandListener):
    """The write concern of each write, by its collection."""

    def __init__(self) -> None:
        self.concerns: dict[str, list[dict[str, Any]]] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in ("insert", "update", "delete"):
            collection = event.command[event.command_name]
            self.concerns.setdefault(collection, []).append(event.command.get("writeConcern"))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


@pytest.fixture
async def watched(mongo_url: str) -> AsyncIterator[tuple[Database, Spy]]:
    spy = Spy()
    monitoring.register(spy)
    try:
        async with new_database(mongo_url) as database:
            yield database, spy
    finally:
        monitoring._LISTENERS.command_listeners.remove(spy)


async def test_records_that_must_last_are_journaled_others_are_not(watched: Any, tmp_path: Path) -> None:
    db, spy = watched
    clock, bus = SystemClock(), Bus()

    async def ignore(*_: object) -> None:
        pass

    cache: Any = SimpleNamespace(invalidate=ignore)
    async with tasks_for("x") as (tasks, _), audit_writer(db, Settings(), Runtime(tmp_path), tasks) as auditor:
        log: Any = None
        services: Any = {"database": db, "bus": bus, "auditor": auditor, "clock": clock, "signer": Signer(b"s" * 32)}
        async with api_keys(log=log, tasks=tasks, **services) as keys:
            await keys.create("a key")
        async with role_grants(settings=Settings(), **services) as grants:
            await grants.grant("viewer", Holder(HolderType.KEY, "a"), reason="a test")
        await GuildSettingsCache(db, cache, bus, auditor, clock).update("1", {"locale": "de"}, actor="cli")
    await Ledger(db).put(RECORD, previous=None)
    await MongoJobStore.of(db).get(next(iter(BUILTIN_JOBS)), NOW)
    async with leases(db) as taker, taker.lease("a"):
        await db.users.insert_one({"_id": "1"})
    journaled, plain = {"w": "majority", "j": True}, {"w": "majority"}
    assert spy.concerns.pop(LEASES)[-3:] == [plain, journaled, plain], "created, taken and released"
    assert spy.concerns.pop("users") == [plain]
    assert spy.concerns.keys() == {AUDIT, KEYS, GRANTS, GUILDS, LEDGER, JOBS}
    assert all(concern == journaled for concerns in spy.concerns.values() for concern in concerns)
