"""Leases (locks that expire) in MongoDB, by compare-and-swap. `lease_rules` decides when one may be taken over.

Collection ``botctl_leases`` of the bot's database, one document per name, never deleted, so that its fence always
grows. The embedded store answers one command of a database at a time, so there the collection is in a database of its
own: no work of the bot delays a renewal. (On a MongoDB it stays in the bot's, the only one that its user may need to
have rights to.) The document::

    _id      the lease's name
    fence    whole number, incremented for each holder; writes carry it, so that those of an earlier holder are rejected
    beats    whole number: 0 for a new holder, incremented for each renewal and for the release
    free     whether it has no holder
    ttl_s    how long its holder may be silent
    holder   host:pid and a random part
    renewed  time of the last renewal by the server's clock; only displayed

Taking a lease is journaled, so that fences survive a power failure. A renewal is not.

Up to botctl 0.1.0 the leases of an embedded store were in the bot's database. A lease is moved when it is first taken:
as any candidate, the new process waits until the old document is free or expired, and then takes it for ever, as
`MOVED`. From then on no earlier botctl gets it, and the fence goes on in the new place. On a MongoDB such a document is
a copy of an embedded store's data: it is free.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol, Self

import pymongo
from pymongo import WriteConcern
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from botctl.core.contracts.lease import LATE_FACTOR, Lease, LeaseHolder, Leases, LeaseWait, OnWait
from botctl.core.driver_errors.mongo import reaching_mongo
from botctl.core.errors import Held, translated
from botctl.core.event_loop.lag import LAG
from botctl.core.event_loop.tasks import create_watched_task
from botctl.stores.journal import journaled
from botctl.stores.lease_holder import describe_holder, has_ended, new_holder
from botctl.stores.lease_rules import Candidate, LeaseRecord, LeaseState
from botctl.stores.mongo import Database, is_embedded

COLLECTION: Final = "botctl_leases"
MOVED: Final = "a-newer-botctl:0:moved"  # the holder of a lease that is now in another database
_FOR_EVER_S: Final = 1e10
_MAX_DATABASE_NAME: Final = 64  # of the embedded store
POLL_S: Final = 1.0  # time between two looks at the lease of another process
RETRY: Final = 1 / 5  # of the time between renewals: after one that failed, since this process may have been late
MAX_AHEAD_S: Final = 1.0  # a time of renewal that is further ahead is not believed
RELEASE_S: Final = 2.0  # the most that a stop waits for MongoDB
NOTIFY_AFTER_S: Final = 1.0  # after this wait ``on_wait`` is called
BLOCKED: Final = "something blocked the event loop (long work belongs in `asyncio.to_thread`)"
_log = logging.getLogger(__name__)


def boot_time_s() -> float:
    """Seconds since the machine started, including the time when it was asleep, where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Collection(Protocol):
    """The methods of a MongoDB collection that leases use."""

    @property
    def database(self) -> Any: ...

    def with_options(self, *, write_concern: Any) -> Self: ...
    async def find_one(self, filter: dict[str, Any]) -> dict[str, Any] | None: ...  # noqa: A002  as in pymongo
    async def insert_one(self, document: dict[str, Any]) -> Any: ...
    async def update_one(self, filter: dict[str, Any], update: dict[str, Any]) -> Any: ...  # noqa: A002


async def read_lease(leases: Collection, name: str, *, fence: int = 0) -> LeaseRecord:
    """Read the lease ``name``. Creates it as free, with ``fence``, if it is missing."""
    while (document := await leases.find_one({"_id": name})) is None:
        with suppress(DuplicateKeyError):
            await leases.insert_one({"_id": name, "fence": fence, "beats": 0, "free": True, "ttl_s": 0.0, "holder": ""})
    fence, beats, holder = document["fence"], document["beats"], document["holder"]
    return LeaseRecord(fence, beats, bool(document["free"]), float(document["ttl_s"]), holder)


async def acquire(
    leases: Collection, name: str, seen: LeaseRecord, *, holder: str, ttl_s: float, fence: int | None = None
) -> bool:
    """Take the lease with ``fence`` (None: ``seen.fence + 1``), if it is unchanged since ``seen``.

    Returns whether it was taken.
    """
    values = {"fence": fence or seen.fence + 1, "beats": 0, "free": False, "ttl_s": ttl_s, "holder": holder}
    result = await journaled(leases).update_one(
        {"_id": name, "fence": seen.fence, "beats": seen.beats}, {"$set": values, "$currentDate": {"renewed": True}}
    )
    return bool(result.matched_count)


async def renew(leases: Collection, name: str, fence: int) -> bool:
    """Renew the lease of the holder with ``fence``. Returns whether it is still the holder."""
    update = {"$inc": {"beats": 1}, "$currentDate": {"renewed": True}}
    return bool((await leases.update_one({"_id": name, "fence": fence}, update)).matched_count)


async def release(leases: Collection, name: str, fence: int) -> None:
    """Release the lease, if the holder with ``fence`` still holds it."""
    await leases.update_one({"_id": name, "fence": fence}, {"$set": {"free": True}, "$inc": {"beats": 1}})


@dataclass(eq=False)
class HeldLease:
    """A lease that this process took.

    ``held`` compares with the clock, so it is correct even when the renewing task could not run.
    """

    name: str
    fence: int
    state: LeaseState
    clock_s: Callable[[], float]
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    lost_reason: str = ""

    @property
    def held(self) -> bool:
        return not self.lost.is_set() and self.state.is_valid(self.clock_s())


@dataclass(frozen=True, eq=False)
class MongoLeases:
    """Takes leases in ``collection``. ``clock_s`` is monotonic. ``earlier``: where an earlier botctl had them."""

    collection: Collection
    clock_s: Callable[[], float] = boot_time_s
    earlier: Collection | None = None

    @asynccontextmanager
    async def lease(
        self, name: str, *, ttl_s: float = 15.0, wait_s: float | None = None, on_wait: OnWait | None = None
    ) -> AsyncIterator[Lease]:
        taken = await self._take(name, ttl_s, wait_s, on_wait)
        renewing = create_watched_task(self._renew_until_lost(taken), name=f"lease {name}")
        try:
            yield taken
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})
            taken.lost.set()
            await self._release(taken)

    async def holder(self, name: str) -> LeaseHolder | None:
        document = await self._read_held(name)
        if document is None:
            return None
        with _translate_errors(name):
            now = await server_time(self.collection)
        silent_s = (now - document["renewed"]).total_seconds()
        if silent_s < -MAX_AHEAD_S:  # the server's clock was set back: the time says nothing
            return await self._watch_silence(name, document)
        return _as_holder(document, silent_s)

    async def _watch_silence(self, name: str, before: dict[str, Any]) -> LeaseHolder | None:
        """Wait for a renewal of the lease ``before``, at most for its lifetime. Returns its holder after that."""
        began_s = self.clock_s()
        while self.clock_s() - began_s <= before["ttl_s"]:
            await asyncio.sleep(POLL_S)
            document = await self._read_held(name)
            if document is None:
                return None
            if (document["fence"], document["beats"]) != (before["fence"], before["beats"]):
                return _as_holder(document, 0.0)
        return _as_holder(before, self.clock_s() - began_s)

    async def _read_held(self, name: str) -> dict[str, Any] | None:
        """The document of the lease, here or where an earlier botctl has it; None if no process holds it."""
        with _translate_errors(name):
            document = await self.collection.find_one({"_id": name})
            if document is None and self.earlier is not None:
                document = await self.earlier.find_one({"_id": name})
        return None if document is None or document["free"] or document["holder"] == MOVED else document

    async def _take(self, name: str, ttl_s: float, wait_s: float | None, on_wait: OnWait | None) -> HeldLease:
        """Wait for the lease at most ``wait_s`` (None: for ever) and take it. Calls ``on_wait`` if that takes long."""
        candidate, began_s = Candidate(), self.clock_s()
        holder = new_holder()
        while True:
            with _translate_errors(name):
                leases, record = await self._find(name)
                candidate.observe(record, self.clock_s())
                sent_at_s = self.clock_s()
                is_copy = record.holder == MOVED
                if is_copy or candidate.can_take(sent_at_s):
                    fence = _fence_after(record) if is_copy else record.fence + 1
                    if leases is self.earlier:
                        await acquire(leases, name, record, holder=MOVED, ttl_s=_FOR_EVER_S)
                    elif await acquire(leases, name, record, holder=holder, ttl_s=ttl_s, fence=fence):
                        _log.debug("lease %s: taken with fence %d", name, fence)
                        return HeldLease(name, fence, LeaseState(ttl_s, sent_at_s), self.clock_s)
                    continue  # it was moved, or another process was faster: read again
            now_s = self.clock_s()
            left_s = float("inf") if wait_s is None else began_s + wait_s - now_s
            if left_s <= 0:
                raise _held_error(name, record)
            if on_wait is not None and now_s - began_s >= NOTIFY_AFTER_S:
                on_wait(_wait_for(record, candidate.available_in_s(now_s)))
                on_wait = None
            await asyncio.sleep(min(POLL_S, left_s, candidate.available_in_s(now_s)))

    async def _find(self, name: str) -> tuple[Collection, LeaseRecord]:
        """The lease, and the collection where it is: ``earlier`` until it has been moved."""
        if self.earlier is None or await self.collection.find_one({"_id": name}) is not None:
            return self.collection, await read_lease(self.collection, name)
        before = await read_lease(self.earlier, name)
        if before.holder != MOVED:
            return self.earlier, before
        return self.collection, await read_lease(self.collection, name, fence=_fence_after(before))

    async def _renew_until_lost(self, lease: HeldLease) -> None:
        late_s, sent_at_s = self.clock_s() - lease.state.sent_at_s, float("-inf")
        try:
            while (now_s := self.clock_s()) < lease.state.expires_at_s:
                every_s = lease.state.renew_every_s * (1 if lease.state.sent_at_s > sent_at_s else RETRY)
                sent_at_s = lease.state.sent_at_s
                due_s = min(now_s + every_s, lease.state.expires_at_s)
                await asyncio.sleep(due_s - now_s)
                late_s = self.clock_s() - due_s
                if not await self._renew(lease):
                    break
            lease.lost_reason = self._lost_reason(lease, late_s)
        finally:
            lease.lost.set()
        _log.warning("lease %s: lost, it was held with fence %d: %s", lease.name, lease.fence, lease.lost_reason)

    def _lost_reason(self, lease: HeldLease, late_s: float) -> str:
        """Why the lease was lost, as text for people. ``late_s``: how late the renewing task woke up the last time."""
        late_s = max(late_s, LAG.late_s(lease.state.ttl_s))  # it may have been blocked during a renewal
        if late_s > lease.state.renew_every_s * (LATE_FACTOR - 1):
            return f"{BLOCKED} for {late_s:.0f} s or more, or the process was suspended"
        if lease.state.is_valid(self.clock_s()):
            return "another process holds it"
        return "MongoDB confirmed no renewal in time"

    async def _renew(self, lease: HeldLease) -> bool:
        """Renew once, within the lifetime of the lease. Returns False when it is lost."""
        sent_at_s = self.clock_s()
        left_s = lease.state.expires_at_s - sent_at_s
        if left_s <= 0:
            return False
        try:
            async with asyncio.timeout(left_s):  # not LoopTimeout: the lease expires in any case
                with pymongo.timeout(min(left_s, lease.state.renew_every_s)):
                    if not await renew(self.collection, lease.name, lease.fence):
                        return False
        except (PyMongoError, TimeoutError):  # retried until the lease expires
            _log.debug("lease %s: could not be renewed", lease.name, exc_info=True)
        else:
            lease.state.renewed(sent_at_s)
        return True

    async def _release(self, lease: HeldLease) -> None:
        """Release the lease. If that fails, the lease expires by itself."""
        try:
            with pymongo.timeout(RELEASE_S):
                await release(self.collection, lease.name, lease.fence)
        except PyMongoError:
            _log.debug("lease %s: could not be released", lease.name, exc_info=True)


@asynccontextmanager
async def leases(database: Database) -> AsyncIterator[Leases]:
    """Factory of the service. Asks the server what it is: `mongo.url` may name another embedded store."""
    # What a failover may take back decides nothing.
    shared = database[COLLECTION].with_options(
        write_concern=WriteConcern("majority"), read_concern=ReadConcern("majority")
    )
    with reaching_mongo("The leases cannot be read: MongoDB fails."):
        embedded = await is_embedded(database.client)
    if embedded:
        yield MongoLeases(database_of_leases(database)[COLLECTION], earlier=shared)
    else:
        yield MongoLeases(shared)


def database_of_leases(database: Database) -> Database:
    """The database that has the leases of the bot on an embedded store."""
    suffix = "-leases"
    name = database.name[: _MAX_DATABASE_NAME - len(suffix)] + suffix
    return database.client.get_database(name, write_concern=WriteConcern("majority"))


async def server_time(collection: Collection) -> datetime:
    """The server's time, which ``renewed`` uses too; aware, in UTC."""
    local_time: datetime = (await collection.database.command("hello"))["localTime"]
    return local_time.replace(tzinfo=UTC)  # naive in the reply of a command


def _translate_errors(name: str) -> translated:
    return reaching_mongo(f"The holder of {name} cannot be read: MongoDB fails.")


def _as_holder(document: dict[str, Any], silent_s: float) -> LeaseHolder:
    return LeaseHolder(document["holder"].rpartition(":")[0], max(0.0, silent_s), float(document["ttl_s"]))


def _fence_after(moved: LeaseRecord) -> int:
    """A fence greater than all after ``moved``, also if the database with them is lost: the time in µs."""
    return max(moved.fence + 1, time.time_ns() // 1000)


def _wait_for(record: LeaseRecord, left_s: float) -> LeaseWait:
    return LeaseWait(describe_holder(record.holder), left_s, has_ended(record.holder))


def _held_error(name: str, record: LeaseRecord) -> Held:
    return Held(
        f"{name} is held by {describe_holder(record.holder)}.",
        hint=f"Try again when that process is done. If it has died, the lease expires {record.ttl_s:g} s after that.",
    )
