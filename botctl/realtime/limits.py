"""Rate limits of the realtime server: first in memory, then for all processes in Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from botctl.core.contracts.protocols import Limiter
from botctl.core.contracts.throttle import API_SCOPES, Limit, Scope, Verdict, parse
from botctl.realtime.budgets import LocalLimits

KIND_LIMITS: Final[Mapping[str, Sequence[Limit]]] = {
    "Subscribe": parse("10/1s burst 100 per connection, 100/1s burst 2000 per key", scopes=API_SCOPES),
    "Watch": parse("2/1s burst 20 per connection, 10/1s burst 200 per key", scopes=API_SCOPES),
    "Do": parse("2/1s burst 20 per connection, 5/1s burst 50 per key", scopes=API_SCOPES),
}
"""Limits of requests of one kind that read a store, by the name of their class. In memory only."""


class PolicyLimiter:
    """The limits of one policy. What memory refuses, Redis would refuse too, and is not asked for."""

    def __init__(self, policy: str, limits: Sequence[Limit], limiter: Limiter, *, time_s: Callable[[], float]) -> None:
        self.policy = policy
        self.limits = tuple(limits)
        self._limiter = limiter
        self._local = LocalLimits(limits)
        self._kinds = {kind: LocalLimits(of_kind) for kind, of_kind in KIND_LIMITS.items()}
        self._time_s = time_s

    async def check(self, subjects: Mapping[Scope, str], *, kind: str = "") -> Verdict:
        """Count one call, of a request of ``kind``."""
        now_s = self._time_s()
        for local in (self._kinds.get(kind), self._local):
            if local is not None and not (verdict := local.check(subjects, now_s)).allowed:
                return verdict
        return await self._limiter.check_subjects(self.policy, subjects, self.limits)
