"""Services of `botctl migrate`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from botctl.core.config.loading import Loaded
from botctl.migrate.ledger import Ledger
from botctl.migrate.runner import Migrator
from botctl.run.oneshot.services import open_services
from botctl.run.providers import add_audit, add_migrator, add_mongo
from botctl.stores.mongo import Database


@asynccontextmanager
async def open_ledger(loaded: Loaded) -> AsyncIterator[Ledger]:
    """The ledger: the record of the applied migrations."""
    async with open_services(loaded, add_mongo) as running:
        yield Ledger(running.get(Database))


@asynccontextmanager
async def open_migrator(loaded: Loaded) -> AsyncIterator[Migrator]:
    """The migrator. Only one process at a time can apply migrations."""
    async with open_services(loaded, add_mongo, add_audit, add_migrator) as running:
        yield running.get(Migrator)
