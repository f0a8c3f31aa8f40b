"""Write the audit log to MongoDB, in batches, shortly after entries were recorded.

Collection ``botctl_audit``, one document per entry, never changed::

    _id   the entry's id; a second write of an entry is the same document, another entry of that id gets its own
    b     Binary: the entry as one line of JSON, always the same bytes, so that it can be hashed
    x     [{at, action, actor, name, target, guild, outcome, op}]: search fields, taken from b; op: the id of the action
    at    when it happened, in milliseconds since 1970: to filter and sort by
    w     {at}: when it was written, in the same unit; followers use it

Times are integers, since the embedded store compares date texts by the second and cannot sort by list elements. ``x``
is a list, so that a later version can store several entries in one document.

A task of its own creates what is missing of `INDEXES` after the first batch: neither short verbs nor entries wait.

`record` only appends to a queue. While MongoDB does not answer, entries wait in memory. Entries beyond the queue's size
are counted, and the count becomes an entry ``audit.lost``. What is left at the stop goes to a file, see `spool`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pymongo
from bson.binary import Binary
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, PyMongoError

from botctl.audit.denials import DenialAggregator
from botctl.audit.spool import Spool
from botctl.core.clock import Clock, SystemClock, unix_ms
from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import (
    AuditEntry,
    AuditOutcome,
    Change,
    Principal,
    encode_line,
    make_entry,
    repeated_line,
)
from botctl.core.contracts.protocols import Auditor
from botctl.core.driver_errors.mongo import describe
from botctl.core.errors import ANYTHING, type_name
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.processes.runtime import Runtime
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.telemetry.metrics import Metrics
from botctl.stores.journal import journaled

COLLECTION: Final = "botctl_audit"
MAX_BATCH: Final = 200
_AT: Final = ("at", -1)
INDEXES: Final = (
    [_AT],
    [("x.actor", 1), _AT],
    [("x.name", 1), _AT],  # an actor may be named instead
    [("x.action", 1), _AT],
    [("x.guild", 1), _AT],
    [("w.at", 1)],  # followers
)
"""The indexes of the collection. Each query of `log` can get its order from one, without a sort in memory.

A query whose conditions have no index of their own (the outcome, a pattern such as ``command.*``) reads that of ``at``
backwards, with the entries, until it has found enough: all of them if few match.
"""
_INDEX_LIMIT_S: Final = 24 * 3600.0  # for one index: in a long log it may take hours
_INDEX_RETRIES_S: Final = (60.0, 600.0, 3600.0)
LAST_TRY_S: Final = 3.0  # for the last write when the process stops; the rest is spooled
_DUPLICATE_KEY: Final = 11000  # MongoDB: error code DuplicateKey
_PAUSES: Final = Backoff(first_s=0.1, limit_s=5.0)

_log = logging.getLogger(__name__)
Document = dict[str, Any]


@dataclass(slots=True)
class WriterCounts:
    """Entries so far. ``lost``: the queue was full. ``spooled``: written to a file for the next start.

    ``repeated``: of what had an entry already, for instance of an interaction that two processes handled.
    """

    recorded: int = 0
    written: int = 0
    lost: int = 0
    spooled: int = 0
    repeated: int = 0


@dataclass(eq=False)
class MongoAuditor:
    """Writes the entries that `record` gets. ``flush_s``: how long a batch is collected. ``queue_size``: its limit."""

    collection: AsyncCollection[Document]
    spool: Spool
    tasks: Tasks
    queue_size: int
    flush_s: float
    clock: Clock = field(default_factory=SystemClock)
    counts: WriterCounts = field(default_factory=WriterCounts, init=False)

    def __post_init__(self) -> None:
        self._waiting: deque[AuditEntry] = deque()
        self._denials = DenialAggregator()
        self._wake = asyncio.Event()
        self._unreported = 0
        self._has_written = asyncio.Event()
        self._index_faults = ""
        self._postponed: set[Path] = set()  # spool files that this process may not read or remove
        self._outage = Outage(self.tasks, _log, _PAUSES)

    def record(self, entry: AuditEntry) -> None:
        """Queue ``entry``, or count it if it is a denial. Never waits and never raises."""
        self.counts.recorded += 1
        if DenialAggregator.counts(entry):
            self._denials.add(entry)
        elif len(self._waiting) < self.queue_size:
            self._waiting.append(entry)
        else:
            self.counts.lost += 1
            self._unreported += 1
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Entries that are not written yet."""
        return len(self._waiting)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[MongoAuditor]:
        """Write while the block runs; then write the rest, to a file if MongoDB does not answer."""
        self.tasks.spawn(self._write, name="writer", restart=Backoff())
        self.tasks.spawn(self._keep_indexes, name="indexes", restart=Backoff())
        try:
            yield self
        finally:
            try:
                await self.tasks.cancel()
                await self._last_try()
            finally:  # also when the stop is cancelled
                self._spool_rest()

    async def _write(self) -> None:
        while True:
            try:
                await self._write_once()
            except (PyMongoError, OSError) as error:  # OSError: the spool folder
                what = f"MongoDB failed ({describe(error)})"
                if isinstance(error, OSError):
                    what = f"the spool failed ({error.strerror or type_name(error)})"
                await self._outage.begin_and_pause(f"audit entries wait in memory: {what}", error)
            else:
                self._outage.end()
                if self.counts.written:
                    self._has_written.set()
                await self._collect()

    async def _keep_indexes(self) -> None:
        """Create the missing `INDEXES`, again and again until all are there. Runs as long as the writer.

        They only make reading fast, so a failure is not an outage.
        """
        await self._has_written.wait()
        for delay_s in itertools.chain(_INDEX_RETRIES_S, itertools.repeat(_INDEX_RETRIES_S[-1])):
            self._report_index_faults("; ".join([fault async for fault in self._create_indexes()]))
            if not self._index_faults:
                break
            await asyncio.sleep(delay_s)
        await asyncio.get_running_loop().create_future()

    async def _create_indexes(self) -> AsyncIterator[str]:
        """Create the missing `INDEXES`. Yields why one cannot be created, and goes on with the others."""
        try:
            there = {_fields(index["key"]) for index in (await self.collection.index_information()).values()}
        except PyMongoError as error:
            yield f"those that exist cannot be read: {describe(error)}"
            return
        for keys in INDEXES:
            if _fields(keys) not in there:
                try:
                    with pymongo.timeout(_INDEX_LIMIT_S):
                        await self.collection.create_index(keys)
                except PyMongoError as error:
                    yield f"{', '.join(_fields(keys))}: {describe(error)}"

    def _report_index_faults(self, faults: str) -> None:
        if faults and faults != self._index_faults:
            _log.warning("audit: `botctl audit log` is slow, indexes cannot be created yet (%s)", faults)
        self._index_faults = faults

    async def _write_once(self) -> None:
        for path in self.spool.files():
            if path not in self._postponed:
                await self._write_spool_file_or_postpone(path)
        await self._flush()

    async def _collect(self) -> None:
        """Wait for an entry, then ``flush_s`` longer for others."""
        if not self._waiting:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._denials.due_s(self.clock.now())):
                    await self._wake.wait()
        await asyncio.sleep(self.flush_s)

    async def _flush(self) -> None:
        """Write all that waits. Raises PyMongoError."""
        self._take_denials(ended_only=True)
        while self._waiting or self._unreported:
            self._report_lost()
            batch = list(itertools.islice(self._waiting, MAX_BATCH))
            if documents := self._documents(self._lines(batch)):
                await self._insert(documents)
            for _ in batch:  # only after the write, so that none is lost
                self._waiting.popleft()
            self.counts.written += len(documents)

    def _documents(self, lines: Iterable[bytes]) -> list[Document]:
        now_ms = unix_ms(self.clock.now())
        return [_document(text, now_ms) for text in lines]

    def _lines(self, entries: Iterable[AuditEntry]) -> Iterator[bytes]:
        for entry in entries:
            try:
                line = encode_line(entry)
            except ANYTHING:  # a bad entry must not stop the others
                self.counts.lost += 1
                _log.exception("audit entry %s (%s) cannot be written", entry.id, entry.action)
            else:
                yield line

    def _take_denials(self, *, ended_only: bool) -> None:
        # May exceed the queue's size: these are few, and each counts many denials.
        self._waiting.extend(self._denials.take(self.clock.now() if ended_only else None))

    def _report_lost(self) -> None:
        if self._unreported:
            self._waiting.append(_lost(self._unreported, self.clock))
            self._unreported = 0

    async def _insert(self, documents: list[Document]) -> None:
        """Write ``documents``, except those that exist. The client limits how long that may take."""
        try:
            await self.collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            faults = error.details.get("writeErrors", [])
            if error.details.get("writeConcernErrors") or any(fault.get("code") != _DUPLICATE_KEY for fault in faults):
                raise
            await self._insert_repeated([documents[fault["index"]] for fault in faults])

    async def _insert_repeated(self, documents: list[Document]) -> None:
        """Write those of ``documents`` whose id belongs to another entry, under ids of their own.

        What is stored without bytes was not written by botctl: it is another entry.
        """
        query = {"_id": {"$in": [document["_id"] for document in documents]}}
        stored = {document["_id"]: document.get("b") async for document in self.collection.find(query, {"b": 1})}
        written = {key: bytes(line) for key, line in stored.items() if isinstance(line, bytes)}
        others = [document for document in documents if written.get(document["_id"]) != bytes(document["b"])]
        if not others:
            return
        self.counts.repeated += len(others)
        for document in others:
            _log.warning("audit: %s has two entries: it was done more than once", document["_id"])
        await self._insert(self._documents(repeated_line(bytes(document["b"])) for document in others))

    async def _write_spool_file_or_postpone(self, path: Path) -> None:
        try:
            await self._write_spool_file(path)
        except OSError as error:  # one bad file must not stop the others
            self._postponed.add(path)
            _log.warning("audit spool %s cannot be read; the next start tries again (%s)", path, error.strerror)

    async def _write_spool_file(self, path: Path) -> None:
        """Write the entries of a file from an earlier process, and remove it."""
        try:
            documents = self._documents(self.spool.lines(path))
        except (ValueError, KeyError):
            self.spool.quarantine(path)
            return
        for batch in _batches(documents):
            await self._insert(batch)
        self.spool.remove(path)
        _log.info("audit spool %s: %d entries written", path.name, len(documents))

    async def _last_try(self) -> None:
        self._take_denials(ended_only=False)
        try:
            async with LoopTimeout(LAST_TRY_S):
                await self._flush()
        except (PyMongoError, TimeoutError) as error:
            _log.warning("audit: MongoDB failed at the stop (%s)", describe(error))

    def _spool_rest(self) -> None:
        self._take_denials(ended_only=False)
        self._report_lost()
        if not self._waiting:
            return
        try:
            path = self.spool.write(self._lines(self._waiting))
        except OSError as error:
            _log.critical("audit: %d entries are lost: they cannot be spooled (%s)", len(self._waiting), error.strerror)
            return
        self.counts.spooled += len(self._waiting)
        _log.warning("audit: %d entries are left in %s for the next start", len(self._waiting), path)
        self._waiting.clear()


@asynccontextmanager
async def audit_writer(
    database: AsyncDatabase[Document],
    settings: Settings,
    runtime: Runtime,
    tasks: Tasks,
    metrics: Metrics | None = None,
) -> AsyncIterator[Auditor]:
    spool = Spool(runtime.folder / "spool")
    collection, limits = journaled(database[COLLECTION]), settings.audit
    auditor = MongoAuditor(collection, spool, tasks, queue_size=limits.queue_size, flush_s=limits.flush_s)
    if metrics is not None:
        metrics.watch("botctl_audit_total", "Entries of the audit log.", lambda: asdict(auditor.counts), label="what")
    async with auditor.running():
        yield auditor


def _document(text: bytes, now_ms: int) -> Document:
    """The document of an entry's JSON ``text``, written at ``now_ms``. Raises ValueError or KeyError."""
    entry = json.loads(text)
    index = {name: entry[name] for name in ("at", "action", "guild", "outcome", "op") if name in entry}
    index |= {name: entry[name]["id"] for name in ("actor", "target") if name in entry}
    if "name" in entry["actor"]:
        index["name"] = entry["actor"]["name"]
    at_ms = unix_ms(datetime.fromisoformat(entry["at"]))
    return {"_id": entry["id"], "b": Binary(text), "x": [index], "at": at_ms, "w": {"at": now_ms}}


def _fields(keys: Sequence[tuple[str, Any]]) -> tuple[str, ...]:
    """What identifies an index: the embedded store forgets names and directions, and MongoDB reads one both ways."""
    return tuple(field for field, _ in keys)


def _lost(count: int, clock: Clock) -> AuditEntry:
    """The entry ``audit.lost``: ``count`` entries are lost."""
    return make_entry(
        "audit.lost",
        Principal("system", "audit"),
        at=clock.now(),
        iface="system",
        outcome=AuditOutcome.ERROR,
        reason="the database did not take entries as fast as they came",
        changes=[Change("entries", None, count)],
    )


def _batches(documents: list[Document]) -> Iterable[list[Document]]:
    return (documents[start : start + MAX_BATCH] for start in range(0, len(documents), MAX_BATCH))
