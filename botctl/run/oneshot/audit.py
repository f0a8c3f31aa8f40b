"""Services of `botctl audit`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from botctl.audit.log import AuditLog, Follower
from botctl.audit.query import Query
from botctl.core.clock import SystemClock
from botctl.core.config.loading import Loaded
from botctl.core.processes.runtime import Runtime
from botctl.run.oneshot.services import open_services
from botctl.run.providers import add_mongo
from botctl.stores.mongo import Database, running_mongo


@asynccontextmanager
async def open_audit_log(loaded: Loaded) -> AsyncIterator[AuditLog]:
    """The stored audit log, to read."""
    async with open_services(loaded, add_mongo) as running:
        yield AuditLog(running.get(Database))


def build_audit_follower(loaded: Loaded, query: Query, limit: int) -> Follower:
    """A follower of the audit log. It starts no store."""
    return Follower(partial(running_mongo, loaded.settings, Runtime(loaded.root)), query, limit, SystemClock())
