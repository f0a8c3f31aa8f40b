"""GCRA (generic cell rate algorithm), which decides rate limits. Python and the limiter's Lua script compute the same.

The state is one integer per subject (a user, a guild, ...), the *theoretical arrival time* (TAT) in microseconds: when
all its calls are available again. A call moves it one interval ahead, and is denied if it would then be more than
``capacity`` in the future. A denied call does not move it, so a caller that waits ``retry_after`` is admitted.

The interval is a whole number, since rounding errors would deny the last call of a burst. It is rounded up, so no
window of t seconds ever admits more than ``burst + t x count / period``.
"""

from __future__ import annotations

import functools
from typing import Final, NamedTuple

from botctl.core.contracts.throttle import Limit

US_PER_S: Final = 1_000_000


class GcraRate(NamedTuple):
    """A limit in microseconds: one call becomes free per ``interval_us``, all of them after ``capacity_us``."""

    interval_us: int
    capacity_us: int


class Decision(NamedTuple):
    """``retry_after_us`` is 0 if allowed; ``tat_us`` is the new state."""

    retry_after_us: int
    tat_us: int


@functools.lru_cache(maxsize=1024)
def rate(limit: Limit) -> GcraRate:
    """``limit`` in microseconds."""
    interval_us = -(-round(limit.period_s * US_PER_S) // limit.count)
    return GcraRate(interval_us, interval_us * limit.burst)


def decide(tat_us: int, now_us: int, rate: GcraRate) -> Decision:
    """Decide one call at ``now_us`` of a subject with the state ``tat_us`` (0: no state).

    A state further ahead than the limit allows (the limit was changed, or the clock set back) is not believed: this
    call turns it into "all calls used", so the wait is not longer than after the last allowed call.
    """
    tat_us = min(tat_us, now_us + rate.capacity_us)
    start_us = max(tat_us, now_us)
    wait_us = start_us + rate.interval_us - rate.capacity_us - now_us
    return Decision(wait_us, tat_us) if wait_us > 0 else Decision(0, start_us + rate.interval_us)


class GcraState(NamedTuple):
    """``left`` calls are allowed now, one more in ``retry_after_us`` (0 while some are left), all in ``full_in_us``."""

    left: int
    retry_after_us: int
    full_in_us: int


def current_state(tat_us: int, now_us: int, rate: GcraRate) -> GcraState:
    """The allowance at ``now_us`` of the subject with the state ``tat_us``. Counts no call."""
    full_in_us = min(max(tat_us - now_us, 0), rate.capacity_us)
    left = (rate.capacity_us - full_in_us) // rate.interval_us
    return GcraState(left, decide(tat_us, now_us, rate).retry_after_us, full_in_us)
