"""The ledger, which records migrations: collection ``botctl_migrations``, one document per migration.

    _id        0001_name
    n          its number, the sort key
    checksum   of the file as it was run
    state      running, applied, failed, reverted
    direction  up or down, of the current or last run
    started, ended   ISO 8601 text, for people; nothing compares them
    took_ms    of the last run
    by         {host, pid, born, version, fence}: the process that wrote it (see `plan.ProcessIdentity`)
    error      of a failure, one line

Start and end are written by compare-and-swap. If two processes believe that they hold the lease, only one can write the
start, and a process that has lost its lease to another cannot write. So a migration never runs twice at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from botctl.core.clock import iso_ms
from botctl.core.contracts.malformed import FAULTS, Malformed, describe_fault, malformed_error, value_of
from botctl.core.errors import Held, store_hint, translated
from botctl.core.escape import safe
from botctl.core.mongo_errors import reaching_mongo
from botctl.core.redact import redact
from botctl.migrate.plan import Direction, ProcessIdentity, Record, RecordState
from botctl.stores.journal import journaled

COLLECTION: Final = "botctl_migrations"
_STATUS_HINT: Final = "`botctl migrate status` shows its state."
_HINT: Final = store_hint("MongoDB", "`botctl migrate status`")
Document = dict[str, Any]
Database = AsyncDatabase[Document]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Reads and writes the ledger of ``database``. Every method raises Unreachable when MongoDB does not answer."""

    database: Database

    @property
    def _records(self) -> AsyncCollection[Document]:
        return journaled(self.database[COLLECTION])

    async def read(self) -> tuple[Record, ...]:
        """All records, by one query. Creates nothing. Raises IntegrityError if a document is not a ledger record."""
        return tuple(map(_record, await self._find_all()))

    async def read_what_can_be(self, malformed: Malformed) -> tuple[Record, ...]:
        """As `read`, for people: documents that are not ledger records are left out, and named in ``malformed``."""
        return tuple(malformed.read(await self._find_all(), _parse))

    async def _find_all(self) -> list[Document]:
        with _reaching_mongo("The ledger of migrations cannot be read"):
            return await self._records.find().sort("n", 1).to_list()

    async def put(self, record: Record, *, previous: Record | None) -> None:
        """Replace ``previous`` (None: no record) with ``record``. Raises Held if another process changed the record."""
        if not await self._compare_and_swap(record, previous):
            sentence = f"Another process changed the ledger of {record.name} at the same moment; this one did nothing."
            raise Held(sentence, hint=_STATUS_HINT)

    async def finish(self, record: Record) -> None:
        """Write the end, if the record is RUNNING with the fence of ``record``. Raises Held if it is not."""
        condition = {"_id": record.name, "state": RecordState.RUNNING.value, "by.fence": record.by.fence}
        with _reaching_mongo(f"It is not known whether the end of {record.name} was recorded"):
            result = await self._records.update_one(condition, {"$set": _values(record)})
        if not result.matched_count and not await self._is_written(record):
            raise Held(f"Another process has taken over the ledger of {record.name}.", hint=_STATUS_HINT)

    async def _compare_and_swap(self, record: Record, previous: Record | None) -> bool:
        with _reaching_mongo(f"It is not known whether the ledger of {record.name} was written"):
            if previous is None:
                try:
                    await self._records.insert_one({"_id": record.name, **_values(record)})
                except DuplicateKeyError:
                    return await self._is_written(record)  # the driver may have sent it twice
                return True
            condition = {"_id": previous.name, "state": previous.state.value, "by.fence": previous.by.fence}
            result = await self._records.update_one(condition, {"$set": _values(record)})
            return bool(result.matched_count) or await self._is_written(record)

    async def _is_written(self, record: Record) -> bool:
        """Whether the stored record is ``record``, from an earlier attempt."""
        found = await self._records.find_one({"_id": record.name})
        return found is not None and _key(_record(found)) == _key(record)


def _key(record: Record) -> tuple[object, ...]:
    """What identifies a write: no two processes have the same fence."""
    return record.state, record.direction, record.by


def _reaching_mongo(sentence: str) -> translated:
    return reaching_mongo(f"{sentence}: MongoDB fails ({{error}}).", hint=_HINT, describe=_redacted)


def _redacted(error: BaseException) -> str:
    return safe(redact(str(error)))


def _values(record: Record) -> Document:
    values = {key: value for key, value in asdict(record).items() if key != "name"}
    return values | {
        "state": record.state.value,
        "direction": record.direction.value,
        "started": iso_ms(record.started),
        "ended": record.ended and iso_ms(record.ended),
        "error": record.error and redact(record.error),
    }


def _record(document: Mapping[str, Any]) -> Record:
    """The record in ``document``. Raises IntegrityError, which names it, if it is malformed."""
    try:
        return _parse(document)
    except FAULTS as error:
        raise malformed_error(COLLECTION, {safe(document.get("_id"), 80): describe_fault(error)}) from error


def _parse(document: Mapping[str, Any]) -> Record:
    """The record in ``document``. Raises one of `FAULTS` if it is malformed."""
    return Record(
        name=value_of(document, "_id", str),
        n=value_of(document, "n", int),
        checksum=value_of(document, "checksum", str),
        state=RecordState(document["state"]),
        direction=Direction(document["direction"]),
        started=datetime.fromisoformat(document["started"]),
        ended=document["ended"] and datetime.fromisoformat(document["ended"]),
        took_ms=value_of(document, "took_ms", int, type(None)),
        by=ProcessIdentity(**document["by"]),
        error=value_of(document, "error", str, type(None)),
    )
