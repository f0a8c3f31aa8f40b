"""What `botctl health` prints: a line for the bot, and a line for each of several processes. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from botctl.core.contracts.health import Diagnosis, Health, worst
from botctl.core.escape import safe
from botctl.monitor.health_client import Heard, unheard

_MAX_LINE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessHealth:
    """One process. ``late_s`` and ``blocker``: of its event loop, as far as they are known."""

    proc: str  # ``host:pid``; empty if it has not answered
    roles: tuple[str, ...]
    health: Diagnosis
    late_s: float | None = None
    blocker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """``health``: the worst that a process says of itself or of the bot. ``processes``: by their roles."""

    health: Diagnosis
    processes: tuple[ProcessHealth, ...]


def describe(heard: Heard) -> HealthReport:
    """The report on what was ``heard`` of at least one process."""
    processes = [_answered(answer) for answer in heard.answers]
    processes += [ProcessHealth(proc="", roles=run.roles, health=unheard(run)) for run in heard.silent]
    finding = worst([*(process.health for process in processes), *_of_bot(heard)])
    return HealthReport(health=finding, processes=tuple(sorted(processes, key=attrgetter("roles", "proc"))))


def render(report: HealthReport) -> list[str]:
    lines = [f"{report.health.verdict}: {_sentence(report.health)}"]
    if len(report.processes) > 1:
        if _is_of_whole_bot(report):
            lines = [f"{report.health.verdict} (the whole bot): {_sentence(report.health)}"]
        for process in report.processes:
            name = f"{process.proc or 'no answer'} ({', '.join(process.roles)})"
            lines.append(f"  {process.health.verdict:<9} {safe(name)}: {_sentence(process.health)}")
    return lines


def _of_bot(heard: Heard) -> Iterator[Diagnosis]:
    """What the processes say of the bot. What one says of itself there is older than its own verdict, and left out."""
    for answer in heard.answers:
        if answer.get("bot") and answer["bot"]["proc"] != answer["proc"]:
            yield _diagnosis(answer["bot"])


def _is_of_whole_bot(report: HealthReport) -> bool:
    """Whether none of the lines below the first one has what it says, because it is about no single process."""
    return not report.health.proc and report.health not in [process.health for process in report.processes]


def _sentence(finding: Diagnosis) -> str:
    text = f"{finding.why} → {finding.action}" if finding.action else finding.why
    return safe(text, _MAX_LINE)


def _answered(answer: Mapping[str, Any]) -> ProcessHealth:
    return ProcessHealth(
        proc=answer["proc"],
        roles=tuple(answer["roles"]),
        health=_diagnosis(answer["health"]),
        late_s=answer["late_s"],
        blocker=answer["blocker"],
    )


def _diagnosis(fields: Mapping[str, Any]) -> Diagnosis:
    known = {name: fields[name] for name in ("proc", "shard", "why", "action", "restart_helps")}
    return Diagnosis(verdict=Health(fields["verdict"]), **known)
