"""Leases in MongoDB: what one process of a bot does at a time, by compare-and-swap.

Collection ``botctl_leases``, one document per name, never deleted, so that its fence only ever grows::

    _id      the lease's name
    fence    whole number, one more for each holder
    beats    whole number, one more for each renewal: while it and the fence stay, nobody has renewed or released
    free     nobody holds it
    ttl_s    how long its holder may be silent
    holder   host:pid and a random part
    renewed  when it was renewed last, by the server's clock; for people, nobody compares it

When to take over and how long to believe is decided in `leasing`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import pymongo
from pymongo.errors import DuplicateKeyError, PyMongoError

from botctl.core.contracts.lease import LATE_FACTOR, Lease, LeaseHolder, Leases, OnWait
from botctl.core.errors import Held, store_hint, translated
from botctl.core.escape import safe
from botctl.stores.leasing import Candidate, LeaseRecord, LeaseState
from botctl.stores.mongo import Database

COLLECTION: Final = "botctl_leases"
POLL_S: Final = 1.0  # at most this long until a lease that became free is taken
RELEASE_S: Final = 2.0  # a stop does not wait longer for MongoDB
NOTIFY_AFTER_S: Final = 1.0  # who waits longer is told for whom
BLOCKED: Final = "something blocked the event loop (long work belongs in `asyncio.to_thread`)"
_log = logging.getLogger(__name__)


def boot_time_s() -> float:
    """Seconds since the machine started; where the system can tell, also those that it was suspended for."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Collection(Protocol):
    """What is used of a collection of pymongo."""

    @property
    def database(self) -> Any: ...

    async def find_one(self, filter: dict[str, Any]) -> dict[str, Any] | None: ...  # noqa: A002  pymongo's word
    async def insert_one(self, document: dict[str, Any]) -> Any: ...
    async def update_one(self, filter: dict[str, Any], update: dict[str, Any]) -> Any: ...  # noqa: A002


async def read_lease(leases: Collection, name: str) -> LeaseRecord:
    """The lease ``name`` as the store has it; it is made, and free, if it was never held."""
    while (found := await leases.find_one({"_id": name})) is None:
        with suppress(DuplicateKeyError):
            await leases.insert_one({"_id": name, "fence": 0, "beats": 0, "free": True, "ttl_s": 0.0, "holder": ""})
    return LeaseRecord(found["fence"], found["beats"], bool(found["free"]), float(found["ttl_s"]), found["holder"])


async def acquire(leases: Collection, name: str, seen: LeaseRecord, *, holder: str, ttl_s: float) -> bool:
    """Become the holder with the fence ``seen.fence + 1``, if the lease is still as ``seen``; whether that is so."""
    values = {"fence": seen.fence + 1, "beats": 0, "free": False, "ttl_s": ttl_s, "holder": holder}
    result = await leases.update_one(
        {"_id": name, "fence": seen.fence, "beats": seen.beats}, {"$set": values, "$currentDate": {"renewed": True}}
    )
    return bool(result.matched_count)


async def renew(leases: Collection, name: str, fence: int) -> bool:
    """Show that the holder with ``fence`` lives; whether it is the holder still."""
    update = {"$inc": {"beats": 1}, "$currentDate": {"renewed": True}}
    return bool((await leases.update_one({"_id": name, "fence": fence}, update)).matched_count)


async def release(leases: Collection, name: str, fence: int) -> None:
    """Make it free, if the holder with ``fence`` is its holder still."""
    await leases.update_one({"_id": name, "fence": fence}, {"$set": {"free": True}, "$inc": {"beats": 1}})


@dataclass(eq=False)
class HeldLease:
    """A lease that this process took. ``held`` asks the clock, so it is right even when no task could run."""

    name: str
    fence: int
    belief: LeaseState
    clock_s: Callable[[], float]
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""

    @property
    def held(self) -> bool:
        """Whether it is held at this moment."""
        return not self.lost.is_set() and self.belief.holds(self.clock_s())


@dataclass(frozen=True, eq=False)
class MongoLeases:
    """Takes leases in ``collection``. ``clock_s`` is monotonic."""

    collection: Collection
    clock_s: Callable[[], float] = boot_time_s

    @asynccontextmanager
    async def lease(
        self, name: str, *, ttl_s: float = 15.0, wait_s: float | None = None, waits: OnWait | None = None
    ) -> AsyncIterator[Lease]:
        """Hold ``name`` until the block ends, as the protocol says."""
        taken = await self._take(name, ttl_s, wait_s, waits)
        keeping = asyncio.create_task(self._keep(taken), name=f"lease {name}")
        try:
            yield taken
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})
            taken.lost.set()
            await self._release(taken)

    async def holder(self, name: str) -> LeaseHolder | None:
        """Who holds ``name``, as the protocol says."""
        with _translate_errors(name):
            found = await self.collection.find_one({"_id": name})
            if found is None or found["free"]:
                return None
            now = await server_time(self.collection)
        silent_s = max(0.0, (now - found["renewed"]).total_seconds())
        return LeaseHolder(found["holder"].rpartition(":")[0], silent_s, float(found["ttl_s"]))

    async def _take(self, name: str, ttl_s: float, wait_s: float | None, waits: OnWait | None) -> HeldLease:
        contender, began_s = Candidate(), self.clock_s()
        holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        while True:
            with _translate_errors(name):
                mark = await read_lease(self.collection, name)
                contender.seen(mark, self.clock_s())
                sent_at_s = self.clock_s()
                if contender.may_take(sent_at_s):
                    if await acquire(self.collection, name, mark, holder=holder, ttl_s=ttl_s):
                        _log.debug("lease %s: taken with fence %d", name, mark.fence + 1)
                        return HeldLease(name, mark.fence + 1, LeaseState(ttl_s, sent_at_s), self.clock_s)
                    continue  # somebody was quicker: look who
            now_s = self.clock_s()
            left_s = float("inf") if wait_s is None else began_s + wait_s - now_s
            if left_s <= 0:
                raise _held_error(name, mark)
            if waits is not None and now_s - began_s >= NOTIFY_AFTER_S:
                waits(_process(mark), contender.due_in_s(now_s))
                waits = None
            await asyncio.sleep(min(POLL_S, left_s, contender.due_in_s(now_s)))

    async def _keep(self, lease: HeldLease) -> None:
        """Renew until it is lost; then say so."""
        late_s = self.clock_s() - lease.belief.sent_at_s
        try:
            while (now_s := self.clock_s()) < lease.belief.ends_at_s:
                due_s = min(now_s + lease.belief.renew_every_s, lease.belief.ends_at_s)
                await asyncio.sleep(due_s - now_s)
                late_s = self.clock_s() - due_s
                if not await self._renew(lease):
                    break
            lease.why = self._why(lease, late_s)
        finally:
            lease.lost.set()
        _log.warning("lease %s: lost, it was held with fence %d: %s", lease.name, lease.fence, lease.why)

    def _why(self, lease: HeldLease, late_s: float) -> str:
        """Why it was lost, in words; ``late_s``: how much too late its keeper woke the last time."""
        if late_s > lease.belief.renew_every_s * (LATE_FACTOR - 1):
            return f"{BLOCKED} for {late_s:.0f} s or more, or the process was suspended"
        if lease.belief.holds(self.clock_s()):
            return "another process holds it"
        return "MongoDB confirmed no renewal in time"

    async def _renew(self, lease: HeldLease) -> bool:
        """Try once, and no longer than the belief lasts; False when another is known to hold it."""
        sent_at_s = self.clock_s()
        left_s = lease.belief.ends_at_s - sent_at_s
        if left_s <= 0:
            return False
        try:
            async with asyncio.timeout(left_s):
                with pymongo.timeout(min(left_s, lease.belief.renew_every_s)):
                    if not await renew(self.collection, lease.name, lease.fence):
                        return False
        except (PyMongoError, TimeoutError):  # it is tried again for as long as the belief lasts
            _log.debug("lease %s: could not be renewed", lease.name, exc_info=True)
        else:
            lease.belief.renewed(sent_at_s)
        return True

    async def _release(self, lease: HeldLease) -> None:
        """Let others have it at once. Where that fails, they wait until it has run out."""
        try:
            with pymongo.timeout(RELEASE_S):
                await release(self.collection, lease.name, lease.fence)
        except PyMongoError:
            _log.debug("lease %s: could not be released", lease.name, exc_info=True)


@asynccontextmanager
async def leases(database: Database) -> AsyncIterator[Leases]:
    """Factory of the service."""
    yield MongoLeases(database[COLLECTION])


async def server_time(collection: Collection) -> datetime:
    """The time by the clock that `renewed` is written by, aware, in UTC."""
    said: datetime = (await collection.database.command("hello"))["localTime"]
    return said.replace(tzinfo=UTC)  # what a command answers is naive, and in UTC


def _translate_errors(name: str) -> translated:
    sentence = f"Nobody knows who holds {name}: MongoDB fails."
    return translated(PyMongoError, sentence=sentence, hint=store_hint("MongoDB"))


def _process(mark: LeaseRecord) -> str:
    host, pid, _ = mark.holder.split(":")
    return f"process {pid} on {safe(host)}"


def _held_error(name: str, mark: LeaseRecord) -> Held:
    return Held(
        f"{name} is held by {_process(mark)}.",
        hint=f"Try again when it is done; if it died, {mark.ttl_s:g} s after that.",
    )
