"""Write the declared policies and the counts of checks to Redis once a second.

A count is written once, or never if the process ends first.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from botctl.core.clock import Clock
from botctl.core.contracts.throttle import Limit, format_limits
from botctl.core.ids import event_id
from botctl.ratelimit import keys

EVERY_S: Final = 1.0
OTHERS: Final = "(others)"  # policies that were not declared, such as the buttons of a cog
CHECKS, DENIED = "checks ", "denied "  # prefixes of the fields of an hour's hash, before the policy
_HOUR_S: Final = 3600
_TTL_S: Final = (keys.HOURS + 1) * _HOUR_S

# KEYS: the hour's hash, the number of this writer's last batch. ARGV: the number of the batch, a TTL in seconds; then
# field and increment in turn. An earlier batch than the last one was counted: it was sent twice, and came late.
_COUNT_ONCE: Final = """
if tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(ARGV[1]) then
  return 0
end
for n = 3, #ARGV, 2 do
  if ARGV[n + 1] ~= '0' then
    redis.call('HINCRBY', KEYS[1], ARGV[n], ARGV[n + 1])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return 1
"""


@dataclass(slots=True)
class PolicyCounter:
    """Checks and denials since the last write."""

    checks: int = 0
    denied: int = 0


class _Batch(NamedTuple):
    """Counts that are counted once, however often they are sent. ``fields``: field and increment in turn."""

    number: int
    hour: str  # the key of its hash
    fields: list[Any]


class PolicyStats:
    """The statistics of one process."""

    def __init__(self, redis: Redis, bot: str, clock: Clock) -> None:
        self._redis = redis
        self._bot = bot
        self._clock = clock
        self._tables: dict[str, str] = {}  # by owner: its policies and their limits as JSON
        self._written: dict[str, str] = {}  # those of `_tables` that are in Redis
        self._counters = {OTHERS: PolicyCounter()}
        self._resets: bytes | None = None
        self._writer = event_id()
        self._numbers = itertools.count(1)
        self._batch: _Batch | None = None  # the one under way; after an error it may have arrived

    def declare(self, owner: str, policies: Mapping[str, Sequence[Limit]]) -> None:
        """Record that ``owner``, a part of botctl, has exactly these policies. The next `write` stores them."""
        table = {name: format_limits(tuple(limits)) for name, limits in policies.items()}
        self._tables[owner] = json.dumps(table)
        for name in table:
            self._counters.setdefault(name, PolicyCounter())

    def counter(self, policy: str) -> PolicyCounter:
        return self._counters.get(policy, self._counters[OTHERS])

    async def write(self) -> bool:
        """Write to Redis, and return whether an operator reset limits since the last write. Raises RedisError.

        After an error it is not known whether Redis counted. The same batch is sent again before any other.
        """
        was_reset = self._batch is not None and await self._send()
        self._batch = self._take_batch()
        return await self._send() or was_reset

    def _take_batch(self) -> _Batch:
        """The counts since the last batch."""
        fields: list[Any] = []
        for name, counter in self._counters.items():
            if counter.checks:
                fields += [CHECKS + name, counter.checks, DENIED + name, counter.denied]
                counter.checks = counter.denied = 0
        hour = keys.hour_key(self._bot, int(self._clock.now().timestamp()) // _HOUR_S)
        return _Batch(next(self._numbers), hour, fields)

    async def _send(self) -> bool:
        """Send `_batch` and the tables. Returns whether an operator reset limits since the last one that arrived."""
        assert self._batch is not None  # noqa: S101  `write` sets it
        number, hour, fields = self._batch
        tables: dict[Any, Any] = dict(self._tables.items() - self._written.items())
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(keys.resets_key(self._bot))
            pipe.exists(keys.policies_key(self._bot))
            if tables:
                pipe.hset(keys.policies_key(self._bot), mapping=tables)
            if fields:
                pipe.eval(_COUNT_ONCE, 2, hour, keys.writer_key(self._bot, self._writer), number, _TTL_S, *fields)
            resets, kept, *_ = await pipe.execute()
        self._batch = None
        self._written = (self._written if kept else {}) | tables  # a Redis that lost its data gets all tables again
        before, self._resets = self._resets, resets or b""
        return before is not None and before != self._resets
