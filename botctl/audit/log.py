"""Read the audit log: the newest entries, and new ones as they are written.

An entry may be written long after it happened: denials are counted for a minute first, and entries from a file (see
`spool`) are written at the next start. So a follower reads by the time of writing (``w.at`` in the document). On each
poll it looks back a little (`LOOK_BACK_MS`), since clocks differ and writes take time, and drops the ids that it knows.
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

from botctl.audit.query import Query
from botctl.audit.writer import COLLECTION
from botctl.core.clock import Clock, unix_ms
from botctl.core.contracts.malformed import FAULTS
from botctl.core.driver_errors.mongo import reaching_mongo
from botctl.core.errors import Unreachable
from botctl.core.escape import safe

POLL_S: Final = 0.5
LOOK_BACK_MS: Final = 10_000
_NEEDED: Final = {"id", "at", "action", "actor", "outcome"}
_reaching_mongo: Final = reaching_mongo("The audit log cannot be read: MongoDB fails ({error}).")

Document = dict[str, Any]
Database = AsyncDatabase[Document]
Entry = dict[str, Any]  # the parsed JSON of an `AuditEntry`


@dataclass
class Tail:
    """The position of a follower: it tells which documents are new. Does no I/O.

    ``after_ms``: the next read gets documents that were written from then on. It never passes the reader's clock, so a
    writer with a fast clock hides no other entries. It decreases only when the reader's clock was set back. The first
    read after that gets the entries from before it again: those with a later time are dropped, so only an entry with a
    time between these two reads can come twice.
    """

    after_ms: int
    _seen: dict[str, int] = field(default_factory=dict)
    _was_set_back: bool = False

    @classmethod
    def from_now(cls, now: datetime) -> Self:
        """A tail that looks back from ``now``."""
        return cls(unix_ms(now) - LOOK_BACK_MS)

    def select_new(self, documents: Iterable[Document], now: datetime) -> list[Document]:
        """Those of ``documents`` that were not in earlier calls."""
        new = [document for document in documents if document["_id"] not in self._seen]
        self._seen |= {document["_id"]: document["w"]["at"] for document in new}
        if self._was_set_back:  # those with a later time are from before that
            self._was_set_back = False
            return [document for document in new if document["w"]["at"] <= unix_ms(now)]
        if unix_ms(now) < self.after_ms:
            self.after_ms, self._was_set_back = unix_ms(now), True
            return new
        latest_ms = min(max(self._seen.values(), default=0), unix_ms(now))
        self.after_ms = max(self.after_ms, latest_ms - LOOK_BACK_MS)
        self._seen = {key: at_ms for key, at_ms in self._seen.items() if at_ms >= self.after_ms}
        return new


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The log in ``database``, for readers. The methods raise Unreachable when MongoDB does not answer."""

    database: Database

    async def newest(self, query: Query, limit: int) -> list[Document]:
        """The newest ``limit`` documents that match ``query``, in ascending order of time, then of id.

        The server sorts by time alone, which every index of the log ends with. It would sort by time and id in memory,
        and an index with the id is nothing for the embedded store. So all entries of the oldest millisecond are read.
        """
        collection, conditions = self.database[COLLECTION], query.filter()
        with _reaching_mongo:
            found = await collection.find(conditions).sort("at", -1).limit(limit).to_list()
            oldest = found[-1].get("at") if found else None
            if len(found) == limit and isinstance(oldest, int):
                found = [document for document in found if document.get("at") != oldest]
                found += await collection.find(conditions | {"at": oldest}).to_list()
        return sorted(map(_complete, found), key=_order)[-limit:]

    async def written_since(self, after_ms: int) -> list[Document]:
        """All documents written since ``after_ms``, in no order.

        The filter uses only the time of writing, which an index serves. `Query.matches` does the rest.
        """
        with _reaching_mongo:
            documents = await self.database[COLLECTION].find({"w.at": {"$gte": after_ms}}).to_list()
        return list(map(_complete, documents))


@dataclass(frozen=True, slots=True)
class EntryBatch:
    """What a follower gets in one read. ``waiting_for``: why the log cannot be read now; empty if it can."""

    documents: list[Document]
    waiting_for: str = ""


@dataclass(frozen=True, slots=True)
class Follower:
    """Follows the log. ``connect`` opens the bot's database, and raises Unreachable if there is none."""

    connect: Callable[[], AbstractAsyncContextManager[Database]]
    query: Query
    limit: int
    clock: Clock

    async def batches(self, *, poll_s: float = POLL_S) -> AsyncGenerator[EntryBatch, None]:
        """Yield the newest ``limit`` entries, even if there are none, then new ones for ever.

        No entry comes twice, and none is left out if the clocks of all hosts agree within `LOOK_BACK_MS`. While the
        database does not answer, it yields empty batches.
        """
        tail: Tail | None = None
        while True:
            try:
                async with self.connect() as database:
                    log = AuditLog(database)
                    if tail is None:
                        first, tail = await self._begin(log)
                        yield EntryBatch(first)
                    while True:
                        new = tail.select_new(await log.written_since(tail.after_ms), self.clock.now())
                        if matching := [document for document in new if any(map(self.query.matches, document["x"]))]:
                            yield EntryBatch(sorted(matching, key=_order))
                        _raise_if_cancelled()
                        await asyncio.sleep(poll_s)
            except Unreachable as error:
                yield EntryBatch([], str(error))
            _raise_if_cancelled()
            await asyncio.sleep(poll_s)

    async def _begin(self, log: AuditLog) -> tuple[list[Document], Tail]:
        """The newest matching documents, and a tail that knows all documents that are there now."""
        tail = Tail.from_now(self.clock.now())
        tail.select_new(await log.written_since(tail.after_ms), self.clock.now())
        first = await log.newest(self.query, self.limit)
        tail.select_new(first, self.clock.now())
        return first, tail


def _raise_if_cancelled() -> None:
    """End a task whose cancellation a driver has swallowed: it would poll for ever."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def entry_of(document: Document) -> Entry:
    """The entry in ``document``. If its JSON cannot be read: its search fields, and a field ``unreadable``."""
    try:
        entry = json.loads(document["b"])
    except FAULTS:
        entry = None
    if isinstance(entry, dict) and entry.keys() >= _NEEDED and isinstance(entry["actor"], dict):
        return entry
    fields = dict(document["x"][0])
    return fields | {"id": document["_id"], "actor": {"id": fields.get("actor", "")}, "unreadable": True}


def _complete(document: Document) -> Document:
    """``document`` with all fields that a reader needs. If it was not written by botctl, its entry is unreadable."""
    at_ms, written, fields = document.get("at"), document.get("w"), document.get("x")
    if (
        isinstance(document["_id"], str)
        and isinstance(at_ms, int)
        and isinstance(written, dict)
        and isinstance(written.get("at"), int)
        and isinstance(fields, list)
        and all(isinstance(each, dict) and isinstance(each.get("at"), str) for each in fields)
        and fields
    ):
        return document
    return {"_id": safe(document["_id"], 80), "at": 0, "w": {"at": 0}, "x": [{"at": "?", "action": "?"}]}


def _order(document: Document) -> tuple[int, str]:
    return document["at"], document["_id"]
