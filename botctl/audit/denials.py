"""Refusals, counted: one entry per person, policy and minute, so that a flood of calls cannot flood the log. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from botctl.core.contracts.audit_entry import AuditEntry, AuditOutcome, Change, Principal, Stage

WINDOW_S = 60
MAX_SUBJECTS = 10_000
EVERYBODY_ELSE = "*"
"""Who stands in the entry of those who came when `MAX_SUBJECTS` were already being counted."""

_Key = tuple[int, str, str | None, str, str | None]


@dataclass(slots=True)
class _Counter:
    first: AuditEntry
    times: int = 0


class DenialAggregator:
    """What was refused, by minute, actor, guild, action and reason, until its minute is over.

    Kept in memory meanwhile; a process that is killed forgets at most the refusals of the last minute.
    """

    def __init__(self, *, max_subjects: int = MAX_SUBJECTS) -> None:
        self._max_subjects = max_subjects
        self._tallies: dict[_Key, _Counter] = {}

    def __len__(self) -> int:
        return len(self._tallies)

    @staticmethod
    def counts(entry: AuditEntry) -> bool:
        """Whether ``entry`` is one of those that are counted: the end of an action that was refused."""
        return entry.outcome is AuditOutcome.DENIED and entry.stage is Stage.END

    def add(self, entry: AuditEntry) -> None:
        """Count one more."""
        tally = self._tallies.get(_key(entry))
        if tally is None and len(self._tallies) >= self._max_subjects:
            entry = replace(entry, actor=Principal(entry.actor.type, EVERYBODY_ELSE))
            tally = self._tallies.get(_key(entry))
        if tally is None:
            tally = self._tallies[_key(entry)] = _Counter(entry)
        tally.times += 1

    def due_s(self, now: datetime) -> float | None:
        """Seconds until a minute that was counted in is over; None when nothing was counted."""
        if not self._tallies:
            return None
        oldest, *_ = next(iter(self._tallies))
        return max(0.0, (oldest + 1) * WINDOW_S - now.timestamp())

    def take(self, now: datetime | None = None) -> list[AuditEntry]:
        """The counted entries of all minutes that are over at ``now``; of all minutes when it is None."""
        over = [key for key in self._tallies if now is None or key[0] < _minute(now)]
        return [_counted(self._tallies.pop(key)) for key in over]


def _minute(at: datetime) -> int:
    return int(at.timestamp()) // WINDOW_S


def _key(entry: AuditEntry) -> _Key:
    return (_minute(entry.at), entry.actor.id, entry.guild, entry.action, entry.reason)


def _counted(tally: _Counter) -> AuditEntry:
    """The first refusal, with how many there were."""
    return replace(tally.first, changes=(Change("times", None, tally.times),))
