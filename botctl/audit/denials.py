"""Merge equal denials of one minute into one entry, so that many calls cannot flood the log. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from botctl.core.contracts.audit_entry import AuditEntry, AuditOutcome, Change, Principal, Stage

WINDOW_S = 60
MAX_SUBJECTS = 10_000  # counters at once
OTHERS = "*"  # the actor of a denial for which there is no free counter

_Key = tuple[int, str, str | None, str, str | None]  # minute, actor, guild, action, reason


@dataclass(slots=True)
class _Counter:
    first: AuditEntry
    times: int = 0


class DenialAggregator:
    """Counts denials by minute, actor, guild, action and reason. A killed process loses those of the last minute."""

    def __init__(self, *, max_subjects: int = MAX_SUBJECTS) -> None:
        self._max_subjects = max_subjects
        self._counters: dict[_Key, _Counter] = {}

    def __len__(self) -> int:
        return len(self._counters)

    @staticmethod
    def counts(entry: AuditEntry) -> bool:
        """Whether ``entry`` is counted here, because it is the end of an action that was denied."""
        return entry.outcome is AuditOutcome.DENIED and entry.stage is Stage.END

    def add(self, entry: AuditEntry) -> None:
        counter = self._counters.get(_key(entry))
        if counter is None and len(self._counters) >= self._max_subjects:
            entry = replace(entry, actor=Principal(entry.actor.type, OTHERS))
            counter = self._counters.get(_key(entry))
        if counter is None:
            counter = self._counters[_key(entry)] = _Counter(entry)
        counter.times += 1

    def due_s(self, now: datetime) -> float | None:
        """Seconds until the oldest counted minute is over; None if nothing was counted."""
        if not self._counters:
            return None
        oldest, *_ = next(iter(self._counters))
        if oldest > _minute(now):  # the clock was ahead
            return 0.0
        return max(0.0, (oldest + 1) * WINDOW_S - now.timestamp())

    def take(self, now: datetime | None = None) -> list[AuditEntry]:
        """Remove and return the entries of all minutes that are over at ``now``; of all minutes if it is None.

        A later minute than that of ``now`` is over, too: it was counted while the clock was ahead.
        """
        ended = [key for key in self._counters if now is None or key[0] != _minute(now)]
        return [_counted(self._counters.pop(key)) for key in ended]


def _minute(at: datetime) -> int:
    return int(at.timestamp()) // WINDOW_S


def _key(entry: AuditEntry) -> _Key:
    return (_minute(entry.at), entry.actor.id, entry.guild, entry.action, entry.reason)


def _counted(counter: _Counter) -> AuditEntry:
    """The entry of the first denial, with the number of all denials that were counted with it."""
    return replace(counter.first, changes=(Change("times", None, counter.times),))
