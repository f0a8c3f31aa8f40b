"""The decisions of a lease: when a contender may take it over, and how long its holder may believe in it.

Nobody compares clocks. A holder believes in its lease until ``ttl_s`` less a margin after it *sent* the last renewal
that was confirmed. A contender takes over what it has seen unchanged for a whole ``ttl_s`` after it *received* it for
the first time, and only if it is unchanged still. What was received had been sent before, so the holder has stopped
believing by then, however long messages travel and processes pause. The margin covers clocks that do not run equally
fast.

Nothing here awaits or reads a clock: ``now_s`` is the caller's own monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from botctl.core.contracts.lease import RENEWALS

MARGIN: Final = 1 / 6  # of the ttl: how much earlier than a contender the holder gives up


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease as the store has it. ``beats`` counts renewals: while it and ``fence`` stay, nobody has renewed."""

    fence: int
    beats: int
    free: bool
    ttl_s: float
    holder: str


class Candidate:
    """Watches a lease, to take it when it is free or its holder is gone."""

    def __init__(self) -> None:
        self._mark: LeaseRecord | None = None
        self._since_s = 0.0

    def seen(self, mark: LeaseRecord, received_at_s: float) -> None:
        """Take notice of what the store said; ``received_at_s``: when its answer was here."""
        if mark != self._mark:
            self._mark, self._since_s = mark, received_at_s

    def may_take(self, now_s: float) -> bool:
        """Whether what was seen last may be taken over, if the store still has it."""
        return self.due_in_s(now_s) <= 0

    def due_in_s(self, now_s: float) -> float:
        """Seconds until it may be taken, if its holder does not renew it meanwhile."""
        if self._mark is None:
            return float("inf")
        return 0.0 if self._mark.free else self._since_s + self._mark.ttl_s - now_s


@dataclass(slots=True)
class LeaseState:
    """A holder's belief in its lease. ``sent_at_s``: when it sent what made it the holder."""

    ttl_s: float
    sent_at_s: float

    def renewed(self, sent_at_s: float) -> None:
        """A renewal that was sent at ``sent_at_s`` is confirmed. One that comes too late changes nothing."""
        self.sent_at_s = max(self.sent_at_s, sent_at_s)

    def holds(self, now_s: float) -> bool:
        """Whether it may still act as the holder."""
        return now_s < self.ends_at_s

    @property
    def ends_at_s(self) -> float:
        """When it ends, unless it is renewed."""
        return self.sent_at_s + self.ttl_s * (1 - MARGIN)

    @property
    def renew_every_s(self) -> float:
        """How long to wait between renewals."""
        return self.ttl_s / RENEWALS
