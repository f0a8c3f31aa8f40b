"""Reading the audit log: the newest entries, and those that come.

An entry may be written long after it happened: counted refusals a minute later, what was spooled at the next start. So
a follower does not go by the time of entries but by the time of writing (``w.at``), and looks back a little at each
turn (`LOOK_BACK_S`): the clocks of writers differ, and a write takes its time. What it has shown it knows by id.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from botctl.audit.query import Query
from botctl.audit.writer import COLLECTION
from botctl.core.clock import Clock, iso_ms
from botctl.core.errors import Unreachable

POLL_S: Final = 0.5
LOOK_BACK_S: Final = 10.0
_NEEDED: Final = {"id", "at", "action", "actor", "outcome"}

Document = Mapping[str, Any]
Entry = dict[str, Any]
"""An entry as its canonical line says it; see `botctl.core.audit.AuditEntry`."""


@dataclass
class Tail:
    """What of the newest documents is new: pure, but for what it remembers.

    ``after`` is the time of writing from which on documents are read. It never goes back, and never runs ahead of the
    reader's own clock, so that a writer whose clock is fast hides nobody.
    """

    after: str
    _seen: dict[str, str] = field(default_factory=dict)

    def fresh(self, documents: Iterable[Document], now: datetime) -> list[Document]:
        """Those of ``documents`` that were not among earlier ones."""
        new = [document for document in documents if document["_id"] not in self._seen]
        self._seen |= {document["_id"]: document.get("w", {}).get("at", "") for document in new}
        latest = min(max(self._seen.values(), default=""), iso_ms(now))
        if latest:
            looked_back = datetime.fromisoformat(latest) - timedelta(seconds=LOOK_BACK_S)
            self.after = max(self.after, iso_ms(looked_back))
        self._seen = {key: at for key, at in self._seen.items() if at >= self.after}
        return new


@dataclass(frozen=True)
class AuditLog:
    """The log, for readers."""

    collection: AsyncCollection[dict[str, Any]]
    clock: Clock

    async def newest(self, query: Query, limit: int) -> list[Entry]:
        """The newest ``limit`` entries that ``query`` wants, the newest last.

        Raises:
            Unreachable: MongoDB does not answer.
        """
        return [entry_of(document) for document in await self._newest(query, limit)]

    async def follow(self, query: Query, limit: int, *, poll_s: float = POLL_S) -> AsyncIterator[list[Entry]]:
        """The newest ``limit`` entries, even if there are none; then those that are written, for ever, some at a time.

        No entry comes twice, and none is left out as long as the clocks of all hosts agree within `LOOK_BACK_S`.

        Raises:
            Unreachable: MongoDB does not answer.
        """
        tail = Tail(iso_ms(self.clock.now() - timedelta(seconds=LOOK_BACK_S)))
        tail.fresh(await self._written(tail.after), self.clock.now())
        first = await self._newest(query, limit)
        tail.fresh(first, self.clock.now())
        yield [entry_of(document) for document in first]
        while True:
            await asyncio.sleep(poll_s)
            fresh = tail.fresh(await self._written(tail.after), self.clock.now())
            if wanted := [document for document in fresh if any(map(query.matches, document["x"]))]:
                yield [entry_of(document) for document in sorted(wanted, key=_order)]

    async def _newest(self, query: Query, limit: int) -> list[dict[str, Any]]:
        cursor = self.collection.find(query.filter()).sort([("x.at", -1), ("_id", -1)]).limit(limit)
        return (await _answer(cursor.to_list()))[::-1]

    async def _written(self, after: str) -> list[dict[str, Any]]:
        # Only by the time of writing, which an index serves; what is wanted of them is decided here.
        return await _answer(self.collection.find({"w.at": {"$gte": after}}).to_list())


@asynccontextmanager
async def audit_log(database: AsyncDatabase[dict[str, Any]], clock: Clock) -> AsyncIterator[AuditLog]:
    """Factory of the service."""
    yield AuditLog(database[COLLECTION], clock)


def entry_of(document: Document) -> Entry:
    """The entry in ``document``. Where its line cannot be read, what its index says, and ``unreadable``."""
    try:
        entry = json.loads(document["b"])
    except (ValueError, KeyError):
        entry = None
    if isinstance(entry, dict) and entry.keys() >= _NEEDED and isinstance(entry["actor"], dict):
        return entry
    fields = dict(document["x"][0])
    return fields | {"id": document["_id"], "actor": {"id": fields.get("actor", "")}, "unreadable": True}


def _order(document: Document) -> tuple[str, str]:
    return document["x"][0]["at"], document["_id"]


async def _answer(work: Awaitable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    try:
        return await work
    except PyMongoError as error:
        raise Unreachable(
            f"The audit log cannot be read: MongoDB fails ({type(error).__name__}).",
            hint="Look whether MongoDB runs (botctl stores), then try again.",
        ) from error
