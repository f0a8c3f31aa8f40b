"""How much work a peer may cause, counted in memory. Pure: the caller gives the time, in seconds on one clock.

A connection pays for each frame, for the bytes of what arrives, and for each read, since all of them take time of the
event loop, whatever is in them. Before it has a key it has one small budget for its whole life. The connections of one
address share a larger one; when others have used that up, a connection still has a little of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from botctl.core.contracts.throttle import GLOBAL_SUBJECT, Limit, Scope, Verdict

MAX_SUBJECTS: Final = 65_536
"""How many addresses, keys and so on are remembered; the one that was seen longest ago is forgotten."""
FRAME_UNITS: Final = 1.0
_BYTES_PER_UNIT: Final = 2048
_READS_PER_UNIT: Final = 8
_ROUNDING: Final = 1e-6
_UNLIMITED_MESSAGES: Final = Limit(200, 1.0, Scope.CONNECTION, 1000)  # of the budget, where the settings have no limit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refill:
    """``burst`` units at once, and ``per_s`` more each second."""

    per_s: float
    burst: float


class TokenBucket:
    """The units that are left of a `Refill`."""

    __slots__ = ("_left", "_refill", "_updated_s")

    def __init__(self, refill: Refill, now_s: float) -> None:
        self._refill = refill
        self._left = refill.burst
        self._updated_s = now_s

    def take(self, units: float, now_s: float) -> bool:
        """Take ``units`` if there are that many; else none."""
        if self.missing(units, now_s) > 0:
            return False
        self._left -= units
        return True

    def missing(self, units: float, now_s: float) -> float:
        """Return how many of ``units`` are not there at ``now_s``; 0 if all are."""
        elapsed_s = max(0.0, now_s - self._updated_s)
        self._updated_s = max(now_s, self._updated_s)
        self._left = min(self._refill.burst, self._left + elapsed_s * self._refill.per_s)
        missing = units - self._left
        return missing if missing > _ROUNDING else 0.0

    def wait_s(self, units: float, now_s: float) -> float:
        """Return after how many seconds ``units`` are there."""
        missing = self.missing(units, now_s)
        return missing / self._refill.per_s if missing else 0.0


class RecentlyUsed(Generic[T]):
    """At most ``max_size`` values by key; the one that was used longest ago is dropped."""

    def __init__(self, max_size: int = MAX_SUBJECTS) -> None:
        self._max_size = max_size
        self._values: OrderedDict[object, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: object) -> T | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: object, value: T) -> T:
        self._values[key] = value
        if len(self._values) > self._max_size:
            self._values.popitem(last=False)
        return value


class Buckets:
    """One `TokenBucket` for each subject."""

    def __init__(self, refill: Refill, *, max_subjects: int = MAX_SUBJECTS) -> None:
        self._refill = refill
        self._buckets: RecentlyUsed[TokenBucket] = RecentlyUsed(max_subjects)

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, subject: str, now_s: float) -> TokenBucket:
        bucket = self._buckets.get(subject)
        return bucket or self._buckets.put(subject, TokenBucket(self._refill, now_s))


class LocalLimits:
    """Counts calls against ``limits`` in this process, so that a call over a limit costs no call to a store."""

    def __init__(self, limits: Sequence[Limit], *, max_subjects: int = MAX_SUBJECTS) -> None:
        self._limits = tuple(limits)
        self._buckets = [Buckets(_refill(limit), max_subjects=max_subjects) for limit in limits]

    def check(self, subjects: Mapping[Scope, str], now_s: float) -> Verdict:
        """Count one call of ``subjects`` against all limits, or against none if one is used up."""
        counted: list[TokenBucket] = []
        longest = Verdict(True)
        for limit, buckets in zip(self._limits, self._buckets, strict=True):
            subject = GLOBAL_SUBJECT if limit.scope is Scope.GLOBAL else subjects.get(limit.scope)
            if subject is None:
                continue
            bucket = buckets.of(subject, now_s)
            counted.append(bucket)
            wait_s = bucket.wait_s(1, now_s)
            if wait_s > longest.retry_after_s:
                longest = Verdict(False, wait_s, limit, "local")
        if longest.allowed:
            for bucket in counted:
                bucket.take(1, now_s)
        return longest


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """The units of work for a connection (``own``), for all of its address (``shared``), and what a connection has
    when that is used up (``reserved``).
    """

    own: Refill
    shared: Refill
    reserved: Refill


BEFORE_KEY: Final = WorkLimits(own=Refill(0, 32), shared=Refill(100, 2000), reserved=Refill(0, 8))
"""For a connection without a key: 32 frames or 64 KiB in all, the HTTP request included."""


def limits_with_key(messages: Sequence[Limit], message_bytes: int) -> WorkLimits:
    """The budget of a connection with a key: at least twice what the limits of ``messages`` allow, of the largest size.

    So no client that keeps to those is ever over the budget.
    """
    largest = FRAME_UNITS + read_units(message_bytes)
    allowed = messages or (_UNLIMITED_MESSAGES,)
    per_s = max(100.0, 2 * largest * max(limit.count / limit.period_s for limit in allowed))
    burst = max(500.0, 2 * largest * max(limit.burst for limit in allowed))
    return WorkLimits(own=Refill(per_s, burst), shared=Refill(5 * per_s, 5 * burst), reserved=Refill(5, 50))


def read_units(size_bytes: int) -> float:
    """The units of one read of ``size_bytes``."""
    return 1 / _READS_PER_UNIT + size_bytes / _BYTES_PER_UNIT


class WorkBudget:
    """What one connection may still cost."""

    __slots__ = ("_own", "_reserved", "_shared")

    def __init__(self, limits: WorkLimits, shared: TokenBucket | None, now_s: float) -> None:
        """``shared``: that of the address; None while it is not known."""
        self._own = TokenBucket(limits.own, now_s)
        self._reserved = TokenBucket(limits.reserved, now_s)
        self._shared = shared

    def share(self, shared: TokenBucket) -> None:
        """Use the budget of the address from now on."""
        self._shared = shared

    def spend(self, units: float, now_s: float) -> bool:
        """Pay for ``units`` of work; False if the budget does not allow it."""
        if not self._own.take(units, now_s):
            return False
        return self._shared is None or self._shared.take(units, now_s) or self._reserved.take(units, now_s)


def _refill(limit: Limit) -> Refill:
    return Refill(limit.count / limit.period_s, limit.burst)
