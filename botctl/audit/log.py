"""Reading the audit log: the newest entries, and those that come.

An entry may be written long after it happened: counted refusals a minute later, what was spooled at the next start. So
a follower does not go by the time of entries but by the time of writing (``w.at``), and looks back a little at each
turn (`LOOK_BACK_MS`): the clocks of writers differ, and a write takes its time. What it has shown it knows by id.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from botctl.audit.query import Query
from botctl.audit.writer import COLLECTION
from botctl.core.clock import Clock, unix_ms
from botctl.core.errors import Unreachable, store_hint, translated

POLL_S: Final = 0.5
LOOK_BACK_MS: Final = 10_000
_NEEDED: Final = {"id", "at", "action", "actor", "outcome"}
_reaching_mongo: Final = translated(
    PyMongoError, sentence="The audit log cannot be read: MongoDB fails ({error}).", hint=store_hint("MongoDB")
)

Document = dict[str, Any]
Database = AsyncDatabase[Document]
Entry = dict[str, Any]
"""An entry as its canonical line says it; see `botctl.core.contracts.audit_entry.AuditEntry`."""


@dataclass
class Tail:
    """What of the newest documents is new: pure, but for what it remembers.

    ``after_ms`` is the time of writing from which on documents are read. It never goes back, and never runs ahead of
    the reader's own clock, so that a writer whose clock is fast hides nobody.
    """

    after_ms: int
    _seen: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_now(cls, now: datetime) -> Self:
        """A tail that looks back from ``now``."""
        return cls(unix_ms(now) - LOOK_BACK_MS)

    def fresh(self, documents: Iterable[Document], now: datetime) -> list[Document]:
        """Those of ``documents`` that were not among earlier ones."""
        new = [document for document in documents if document["_id"] not in self._seen]
        self._seen |= {document["_id"]: document["w"]["at"] for document in new}
        latest_ms = min(max(self._seen.values(), default=0), unix_ms(now))
        self.after_ms = max(self.after_ms, latest_ms - LOOK_BACK_MS)
        self._seen = {key: at_ms for key, at_ms in self._seen.items() if at_ms >= self.after_ms}
        return new


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The log in ``database``, for readers."""

    database: Database

    async def newest(self, query: Query, limit: int) -> list[Document]:
        """The newest ``limit`` documents that ``query`` wants, the newest last.

        Raises:
            Unreachable: MongoDB does not answer.
        """
        cursor = self.database[COLLECTION].find(query.filter()).sort([("at", -1), ("_id", -1)]).limit(limit)
        with _reaching_mongo:
            return (await cursor.to_list())[::-1]

    async def written(self, after_ms: int) -> list[Document]:
        """What was written from ``after_ms`` on, in no order.

        Only the time of writing is asked for, which an index serves: what is wanted of it, `Query.matches` decides.

        Raises:
            Unreachable: MongoDB does not answer.
        """
        with _reaching_mongo:
            return await self.database[COLLECTION].find({"w.at": {"$gte": after_ms}}).to_list()


@dataclass(frozen=True, slots=True)
class EntryBatch:
    """What a follower gets at once. ``waiting_for``: why there is nothing at the moment; else empty."""

    documents: list[Document]
    waiting_for: str = ""


@dataclass(frozen=True, slots=True)
class Follower:
    """Follows the log. ``join`` opens the database that the bot uses, and raises Unreachable when there is none."""

    join: Callable[[], AbstractAsyncContextManager[Database]]
    query: Query
    limit: int
    clock: Clock

    async def turns(self, *, poll_s: float = POLL_S) -> AsyncGenerator[EntryBatch, None]:
        """The newest ``limit`` entries, even if there are none; then those that are written, for ever.

        No entry comes twice, and none is left out as long as the clocks of all hosts agree within `LOOK_BACK_MS`. The
        database may go away and come back meanwhile.
        """
        tail: Tail | None = None
        while True:
            try:
                async with self.join() as database:
                    log = AuditLog(database)
                    if tail is None:
                        first, tail = await self._begin(log)
                        yield EntryBatch(first)
                    while True:
                        fresh = tail.fresh(await log.written(tail.after_ms), self.clock.now())
                        if wanted := [document for document in fresh if any(map(self.query.matches, document["x"]))]:
                            yield EntryBatch(sorted(wanted, key=_order))
                        await asyncio.sleep(poll_s)
            except Unreachable as error:
                yield EntryBatch([], str(error))
            await asyncio.sleep(poll_s)

    async def _begin(self, log: AuditLog) -> tuple[list[Document], Tail]:
        """The newest that are wanted, and a tail that knows them, and all others that were there before."""
        tail = Tail.from_now(self.clock.now())
        tail.fresh(await log.written(tail.after_ms), self.clock.now())
        first = await log.newest(self.query, self.limit)
        tail.fresh(first, self.clock.now())
        return first, tail


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


def _order(document: Document) -> tuple[int, str]:
    return document["at"], document["_id"]
