"""The first writer of the audit log: entries go to MongoDB in batches, some moments after they were recorded.

Collection ``botctl_audit``, one document per entry, never changed::

    _id   the entry's id; an entry that is written again is the same document
    b     Binary: the canonical line, the exact bytes that a later hash is computed over
    x     [{at, action, actor, name, target, guild, outcome, op}]: what is searched for, taken from b
    at    when it happened, in milliseconds since 1970: for bounds and for order
    w     {at}: when it was written, in the same way, which may be long after it happened; followers go by it

(Whole numbers, because the embedded store compares texts that look like dates by the second, and sorts by nothing that
is within a list.)

That is a block of one entry, in the shape of the blocks that the Merkle log will have (number, several lines in ``b``,
as many in ``x``): it is built from these by going through them in the order of ``(at, _id)``.

`record` only appends to a queue. While MongoDB is away the entries wait in memory, up to the queue's size; beyond it
they are counted, and the count becomes an entry ``audit.lost``. What is still there at the stop is spooled to a file,
and written by the next start.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bson.binary import Binary
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, PyMongoError

from botctl.audit.denials import DenialAggregator
from botctl.audit.spool import Spool
from botctl.core.clock import Clock, SystemClock, unix_ms
from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import AuditEntry, AuditOutcome, Change, Principal, encode_line, make_entry
from botctl.core.contracts.protocols import Auditor
from botctl.core.errors import type_name
from botctl.core.processes.runtime import Runtime
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.telemetry.metrics import Metrics

COLLECTION: Final = "botctl_audit"
MAX_BATCH: Final = 200
LAST_TRY_S: Final = 3.0  # all that the stop waits for; what is not written then is spooled
_DUPLICATE_KEY: Final = 11000  # MongoDB: error code DuplicateKey
_PAUSES: Final = Backoff(first_s=0.1, limit_s=5.0)

_log = logging.getLogger(__name__)
Document = dict[str, Any]


@dataclass(slots=True)
class WriterCounts:
    """Entries so far. ``lost``: there was no room for them; ``spooled``: left to the next start."""

    recorded: int = 0
    written: int = 0
    lost: int = 0
    spooled: int = 0


@dataclass(eq=False)
class MongoAuditor:
    """Writes what `record` is given. ``flush_s``: how long entries gather; ``queue_size``: how many may wait."""

    collection: AsyncCollection[Document]
    spool: Spool
    tasks: Tasks
    queue_size: int
    flush_s: float
    clock: Clock = field(default_factory=SystemClock)
    counts: WriterCounts = field(default_factory=WriterCounts, init=False)

    def __post_init__(self) -> None:
        self._waiting: deque[AuditEntry] = deque()
        self._refusals = DenialAggregator()
        self._wake = asyncio.Event()
        self._unreported = 0
        self._left: set[Path] = set()  # spool files for the next start: this process may not read or remove them
        self._outage = Outage(self.tasks, _log, _PAUSES)

    def record(self, entry: AuditEntry) -> None:
        """Queue ``entry``, or count it where it is one refusal of many. Never waits and never raises."""
        self.counts.recorded += 1
        if DenialAggregator.counts(entry):
            self._refusals.add(entry)
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
        """Write, for as long as the block lasts; then write or spool what is left."""
        self.tasks.spawn(self._write, name="writer")
        try:
            yield self
        finally:
            try:
                await self.tasks.cancel()
                await self._last_try()
            finally:  # also when the stop is cut short
                self._spool_rest()

    async def _write(self) -> None:
        while True:
            try:
                await self._round()
            except (PyMongoError, OSError) as error:  # OSError: the spool's folder, as a whole
                what = "MongoDB" if isinstance(error, PyMongoError) else "the spool"
                await self._outage.begin_and_pause(f"audit entries wait in memory: {what} failed ({type_name(error)})")
            else:
                self._outage.end()
                await self._gather()

    async def _round(self) -> None:
        for path in self.spool.files():
            if path not in self._left:
                await self._drain_or_leave(path)
        await self._flush()

    async def _gather(self) -> None:
        """Return when there is something to write, and what comes with it has come, too."""
        if not self._waiting:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refusals.due_s(self.clock.now())):
                    await self._wake.wait()
        await asyncio.sleep(self.flush_s)

    async def _flush(self) -> None:
        self._take_refusals(over_only=True)
        while self._waiting or self._unreported:
            self._report_lost()
            batch = list(itertools.islice(self._waiting, MAX_BATCH))
            if documents := self._documents(self._lines(batch)):
                await self._insert(documents)
            for _ in batch:  # only now: until they are written, they are here
                self._waiting.popleft()
            self.counts.written += len(documents)

    def _documents(self, lines: Iterable[bytes]) -> list[Document]:
        now_ms = unix_ms(self.clock.now())
        return [_document(text, now_ms) for text in lines]

    def _lines(self, entries: Iterable[AuditEntry]) -> Iterator[bytes]:
        for entry in entries:
            try:
                yield encode_line(entry)
            except Exception:  # noqa: BLE001  whatever was put into it, one entry must not hold up the rest
                self.counts.lost += 1
                _log.exception("audit entry %s (%s) cannot be written", entry.id, entry.action)

    def _take_refusals(self, *, over_only: bool) -> None:
        # Past the queue's size, too: they are few, and each stands for many.
        self._waiting.extend(self._refusals.take(self.clock.now() if over_only else None))

    def _report_lost(self) -> None:
        if self._unreported:
            self._waiting.append(_lost(self._unreported, self.clock))
            self._unreported = 0

    async def _insert(self, documents: list[Document]) -> None:
        """Write ``documents``; those that are there already, are. How long it may take is the client's to say."""
        try:
            await self.collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors") or any(
                fault.get("code") != _DUPLICATE_KEY for fault in error.details.get("writeErrors", [])
            ):
                raise

    async def _drain_or_leave(self, path: Path) -> None:
        try:
            await self._drain(path)
        except OSError as error:  # of this file: it must not hold up the rest
            self._left.add(path)
            _log.warning("audit spool %s is left for the next start (%s)", path, error.strerror)

    async def _drain(self, path: Path) -> None:
        try:
            documents = self._documents(self.spool.lines(path))
        except (ValueError, KeyError):
            self.spool.set_aside(path)
            return
        for batch in _batches(documents):
            await self._insert(batch)
        self.spool.done(path)
        _log.info("audit spool %s: %d entries written", path.name, len(documents))

    async def _last_try(self) -> None:
        self._take_refusals(over_only=False)
        try:
            async with asyncio.timeout(LAST_TRY_S):
                await self._flush()
        except (PyMongoError, TimeoutError) as error:
            _log.warning("audit: MongoDB failed at the end (%s)", type(error).__name__)

    def _spool_rest(self) -> None:
        self._take_refusals(over_only=False)
        self._report_lost()
        if not self._waiting:
            return
        try:
            path = self.spool.put(self._lines(self._waiting))
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
    """Factory of the service."""
    spool = Spool(runtime.folder / "spool")
    auditor = MongoAuditor(
        database[COLLECTION], spool, tasks, queue_size=settings.audit.queue_size, flush_s=settings.audit.flush_s
    )
    if metrics is not None:
        metrics.watch("botctl_audit_total", "Entries of the audit log.", lambda: asdict(auditor.counts), label="what")
    async with auditor.running():
        yield auditor


def _document(text: bytes, now_ms: int) -> Document:
    """The document of the entry whose canonical line is ``text``, to be written at ``now_ms``.

    Raises:
        ValueError, KeyError: it is not the line of an entry.
    """
    entry = json.loads(text)
    index = {name: entry[name] for name in ("at", "action", "guild", "outcome", "op") if name in entry}
    index |= {name: entry[name]["id"] for name in ("actor", "target") if name in entry}
    if "name" in entry["actor"]:
        index["name"] = entry["actor"]["name"]
    at_ms = unix_ms(datetime.fromisoformat(entry["at"]))
    return {"_id": entry["id"], "b": Binary(text), "x": [index], "at": at_ms, "w": {"at": now_ms}}


def _lost(count: int, clock: Clock) -> AuditEntry:
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
