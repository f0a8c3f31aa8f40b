"""GCRA, the arithmetic of a limit: one integer per subject, the same in Python and in the limiter's Lua script.

The state is the *theoretical arrival time* (TAT) in integer microseconds: when the subject's allowance will be full
again. A call moves it one interval ahead; it is refused when that would lead more than ``capacity`` into the future.
Refused calls move nothing, so whoever waits ``retry_after`` is let in, and a raised limit frees people at once.

Integer microseconds, because fractional ones lose the last call of a burst. The interval is rounded up, so no window of
t seconds ever admits more than ``burst + t x count / period``.
"""

from __future__ import annotations

import functools
from typing import Final, NamedTuple

from botctl.core.contracts.throttle import Limit

US_PER_S: Final = 1_000_000


class GcraRate(NamedTuple):
    """A limit in microseconds: one call back per ``interval_us``; full after ``capacity_us``."""

    interval_us: int
    capacity_us: int


class Decision(NamedTuple):
    """``retry_after_us`` is 0 when allowed; ``tat_us`` is the state afterwards."""

    retry_after_us: int
    tat_us: int


@functools.lru_cache(maxsize=1024)
def rate(limit: Limit) -> GcraRate:
    """``limit`` as GCRA counts it."""
    interval_us = -(-round(limit.period_s * US_PER_S) // limit.count)
    return GcraRate(interval_us, interval_us * limit.burst)


def decide(tat_us: int, now_us: int, rate: GcraRate) -> Decision:
    """One call at ``now_us`` of a subject whose state is ``tat_us`` (0: never seen).

    A state further ahead than the limit itself can lead (the limit was loosened, the server's clock was set back)
    counts as "all used up", not as a longer sentence.
    """
    start_us = min(max(tat_us, now_us), now_us + rate.capacity_us)
    wait_us = start_us + rate.interval_us - rate.capacity_us - now_us
    return Decision(wait_us, tat_us) if wait_us > 0 else Decision(0, start_us + rate.interval_us)


class GcraState(NamedTuple):
    """Where a subject stands: ``left`` calls are let in at once, one more in ``retry_after_us``, all in ``full_in_us``.

    ``retry_after_us`` is 0 as long as there are some left.
    """

    left: int
    retry_after_us: int
    full_in_us: int


def state_of(tat_us: int, now_us: int, rate: GcraRate) -> GcraState:
    """Where the subject whose state is ``tat_us`` stands at ``now_us``; nothing is counted."""
    full_in_us = min(max(tat_us - now_us, 0), rate.capacity_us)
    left = (rate.capacity_us - full_in_us) // rate.interval_us
    return GcraState(left, decide(tat_us, now_us, rate).retry_after_us, full_in_us)
