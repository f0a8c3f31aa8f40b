"""Pages of the audit log, from the newest entry backwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from botctl.audit.log import AuditLog, Database, Document, entry_of
from botctl.audit.query import Query
from botctl.core.clock import from_unix_ms
from botctl.core.contracts.audit_entry import AuditOutcome
from botctl.core.contracts.audit_log import AuditPage, AuditReader
from botctl.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class AuditPages:
    """`AuditReader` of the entries in ``log``. A cursor is the time in milliseconds, a dot, and the id of an entry."""

    log: AuditLog

    async def page(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        guild: str | None = None,
        outcome: AuditOutcome | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> AuditPage:
        cursor = None if before is None else _parse_cursor(before)
        if cursor is not None:
            end = from_unix_ms(cursor[0]) + timedelta(milliseconds=1)
            until = end if until is None else min(end, until)
        query = Query(actor=actor, action=action, guild=guild, outcome=outcome, since=since, until=until)
        found = await self._older_than(query, cursor, limit + 1)
        shown = found[:limit]
        following = f"{shown[-1]['at']}.{shown[-1]['_id']}" if len(found) > limit else None
        return AuditPage([entry_of(document) for document in shown], following)

    async def _older_than(self, query: Query, cursor: tuple[int, str] | None, count: int) -> list[Document]:
        """The newest ``count`` documents before ``cursor``, the newest first.

        Entries of the cursor's own millisecond are read again, so more are asked for until enough are left.
        """
        wanted = count
        while True:
            documents = await self.log.newest(query, wanted)
            found = [each for each in reversed(documents) if cursor is None or (each["at"], each["_id"]) < cursor]
            if len(found) >= count or len(documents) < wanted:
                return found[:count]
            wanted *= 2


def _parse_cursor(text: str) -> tuple[int, str]:
    at_ms, dot, entry_id = text.partition(".")
    if not (dot and at_ms.isascii() and at_ms.isdecimal() and len(at_ms) <= len("9999999999999")):
        raise UsageError("before is not the next of a page.", hint="Leave it out to read from the newest entry on.")
    return int(at_ms), entry_id


@asynccontextmanager
async def audit_reader(*, database: Database) -> AsyncIterator[AuditReader]:
    """Factory of the service."""
    yield AuditPages(AuditLog(database))
