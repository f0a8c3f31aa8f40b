"""A two-layer cache with invalidation. Reads take microseconds.

*Near* is a dict of this process, used only while the subscription to invalidations is alive. *Shared* is Redis, with a
time to live. Concurrent reads of a key share one fetch. A missing value is cached, too. While Redis does not answer,
neither layer is used and every read calls the loader.

A writer first changes the database, then calls `Cache.invalidate`. That sets the key's *guard* to a new random value,
deletes the shared value, and notifies every process. A reader that loaded the value before has the old guard, so Redis
rejects its value; a reader in the same process does not store it.

A process that lost Redis may have missed invalidations, or failed to send them. When Redis is back, it starts a new
*epoch* (a number): shared values of earlier epochs are no longer used. One risk is left: if a process changes a value
without Redis, and is killed before Redis is back, the old value stays shared until it expires.

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
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.ids import event_id
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks

V = TypeVar("V")

GUARD_S: Final = 60.0
"""How long a guard lives. A value that took half of it to load is not shared: its guard may have expired."""
CACHE_TIMEOUT_S: Final = 0.25
MAX_NEAR: Final = 50_000  # values in the near layer
_PING_INTERVAL_S: Final = 0.5  # after this silence of the subscription, send a PING
_PONG_FACTOR: Final = 4  # a reply to the subscription may take so many times the timeout of a call
_BACKOFF: Final = Backoff(first_s=0.1, limit_s=2.0)

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


class _NearEntry(NamedTuple):
    value: Any
    expires_at_s: float  # on the monotonic clock


class _Stamp(NamedTuple):
    """Guard and epoch (see the module) in Redis at the time of the read. A write needs both to be unchanged."""

    guard: bytes
    epoch: bytes


class _FetchCancelled(Exception):
    """The reader that fetched for all waiting readers was cancelled. Another one must fetch."""


@dataclass(slots=True)
class CacheCounts:
    """Counters of one cache. ``near`` and ``shared`` are hits in the two layers."""

    near: int = 0
    shared: int = 0
    loads: int = 0  # calls of the loader
    rejected: int = 0  # shared writes that Redis rejected, because it had a newer guard
    invalidations: int = 0  # received invalidations


@dataclass(eq=False)
class Cache(Generic[V]):
    """Values by a string key. None means that there is no value."""

    redis: Redis
    bot: str
    name: str  # one word
    tasks: Tasks
    load: Callable[[str], Awaitable[V | None]]
    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]  # raises ValueError for bytes of an unknown format
    ttl_s: float = 300.0
    negative_ttl_s: float = 60.0  # for None
    timeout_s: float = CACHE_TIMEOUT_S  # of one call to Redis
    counts: CacheCounts = field(default_factory=CacheCounts, init=False)

    def __post_init__(self) -> None:
        prefix = f"botctl:{{{self.bot}}}:"
        self._prefix = f"{prefix}cache:{self.name}:"
        self._pong_timeout_s = _PONG_FACTOR * self.timeout_s
        self._channel = f"{prefix}invalidate"
        self._near: dict[str, _NearEntry] = {}
        self._pending: dict[str, asyncio.Future[V | None]] = {}
        self._unsent: set[str] = set()  # keys whose invalidation did not reach Redis
        self._trusted = False
        self._missed = False
        self._outage = Outage(self.tasks, _log, _BACKOFF)
        self._share = self.redis.register_script(_SHARE)
        self._invalidate = self.redis.register_script(_INVALIDATE)

    @property
    def trusted(self) -> bool:
        """Whether the subscription to invalidations is alive, so that cached values can be used."""
        return self._trusted

    async def get(self, key: str) -> V | None:
        """The value of ``key``, or None. Raises what ``load`` raises, if not even an expired value is cached."""
        near = self._near.get(key)
        if near is not None and near.expires_at_s > time.monotonic():
            self.counts.near += 1
            return cast(V | None, near.value)
        try:
            return await self._get_by_one_fetch(key)
        except Exception:
            if (near := self._near.get(key)) is None:
                raise
            return cast(V | None, near.value)  # expired, but not invalidated

    async def invalidate(self, key: str) -> None:
        """Remove ``key`` from the caches of all processes. Call it after the change is in the database.

        If Redis fails, this process removes the key and sends the invalidation when Redis is back.
        """
        try:
            await self._send_invalidation(key)
        except (RedisError, OSError, asyncio.CancelledError) as error:
            self._unsent.add(key)
            self._on_redis_error(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._remove_near(key)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Cache[V]]:
        """Subscribe to invalidations until the block ends. Without it every read calls the loader."""
        self.tasks.spawn(self._listen, name=f"invalidations of {self.name}", restart=_BACKOFF)
        try:
            yield self
        finally:
            await self.tasks.cancel()
            self._clear_near()

    async def _get_by_one_fetch(self, key: str) -> V | None:
        """Fetch ``key``, or wait for the fetch that another reader has begun."""
        while (pending := self._pending.get(key)) is not None:
            try:
                return await asyncio.shield(pending)
            except _FetchCancelled:
                continue
        pending = self._pending[key] = asyncio.get_running_loop().create_future()
        try:
            value = await self._fetch(key, pending)
        except BaseException as error:
            pending.set_exception(error if isinstance(error, Exception) else _FetchCancelled())
            pending.exception()  # there may be no waiter
            raise
        else:
            pending.set_result(value)
            return value
        finally:
            if self._pending.get(key) is pending:
                del self._pending[key]

    async def _fetch(self, key: str, pending: asyncio.Future[V | None]) -> V | None:
        """Read ``key`` from Redis, else with ``load``, and cache it."""
        stamp = None
        if self._trusted:
            try:
                shared, stamp = await self._read_shared(key)
            except (RedisError, OSError) as error:
                self._on_redis_error(error)
            else:
                if shared is not None:
                    self.counts.shared += 1
                    return self._remember(key, shared[0], pending)
        began = time.monotonic()
        self.counts.loads += 1
        value = await self.load(key)
        if stamp is not None and time.monotonic() - began < GUARD_S / 2:
            await self._write_shared(key, value, stamp)
        return self._remember(key, value, pending)

    def _remember(self, key: str, value: V | None, pending: asyncio.Future[V | None]) -> V | None:
        """Cache ``value``, unless ``key`` was invalidated or Redis failed since the fetch began."""
        if self._trusted and self._pending.get(key) is pending:
            if len(self._near) >= MAX_NEAR:
                del self._near[next(iter(self._near))]
            self._near[key] = _NearEntry(value, time.monotonic() + self._lifetime_s(value))
        return value

    async def _read_shared(self, key: str) -> tuple[tuple[V | None] | None, _Stamp]:
        """The shared value of ``key`` in a tuple, or None; and the current guard and epoch."""
        async with LoopTimeout(self.timeout_s), self.redis.pipeline(transaction=False) as pipe:
            pipe.mget(self._keys(key))
            pipe.pttl(self._prefix + key)
            (shared, guard, epoch), ttl_ms = cast(tuple[list[bytes | None], int], await pipe.execute())
        stamp = _Stamp(guard or b"", epoch or b"")
        stored_epoch, _, data = (shared or b"").partition(b"\n")
        if shared is None or stored_epoch != stamp.epoch or ttl_ms > self.ttl_s * 1000:
            return None, stamp  # one that lives longer than it may was stored while the clock of Redis was ahead
        try:
            return (self.decode(data) if data else None,), stamp
        except ValueError:  # written by another version of botctl
            return None, stamp

    async def _write_shared(self, key: str, value: V | None, stamp: _Stamp) -> None:
        """Write ``value`` to Redis, which rejects it if ``stamp`` is out of date."""
        data = b"" if value is None else self.encode(value)
        arguments: list[Any] = [*stamp, stamp.epoch + b"\n" + data, round(self._lifetime_s(value) * 1000)]
        try:
            async with LoopTimeout(self.timeout_s):
                accepted = await self._share(keys=self._keys(key), args=arguments)
        except (RedisError, OSError) as error:
            self._on_redis_error(error)
        else:
            self.counts.rejected += not accepted

    def _lifetime_s(self, value: V | None) -> float:
        return self.negative_ttl_s if value is None else self.ttl_s

    def _keys(self, key: str) -> list[str]:
        return [self._prefix + key, f"{self._prefix}{key}:guard", self._prefix + "epoch"]

    async def _send_invalidation(self, key: str) -> None:
        arguments: list[Any] = [event_id(), round(GUARD_S * 1000), self._channel, f"{self.name} {key}"]
        async with LoopTimeout(self.timeout_s):
            await self._invalidate(keys=self._keys(key)[:2], args=arguments)

    def _remove_near(self, key: str) -> None:
        self._near.pop(key, None)
        self._pending.pop(key, None)  # its waiters get the old value, later readers fetch again

    def _clear_near(self) -> None:
        self._trusted = False
        self._near.clear()
        self._pending.clear()

    def _on_redis_error(self, error: BaseException) -> None:
        if self._trusted:
            self._clear_near()
            self._missed = True
            self._outage.begin(f"the cache of {self.name} is not used: Redis failed ({type_name(error)})", error)

    async def _listen(self) -> None:
        """Receive invalidations. While that fails, the cache is not used."""
        while True:
            try:
                async with self.redis.pubsub() as pubsub:
                    await pubsub.subscribe(self._channel)
                    await self._start_subscription(pubsub)
                    while self._trusted:
                        await self._receive(pubsub)
            except (RedisError, OSError) as error:
                self._on_redis_error(error)
            self._missed = True
            await self._outage.pause()

    async def _start_subscription(self, pubsub: Any) -> None:
        """Wait for the confirmation, start an epoch if invalidations were missed, and use the cache again."""
        while (await self._next_message(pubsub, self._pong_timeout_s))["type"] != "subscribe":
            pass
        if self._missed or self._unsent:  # also before the first subscription
            async with LoopTimeout(self._pong_timeout_s):
                await self.redis.incr(self._prefix + "epoch")
            while self._unsent:
                await self._send_invalidation(key := next(iter(self._unsent)))
                self._unsent.discard(key)
        self._clear_near()
        self._trusted, self._missed = True, False
        self._outage.end()

    async def _receive(self, pubsub: Any) -> None:
        """Handle one message; if there is none, check with a PING that the subscription is alive."""
        message = await pubsub.get_message(timeout=_PING_INTERVAL_S)
        if message is None:
            await pubsub.ping()
            message = await self._next_message(pubsub, self._pong_timeout_s)
        if message["type"] == "message":
            name, _, key = message["data"].decode().partition(" ")
            if name == self.name:
                self._remove_near(key)
                self.counts.invalidations += 1

    @staticmethod
    async def _next_message(pubsub: Any, limit_s: float) -> dict[str, Any]:
        message = await pubsub.get_message(timeout=limit_s)
        if message is None:
            raise TimeoutError(f"the subscription was silent for {limit_s} s")
        return cast(dict[str, Any], message)
