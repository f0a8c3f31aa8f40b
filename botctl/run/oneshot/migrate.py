"""What `botctl migrate` works with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from botctl.core.config.loading import Loaded
from botctl.migrate.ledger import Ledger
from botctl.migrate.runner import Migrator
from botctl.run.oneshot.services import opened
from botctl.run.providers import add_audit, add_migrator, add_mongo
from botctl.stores.mongo import Database


@asynccontextmanager
async def ledger(loaded: Loaded) -> AsyncIterator[Ledger]:
    """Which migrations were applied, to be read."""
    async with opened(loaded, add_mongo) as running:
        yield Ledger(running.get(Database))


@asynccontextmanager
async def migrator(loaded: Loaded) -> AsyncIterator[Migrator]:
    """What does migrations, one process at a time."""
    async with opened(loaded, add_mongo, add_audit, add_migrator) as running:
        yield running.get(Migrator)
