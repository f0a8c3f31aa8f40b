"""Write the declared policies and the counts of checks to Redis once a second. Counts may be lost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from botctl.core.clock import Clock
from botctl.core.contracts.throttle import Limit, format_limits
from botctl.ratelimit import keys

EVERY_S: Final = 1.0
OTHERS: Final = "(others)"  # policies that were not declared, such as the buttons of a cog
CHECKS, DENIED = "checks ", "denied "  # prefixes of the fields of an hour's hash, before the policy
_HOUR_S: Final = 3600


@dataclass(slots=True)
class PolicyCounter:
    """Checks and denials since the last write."""

    checks: int = 0
    denied: int = 0


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

    def declare(self, owner: str, policies: Mapping[str, Sequence[Limit]]) -> None:
        """Record that ``owner``, a part of botctl, has exactly these policies. The next `write` stores them."""
        table = {name: format_limits(tuple(limits)) for name, limits in policies.items()}
        self._tables[owner] = json.dumps(table)
        for name in table:
            self._counters.setdefault(name, PolicyCounter())

    def counter(self, policy: str) -> PolicyCounter:
        return self._counters.get(policy, self._counters[OTHERS])

    async def write(self) -> bool:
        """Write to Redis, and return whether an operator reset limits since the last write. Raises RedisError."""
        hour = keys.hour_key(self._bot, int(self._clock.now().timestamp()) // _HOUR_S)
        counted = {name: (counter.checks, counter.denied) for name, counter in self._counters.items() if counter.checks}
        tables: dict[Any, Any] = dict(self._tables.items() - self._written.items())
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.get(keys.resets_key(self._bot))
            pipe.exists(keys.policies_key(self._bot))
            if tables:
                pipe.hset(keys.policies_key(self._bot), mapping=tables)
            for name, (checks, denied) in counted.items():
                pipe.hincrby(hour, CHECKS + name, checks)
                if denied:
                    pipe.hincrby(hour, DENIED + name, denied)
            if counted:
                pipe.expire(hour, (keys.HOURS + 1) * _HOUR_S)
            resets, kept, *_ = await pipe.execute()
        for name, (checks, denied) in counted.items():
            self._counters[name].checks -= checks
            self._counters[name].denied -= denied
        self._written = (self._written if kept else {}) | tables  # a Redis that lost its data gets all tables again
        before, self._resets = self._resets, resets or b""
        return before is not None and before != self._resets
