"""The age of an interaction on Discord's clock, which this host's clock may differ from by hours.

An interaction's id contains the time at which Discord made it. What is learnt is the distance from a clock of this host
that cannot be set (`boot_ticks`) to Discord's clock, from two sources:

- Each id that arrives was made before it arrived. So Discord's clock shows at least the time in the id. This is
  exact but for the fastest way here, some 50 ms, and cannot be wrong: it is the clock that the ages are counted on.
  The ids of a backlog are all learnt before the first of it is handled, so its newest id dates the others.
- The ``Date`` of an answer, in whole seconds, for which botctl asks at the start, from time to time, and when something
  seems to be too old. Without it, a backlog that is the first thing to arrive would look new.

Only a lower bound of the distance is kept for each source, so an age is never too high by more than Discord's own
clocks differ: no interaction is refused that could still be answered. The bounds sink by `DRIFT` with time, because
quartz clocks drift apart; answers with a ``Date`` lower them as well. The higher one counts, until ids have been known
for `TRUST_IDS_AFTER_S`; then only theirs does, since a server's ``Date`` may be wrong. If a host was suspended, its
ticks may have stood still; both sources repair that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

DISCORD_EPOCH_S: Final = 1_420_070_400.0
"""Discord: Reference > Snowflakes."""
DRIFT: Final = 5e-4
"""Seconds per second. The kernel slews a clock by 0.05 % at most."""
TRUST_IDS_AFTER_S: Final = 60.0
"""By then a backlog has been read, and its newest id with it."""
_DATE_STEP_S: Final = 1.0  # a Date has whole seconds, rounded down

Ticks = Callable[[], float]


def boot_ticks() -> float:
    """Seconds since the boot, a clock that cannot be set. On Linux they also count while the host is suspended."""
    return time.clock_gettime(_CLOCK)


_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(slots=True)
class _Bound:
    """How far Discord's clock is ahead of the ticks, at least."""

    ahead_s: float = -math.inf
    learnt_s: float = 0.0

    def at(self, now_s: float) -> float:
        return self.ahead_s - DRIFT * max(0.0, now_s - self.learnt_s)

    def raise_to(self, ahead_s: float, now_s: float) -> None:
        if ahead_s > self.at(now_s):
            self.ahead_s, self.learnt_s = ahead_s, now_s

    def lower_to(self, ahead_s: float, now_s: float) -> None:
        if ahead_s < self.at(now_s):
            self.ahead_s, self.learnt_s = ahead_s, now_s


class DiscordClock:
    """Learns Discord's time and tells ages. ``ticks``: a clock of this host, in seconds, that is never set."""

    def __init__(self, ticks: Ticks = boot_ticks) -> None:
        self.ticks = ticks
        self._by_ids = _Bound()
        self._by_dates = _Bound()
        self._ids_since_s = math.inf

    def age_s(self, snowflake: int) -> float:
        """How long ago Discord made ``snowflake``, at least; 0 while nothing is known."""
        now_s = self.ticks()
        return max(0.0, now_s + self._ahead(now_s) - created_s(snowflake))

    def learn_id(self, snowflake: int) -> None:
        """Learn from an id that has just arrived."""
        now_s = self.ticks()
        self._ids_since_s = min(self._ids_since_s, now_s)
        self._by_ids.raise_to(created_s(snowflake) - now_s, now_s)

    def learn_date(self, date: str, sent_s: float) -> None:
        """Learn from the ``Date`` of an answer that has just arrived to a request sent at ``sent_s`` (ticks).

        A text that is no date is ignored. Once ids are known, a date only lowers what is believed: a server whose clock
        is ahead of the ids must not make all of them look old.
        """
        now_s = self.ticks()
        try:
            date_s = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        if self._ids_since_s == math.inf:
            self._by_dates.raise_to(date_s - now_s, now_s)
        for bound in (self._by_ids, self._by_dates):
            bound.lower_to(date_s + _DATE_STEP_S - sent_s, now_s)

    def _ahead(self, now_s: float) -> float:
        by_ids = self._by_ids.at(now_s)
        return by_ids if now_s - self._ids_since_s >= TRUST_IDS_AFTER_S else max(by_ids, self._by_dates.at(now_s))


def created_s(snowflake: int) -> float:
    """The Unix time of an id, in seconds on Discord's clock."""
    return (snowflake >> 22) / 1000 + DISCORD_EPOCH_S
