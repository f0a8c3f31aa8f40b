"""The rules of a lease (a lock that expires): when it ends for its holder, and when a candidate may take it over.

No two clocks are compared. For the holder, the lease expires ``ttl_s`` minus a margin after it *sent* the last
confirmed renewal. A candidate takes over when it has seen the same record for a full ``ttl_s``, counted from when it
first *received* that record. The holder counts from the sending, the candidate from the later receipt. So the holder's
time ends first, in spite of slow messages and paused processes. The margin allows for clocks of different speeds.

Nothing here awaits or reads a clock: ``now_s`` is the caller's monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from botctl.core.contracts.lease import RENEWALS

MARGIN: Final = 1 / 6  # of the ttl: how much earlier the lease expires for its holder


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease in the store. ``fence`` counts holders, ``beats`` counts renewals; see `leases` for the other fields."""

    fence: int
    beats: int
    free: bool
    ttl_s: float
    holder: str


class Candidate:
    """Watches a lease that another process may hold, and decides when to take it."""

    def __init__(self) -> None:
        self._record: LeaseRecord | None = None
        self._since_s = 0.0

    def observe(self, record: LeaseRecord, received_at_s: float) -> None:
        """Compare ``record``, which was received at ``received_at_s``, with the one before."""
        if record != self._record:
            self._record, self._since_s = record, received_at_s

    def can_take(self, now_s: float) -> bool:
        """Whether the lease may be taken, if the store still has the same record."""
        return self.available_in_s(now_s) <= 0

    def available_in_s(self, now_s: float) -> float:
        """Seconds until it may be taken, if its holder does not renew it."""
        if self._record is None:
            return float("inf")
        return 0.0 if self._record.free else self._since_s + self._record.ttl_s - now_s


@dataclass(slots=True)
class LeaseState:
    """A lease as its holder sees it. ``sent_at_s``: when it sent the last confirmed write."""

    ttl_s: float
    sent_at_s: float

    def renewed(self, sent_at_s: float) -> None:
        """Record that the renewal sent at ``sent_at_s`` is confirmed. An older one has no effect."""
        self.sent_at_s = max(self.sent_at_s, sent_at_s)

    def is_valid(self, now_s: float) -> bool:
        """Whether the holder may still act as such."""
        return now_s < self.expires_at_s

    @property
    def expires_at_s(self) -> float:
        return self.sent_at_s + self.ttl_s * (1 - MARGIN)

    @property
    def renew_every_s(self) -> float:
        return self.ttl_s / RENEWALS
