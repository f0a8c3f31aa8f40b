"""What a process answers on its health socket: one JSON document. Pure functions: no I/O.

New fields have a default; no field is renamed or changes its meaning without a new `VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from botctl.core.contracts.health import Diagnosis, Health, worst
from botctl.core.redact import redact_values
from botctl.monitor.rows import SILENT_S
from botctl.monitor.snapshot import Snapshot

VERSION: Final = 1
BLOCKED_S: Final = 5.0
"""An event loop that is so late is blocked: Discord waits 3 s for an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthAnswer:
    """The verdict of a process on itself, and what it follows from."""

    v: int = VERSION
    proc: str  # ``host:pid``
    roles: tuple[str, ...]
    health: Diagnosis  # the worst of the diagnoses
    diagnoses: tuple[Diagnosis, ...] = ()  # the worst first; empty if all is well
    late_s: float = 0.0  # how late the event loop is now
    blocker: str | None = None  # what blocks it, if that is known
    bot: Diagnosis | None = None  # the verdict on the whole bot; None if the process does not know it
    snapshot: Snapshot | None = None  # the last one; None before the first
    age_s: float | None = None  # of the snapshot

    @property
    def is_current(self) -> bool:
        """Whether its snapshot tells the state of now."""
        return self.snapshot is not None and (self.age_s or 0.0) <= SILENT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHealth:
    """What the event loop of a process has left for the thread that answers.

    ``phase``: a diagnosis that no snapshot shows: it starts, waits or stops. ``at_s``: when ``snapshot`` and ``found``
    were made, on the monotonic clock.
    """

    phase: Diagnosis | None = None
    snapshot: Snapshot | None = None
    found: tuple[Diagnosis, ...] = ()
    at_s: float = 0.0
    bot: Diagnosis | None = None


def answer(
    known: KnownHealth, *, proc: str, roles: tuple[str, ...], now_s: float, late_s: float, blocker: str | None
) -> HealthAnswer:
    """The answer at ``now_s``. While the loop is blocked, only that is known."""
    age_s = None if known.snapshot is None else now_s - known.at_s
    name = f"{proc} ({', '.join(roles)})"
    is_current = age_s is not None and age_s <= SILENT_S
    diagnoses = known.found if is_current else ()
    if late_s >= BLOCKED_S:
        diagnoses = (_blocked(proc, name, late_s, blocker),)
    elif known.phase is not None:
        diagnoses = (known.phase, *diagnoses)
    elif not is_current:
        diagnoses = (_stale(proc, name, age_s or 0.0),)
    diagnoses = tuple(sorted(diagnoses, key=lambda finding: -finding.verdict.severity))
    return HealthAnswer(
        proc=proc,
        roles=roles,
        health=worst(diagnoses),
        diagnoses=diagnoses,
        late_s=round(late_s, 3),
        blocker=blocker,
        bot=known.bot,
        snapshot=known.snapshot,
        age_s=None if age_s is None else round(age_s, 3),
    )


def _blocked(proc: str, name: str, late_s: float, blocker: str | None) -> Diagnosis:
    why = f"{blocker or 'something'} has blocked the event loop of {name} for {late_s:.0f} s"
    action = "restart it, and correct that code"
    return Diagnosis(verdict=Health.BLOCKED, proc=proc, why=why, action=action, restart_helps=True)


def _stale(proc: str, name: str, age_s: float) -> Diagnosis:
    why = f"{name} has not looked at itself for {age_s:.0f} s"
    return Diagnosis(verdict=Health.DEGRADED, proc=proc, why=why, action="look into its log")


def should_restart(diagnoses: tuple[Diagnosis, ...]) -> bool:
    """Whether a supervisor should restart the process: only that helps, and no limit of Discord is behind it.

    A ban or a limit ends no sooner, and each start costs logins. Nor is a process ended that works in part.
    """
    finding = worst(diagnoses)
    limited = any(each.verdict in (Health.BANNED, Health.LIMITED) for each in diagnoses)
    return finding.restart_helps and not finding.verdict.works and not limited


_JSON: Final = TypeAdapter(HealthAnswer)


def as_json(given: HealthAnswer) -> bytes:
    """``given`` as it is sent, without secrets."""
    return redact_values(_JSON.dump_json(given).decode()).encode()


def parse_answer(fields: Mapping[str, Any]) -> HealthAnswer | None:
    """The answer with these ``fields``; None if it is of another version. Unknown fields are ignored."""
    try:
        parsed = _JSON.validate_python(fields)
    except ValidationError:
        return None
    return parsed if parsed.v == VERSION else None
