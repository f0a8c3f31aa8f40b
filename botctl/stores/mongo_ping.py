"""The ping of MongoDB: a write, and the identity of the database.

Collection ``botctl_store`` of the bot's database: one document, with the id of the database in ``identity``, and in
``written`` the time of the last ping of any process.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final

from pymongo.errors import DuplicateKeyError, PyMongoError

from botctl.core.clock import Clock, SystemClock
from botctl.core.driver_errors.mongo import sort
from botctl.core.errors import Unreachable
from botctl.stores.identity import KnownDatabase, new_identity
from botctl.stores.journal import journaled
from botctl.stores.mongo import Database, error_text, server_version

COLLECTION: Final = "botctl_store"
_ID: Final = "database"


class MongoPing:
    """The ping of the service, for one process: it remembers the database that it has found."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._known = KnownDatabase()

    async def __call__(self, database: Database) -> str:
        """The server's version and the latency. Costs two round trips, and the write of one small document.

        The user needs readWrite for the bot's database: find, insert and update are called. Raises Unreachable if the
        server takes no write, StoreDamaged if this is not the database that was found at first, and PyMongoError if the
        server does not answer.
        """
        began = time.perf_counter()
        version = await server_version(database.client)
        took_ms = (time.perf_counter() - began) * 1000
        try:
            found = await self._write(database[COLLECTION])
        except PyMongoError as error:
            raise Unreachable(f"takes no write: {error_text(error)}", hint=sort(error).hint) from error
        self._known = known = self._known.after(found, at_s=self._clock.monotonic(), at=self._clock.now())
        known.check()
        return f"{version}, {took_ms:.1f} ms"

    async def _write(self, collection: Any) -> str | None:
        """Write the time of this ping; the identity that is there then. None: there is no document.

        An identity that is trusted is never written: a database that was emptied stays so until botctl starts again.
        """
        change: dict[str, Any] = {"$set": {"written": self._clock.now()}}
        if self._known.trusted:
            known = self._known.identity
            if (await collection.update_one({"_id": _ID, "identity": known}, change)).matched_count:
                return known
        else:
            change["$setOnInsert"] = {"identity": new_identity()}
            with suppress(DuplicateKeyError):  # another process has inserted it in the meantime
                await journaled(collection).update_one({"_id": _ID}, change, upsert=True)
        document = await collection.find_one({"_id": _ID})
        return None if document is None else str(document.get("identity"))
