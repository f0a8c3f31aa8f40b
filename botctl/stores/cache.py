"""A cache that is read in microseconds and is never behind an invalidation it has heard of.

Two layers over a loader. *Near*: a dict of this process, trusted only while the subscription to invalidations is known
to be alive. *Shared*: Redis, with a time to live. A key that is wanted by many is fetched by one; "there is nothing" is
remembered like a value. When Redis fails, both layers are left alone and the loader is asked, until Redis is back.

Who changes something writes it to the database first and calls `Cache.invalidate` then. That sets a new *guard* on the
key, removes the shared value, and tells every process. A reader that loaded before the change carries the old guard,
and Redis refuses what it brings; a reader in the same process loses its flight, and keeps nothing.

A process that lost Redis for a while, and may have missed or failed to send invalidations, begins a new *epoch* when it
is back: shared values of older epochs are void. What is left of the risk: a process that changes something while Redis
is out of its reach, and is killed before Redis is back, leaves the old value shared until its time to live is over.

Keys: ``botctl:{<bot>}:cache:<name>:<key>`` and ``...:<key>:guard``; ``botctl:{<bot>}:cache:<name>:epoch``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from botctl.core.errors import type_name
from botctl.core.ids import event_id
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks

V = TypeVar("V")

GUARD_S: Final = 60.0
"""How long a guard stands. What took half of it to load is not shared: its guard may have come and gone."""
MAX_NEAR: Final = 50_000
_PING_AFTER_S: Final = 0.5  # a subscription that says nothing is asked whether it is alive
_PONG_S: Final = 1.0
_BACK: Final = Backoff(first_s=0.1, limit_s=2.0)

_SHARE = """
if (redis.call('GET', KEYS[2]) or '') == ARGV[1] and (redis.call('GET', KEYS[3]) or '') == ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
  return 1
end
return 0
"""
_INVALIDATE = """
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[1])
return redis.call('PUBLISH', ARGV[3], ARGV[4])
"""

_log = logging.getLogger(__name__)


class _Near(NamedTuple):
    value: Any
    until: float


class _Stamp(NamedTuple):
    """What Redis held when a value was looked for: who brings one must still find it so."""

    guard: bytes
    epoch: bytes


class _FetchCancelled(Exception):
    """Who fetched for all was cancelled; another one has to."""


@dataclass(slots=True)
class CacheCounts:
    """``near`` and ``shared`` are hits; ``loads`` went to the loader; ``refused``: Redis had a newer guard."""

    near: int = 0
    shared: int = 0
    loads: int = 0
    refused: int = 0
    heard: int = 0


@dataclass(eq=False)
class Cache(Generic[V]):
    """Values by a string key. ``load`` gets them where they are kept; None stands for "there is nothing".

    ``name`` is one word. ``encode`` and ``decode`` make bytes of a value and back; ``decode`` raises ValueError for
    bytes it does not know. ``ttl_s``: how long a value is used without asking again, ``nothing_ttl_s``: and nothing;
    ``deadline_s``: how long Redis is waited for.
    """

    redis: Redis
    bot: str
    name: str
    tasks: Tasks
    load: Callable[[str], Awaitable[V | None]]
    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]
    ttl_s: float = 300.0
    nothing_ttl_s: float = 60.0
    deadline_s: float = 0.25
    counts: CacheCounts = field(default_factory=CacheCounts, init=False)

    def __post_init__(self) -> None:
        prefix = f"botctl:{{{self.bot}}}:"
        self._prefix = f"{prefix}cache:{self.name}:"
        self._channel = f"{prefix}invalidate"
        self._near: dict[str, _Near] = {}
        self._flights: dict[str, asyncio.Future[V | None]] = {}
        self._untold: set[str] = set()  # invalidations that Redis did not take
        self._trusted = False
        self._missed = False
        self._outage = Outage(self.tasks, _log, _BACK)
        self._share = self.redis.register_script(_SHARE)
        self._invalidate = self.redis.register_script(_INVALIDATE)

    @property
    def trusted(self) -> bool:
        """Whether invalidations are heard, so that what is remembered can be believed."""
        return self._trusted

    async def get(self, key: str) -> V | None:
        """The value of ``key``, or None when there is nothing.

        Raises:
            Exception: whatever ``load`` raised, and nothing is remembered that could stand in.
        """
        near = self._near.get(key)
        if near is not None and near.until > time.monotonic():
            self.counts.near += 1
            return cast(V | None, near.value)
        try:
            return await self._once(key)
        except Exception:
            if (near := self._near.get(key)) is None:
                raise
            return cast(V | None, near.value)  # old, and not invalidated: the best there is

    async def invalidate(self, key: str) -> None:
        """Forget ``key`` everywhere. To be called when its change is in the database. Raises nothing of Redis's.

        If Redis does not take it, it is sent again when Redis is back; this process forgets in any case.
        """
        try:
            await self._tell(key)
        except (RedisError, OSError, asyncio.CancelledError) as error:
            self._untold.add(key)
            self._distrust(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._drop(key)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Cache[V]]:
        """Hear invalidations, for as long as the block lasts; outside of it the loader is asked each time."""
        self.tasks.spawn(self._listen, name=f"invalidations of {self.name}", restart=_BACK)
        try:
            yield self
        finally:
            await self.tasks.end()
            self._forget_all()

    # --- reading ---------------------------------------------------------------------------------------------------

    async def _once(self, key: str) -> V | None:
        while (flight := self._flights.get(key)) is not None:
            try:
                return await asyncio.shield(flight)
            except _FetchCancelled:
                continue
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            value = await self._fetch(key, flight)
        except BaseException as error:
            flight.set_exception(error if isinstance(error, Exception) else _FetchCancelled())
            flight.exception()  # nobody may be waiting for it
            raise
        else:
            flight.set_result(value)
            return value
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]

    async def _fetch(self, key: str, flight: asyncio.Future[V | None]) -> V | None:
        seen = None
        if self._trusted:
            try:
                found, seen = await self._look(key)
            except (RedisError, OSError) as error:
                self._distrust(error)
            else:
                if found is not None:
                    self.counts.shared += 1
                    return self._keep(key, found[0], flight)
        began = time.monotonic()
        self.counts.loads += 1
        value = await self.load(key)
        if seen is not None and time.monotonic() - began < GUARD_S / 2:
            await self._bring(key, value, seen)
        return self._keep(key, value, flight)

    def _keep(self, key: str, value: V | None, flight: asyncio.Future[V | None]) -> V | None:
        """Remember ``value``, unless ``key`` was invalidated, or trust was lost, since the flight began."""
        if self._trusted and self._flights.get(key) is flight:
            if len(self._near) >= MAX_NEAR:
                del self._near[next(iter(self._near))]
            self._near[key] = _Near(value, time.monotonic() + self._lifetime_s(value))
        return value

    async def _look(self, key: str) -> tuple[tuple[V | None] | None, _Stamp]:
        """What is shared for ``key`` (a value in a tuple, or None), and the guard and epoch that go with it."""
        async with asyncio.timeout(self.deadline_s):
            shared, guard, epoch = cast(list[bytes | None], await self.redis.mget(self._keys(key)))
        seen = _Stamp(guard or b"", epoch or b"")
        stamp, _, data = (shared or b"").partition(b"\n")
        if shared is None or stamp != seen.epoch:
            return None, seen
        try:
            return (self.decode(data) if data else None,), seen
        except ValueError:  # of another version of botctl
            return None, seen

    async def _bring(self, key: str, value: V | None, seen: _Stamp) -> None:
        data = b"" if value is None else self.encode(value)
        arguments: list[Any] = [*seen, seen.epoch + b"\n" + data, round(self._lifetime_s(value) * 1000)]
        try:
            async with asyncio.timeout(self.deadline_s):
                taken = await self._share(keys=self._keys(key), args=arguments)
        except (RedisError, OSError) as error:
            self._distrust(error)
        else:
            self.counts.refused += not taken

    def _lifetime_s(self, value: V | None) -> float:
        return self.nothing_ttl_s if value is None else self.ttl_s

    def _keys(self, key: str) -> list[str]:
        return [self._prefix + key, f"{self._prefix}{key}:guard", self._prefix + "epoch"]

    # --- invalidation ----------------------------------------------------------------------------------------------

    async def _tell(self, key: str) -> None:
        arguments: list[Any] = [event_id(), round(GUARD_S * 1000), self._channel, f"{self.name} {key}"]
        async with asyncio.timeout(self.deadline_s):
            await self._invalidate(keys=self._keys(key)[:2], args=arguments)

    def _drop(self, key: str) -> None:
        self._near.pop(key, None)
        self._flights.pop(key, None)  # who waits for it gets the old value; who comes now fetches again

    def _forget_all(self) -> None:
        self._trusted = False
        self._near.clear()
        self._flights.clear()

    def _distrust(self, error: BaseException) -> None:
        if self._trusted:
            self._forget_all()
            self._missed = True
            self._outage.begin(f"the cache of {self.name} is not used: Redis failed ({type_name(error)})")

    async def _listen(self) -> None:
        """Hear invalidations; whenever they cannot be heard, trust nothing."""
        while True:
            try:
                async with self.redis.pubsub() as pubsub:
                    await pubsub.subscribe(self._channel)
                    await self._subscribed(pubsub)
                    while self._trusted:
                        await self._hear(pubsub)
            except (RedisError, OSError) as error:
                self._distrust(error)
            self._missed = True
            await self._outage.pause()

    async def _subscribed(self, pubsub: Any) -> None:
        while (await self._next(pubsub, _PONG_S))["type"] != "subscribe":
            pass
        if self._missed or self._untold:  # also of the time before it ran
            async with asyncio.timeout(_PONG_S):
                await self.redis.incr(self._prefix + "epoch")
            while self._untold:
                await self._tell(key := next(iter(self._untold)))
                self._untold.discard(key)
        self._forget_all()
        self._trusted, self._missed = True, False
        self._outage.end()

    async def _hear(self, pubsub: Any) -> None:
        message = await pubsub.get_message(timeout=_PING_AFTER_S)
        if message is None:
            await pubsub.ping()
            message = await self._next(pubsub, _PONG_S)
        if message["type"] == "message":
            name, _, key = message["data"].decode().partition(" ")
            if name == self.name:
                self._drop(key)
                self.counts.heard += 1

    @staticmethod
    async def _next(pubsub: Any, limit_s: float) -> dict[str, Any]:
        message = await pubsub.get_message(timeout=limit_s)
        if message is None:
            raise TimeoutError(f"the subscription said nothing for {limit_s} s")
        return cast(dict[str, Any], message)
