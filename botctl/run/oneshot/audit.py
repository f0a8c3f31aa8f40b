"""What `botctl audit` works with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from botctl.audit.log import AuditLog, Follower
from botctl.audit.query import Query
from botctl.core.clock import SystemClock
from botctl.core.config.loading import Loaded
from botctl.core.processes.runtime import Runtime
from botctl.run.oneshot.services import opened
from botctl.run.providers import add_mongo
from botctl.stores.mongo import Database, running_mongo


@asynccontextmanager
async def audit_log(loaded: Loaded) -> AsyncIterator[AuditLog]:
    """The audit log, to be read."""
    async with opened(loaded, add_mongo) as running:
        yield AuditLog(running.get(Database))


def audit_follower(loaded: Loaded, query: Query, limit: int) -> Follower:
    """What follows the audit log of the bot from outside. It starts nothing."""
    return Follower(partial(running_mongo, loaded.settings, Runtime(loaded.root)), query, limit, SystemClock())
