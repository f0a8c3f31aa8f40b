"""What policies there are and how often they are asked, on its way to Redis once a second. Counts may be lost."""

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
OTHERS: Final = "(others)"
"""Policies that nobody declared, a cog's own buttons for example: counted together, for their names may be anything."""
CHECKS, DENIED = "checks ", "denied "
_HOUR_S: Final = 3600


@dataclass(slots=True)
class PolicyCounter:
    """Since the last time it was written down."""

    checks: int = 0
    denied: int = 0


class PolicyStats:
    """The books of one process."""

    def __init__(self, redis: Redis, bot: str, clock: Clock) -> None:
        self._redis = redis
        self._bot = bot
        self._clock = clock
        self._tables: dict[str, str] = {}
        self._written: dict[str, str] = {}  # of those, what is in Redis
        self._tallies = {OTHERS: PolicyCounter()}
        self._resets: bytes | None = None

    def declare(self, owner: str, policies: Mapping[str, Sequence[Limit]]) -> None:
        """``owner`` has these policies, and no others. What has been told already is not told again."""
        table = {keys.shown(name): format_limits(tuple(limits)) for name, limits in policies.items()}
        self._tables[owner] = json.dumps(table)
        for name in table:
            self._tallies.setdefault(name, PolicyCounter())

    def tally(self, policy: str) -> PolicyCounter:
        """Where ``policy`` is counted."""
        return self._tallies.get(keys.shown(policy), self._tallies[OTHERS])

    async def write(self) -> bool:
        """Bring Redis up to date, in one round trip; whether somebody's limits were reset since the last time.

        Raises:
            RedisError: it does not answer; what is not written then is written later.
        """
        hour = keys.hour_key(self._bot, int(self._clock.now().timestamp()) // _HOUR_S)
        counted = {name: (t.checks, t.denied) for name, t in self._tallies.items() if t.checks}
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
            self._tallies[name].checks -= checks
            self._tallies[name].denied -= denied
        self._written = (self._written if kept else {}) | tables  # a Redis that lost its data is told again
        before, self._resets = self._resets, resets or b""
        return before is not None and before != self._resets
