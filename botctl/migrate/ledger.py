"""The ledger of what was applied: collection ``botctl_migrations``, one document per migration.

    _id        0001_name
    n          its number; what is sorted by
    checksum   of the file as it was run
    state      running, applied, failed, reverted
    direction  up or down: what runs, or ran last
    started, ended   ISO 8601 text, as everywhere in botctl: for people, nothing compares them
    took_ms    of what ran last
    by         {host, pid, born, version, fence}: the process that wrote it, and the fence of its lease
    error      of a failure, one line

To begin is a compare-and-swap: of two processes that both believe to hold the lease, one gets the document. To end is
one, too: who was succeeded meanwhile cannot write any more. So a migration never runs twice at the same time, whatever
becomes of the lease.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, PyMongoError

from botctl.core.clock import iso_ms
from botctl.core.errors import Held, IntegrityError, store_hint, translated
from botctl.core.escape import safe
from botctl.core.redact import redact
from botctl.migrate.plan import By, Direction, Record, RecordState

COLLECTION: Final = "botctl_migrations"
_LOOK: Final = "`botctl migrate status` shows where it stands."
_HINT: Final = store_hint("MongoDB", "`botctl migrate status`")
Document = dict[str, Any]
Database = AsyncDatabase[Document]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Reads and writes the ledger of ``database``.

    Every method raises Unreachable when the store does not answer.
    """

    database: Database

    async def read(self) -> tuple[Record, ...]:
        """All of it, by one query. Nothing is created.

        Raises:
            IntegrityError: a document is none of a ledger.
        """
        with _asking("The ledger of migrations cannot be read"):
            documents = await self.database[COLLECTION].find().sort("n", 1).to_list()
        return tuple(map(_record, documents))

    async def put(self, record: Record, *, after: Record | None) -> None:
        """Write ``record`` in the place of ``after``, which is what was read of it before; None: there was nothing.

        Raises:
            Held: it is not ``after`` any more: another process was quicker.
        """
        if not await self._swap(record, after):
            sentence = f"Another process changed the ledger of {record.name} at the same moment; this one did nothing."
            raise Held(sentence, hint=_LOOK)

    async def end(self, record: Record) -> None:
        """Write how it ended, if it is still this process's: RUNNING, with the fence of ``record``.

        Raises:
            Held: it is not.
        """
        mine = {"_id": record.name, "state": RecordState.RUNNING.value, "by.fence": record.by.fence}
        with _asking(f"Nobody knows whether the end of {record.name} was recorded"):
            result = await self.database[COLLECTION].update_one(mine, {"$set": _values(record)})
        if not result.matched_count and not await self._is(record):
            raise Held(f"The ledger of {record.name} is another process's by now.", hint=_LOOK)

    async def _swap(self, record: Record, after: Record | None) -> bool:
        collection = self.database[COLLECTION]
        with _asking(f"Nobody knows whether the ledger of {record.name} was written"):
            if after is None:
                try:
                    await collection.insert_one({"_id": record.name, **_values(record)})
                except DuplicateKeyError:
                    return await self._is(record)  # the driver may have tried twice
                return True
            same = {"_id": after.name, "state": after.state.value, "by.fence": after.by.fence}
            result = await collection.update_one(same, {"$set": _values(record)})
            return bool(result.matched_count) or await self._is(record)

    async def _is(self, record: Record) -> bool:
        """Whether ``record`` is what is written: then a try before this one did it."""
        found = await self.database[COLLECTION].find_one({"_id": record.name})
        return found is not None and _key(_record(found)) == _key(record)


def _key(record: Record) -> tuple[object, ...]:
    """What tells a write from another's: no two processes have the same fence."""
    return record.state, record.direction, record.by


def _asking(sentence: str) -> translated:
    return translated(PyMongoError, sentence=f"{sentence}: MongoDB fails ({{error}}).", hint=_HINT, describe=_text)


def _text(error: BaseException) -> str:
    return redact(safe(error))


def _values(record: Record) -> Document:
    values = {key: value for key, value in asdict(record).items() if key != "name"}
    return values | {
        "state": record.state.value,
        "direction": record.direction.value,
        "started": iso_ms(record.started),
        "ended": record.ended and iso_ms(record.ended),
    }


def _record(document: Document) -> Record:
    try:
        return Record(
            name=document["_id"],
            n=int(document["n"]),
            checksum=document["checksum"],
            state=RecordState(document["state"]),
            direction=Direction(document["direction"]),
            started=datetime.fromisoformat(document["started"]),
            ended=document["ended"] and datetime.fromisoformat(document["ended"]),
            took_ms=document["took_ms"],
            by=By(**document["by"]),
            error=document["error"],
        )
    except (KeyError, TypeError, ValueError) as error:
        name = safe(document.get("_id"), 80)
        raise IntegrityError(
            f"The document {name!r} of {COLLECTION} is none that this version of botctl wrote: {safe(error)}.",
            hint="Look at it; a newer version may have written it.",
        ) from error
