"""Combine the snapshots of several processes into one view of a bot. Pure functions: no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from botctl.core.clock import iso_ms
from botctl.core.contracts.health import ALL_IS_WELL, Diagnosis, worst
from botctl.core.processes.runtime import Run
from botctl.core.telemetry.latency import merge, quantile_ms
from botctl.monitor.health_answer import HealthAnswer
from botctl.monitor.rows import Presence, Process, ProcessReport, ServiceRow, ShardRow, rate, rounded
from botctl.monitor.snapshot import Commands, CommandSnapshot, JobSnapshot, Snapshot
from botctl.monitor.verdict import diagnose, evidence, judge_processes

VERSION: Final = 1
MAX_LAST: Final = 50  # commands in `MonitorView.last`
_STORES: Final = ("redis", "mongo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All processes together. Fields are as in `Commands` and `Snapshot`."""

    rate_per_s: float = 0.0  # over the last ten seconds
    per_second: tuple[int, ...] = ()
    p50_ms: float | None = None  # median latency of commands over the last minute; `p99_ms`: 99th percentile
    p99_ms: float | None = None
    total: int = 0
    in_flight: int = 0
    failed: int = 0
    throttled: int = 0
    denied: int = 0
    autocompletes: int = 0
    connections: int = 0
    dropped: int = 0
    invalid_requests: int = 0
    redis_ms: float | None = None  # the slowest ping of any process, as `mongo_ms`
    mongo_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorView:
    """The state of a bot at one moment, as `botctl monitor --json` prints it."""

    v: int = VERSION
    bot: str
    at: str
    health: Diagnosis = ALL_IS_WELL  # the worst of the diagnoses: the verdict on the bot, why, and what to do
    diagnoses: tuple[Diagnosis, ...] = ()  # the worst first; empty when all is well
    totals: Totals = Totals()
    processes: tuple[Process, ...] = ()
    gone: int = 0  # processes that are GONE since less than a minute; a few are in `processes`
    services: tuple[ServiceRow, ...] = ()
    shards: tuple[ShardRow, ...] = ()
    jobs: tuple[JobSnapshot, ...] = ()
    last: tuple[CommandSnapshot, ...] = ()
    troubles: tuple[str, ...] = ()  # why, of each finding

    @property
    def runs(self) -> bool:
        """Whether any process of the bot runs."""
        return any(process.presence is not Presence.GONE for process in self.processes)


def combine_reports(
    bot: str,
    reports: Sequence[ProcessReport],
    at: datetime,
    runs: Sequence[Run] = (),
    roles: Mapping[str, float] | None = None,
    *,
    answers: Sequence[HealthAnswer] = (),
    more: Sequence[Diagnosis] = (),
) -> MonitorView:
    """The view of ``bot`` at the time ``at``, from the ``reports`` of its processes.

    ``runs``: those of this host, which may be without a report. ``roles``: as in `Evidence`. ``answers``: what
    processes have said themselves, which counts where their reports say nothing of now. ``more``: other diagnoses.
    """
    known = evidence(reports, at, runs, roles)
    known = replace(known, processes=(*known.processes, *_without_report(known.processes, answers)))
    found = _with_answers((*more, *diagnose(known)), answers)
    commands = (command for snapshot in known.snapshots for command in snapshot.commands.last)
    last = sorted(commands, key=lambda command: command.at, reverse=True)
    return MonitorView(
        bot=bot,
        at=iso_ms(at),
        health=worst(found),
        diagnoses=found,
        totals=_totals(known.snapshots),
        processes=judge_processes(known.processes, found),
        gone=known.gone,
        services=tuple(known.services),
        shards=tuple(known.shards),
        jobs=tuple(known.jobs),
        last=tuple(last[:MAX_LAST]),
        troubles=tuple(finding.why for finding in found),
    )


def _with_answers(found: Sequence[Diagnosis], answers: Sequence[HealthAnswer]) -> tuple[Diagnosis, ...]:
    """``found``, the worst first; of a process without a current snapshot, what it has answered instead."""
    spoken = {answer.proc: answer.diagnoses for answer in answers if not answer.is_current}
    kept = [finding for finding in found if finding.proc not in spoken]
    said = [finding for diagnoses in spoken.values() for finding in diagnoses]
    return tuple(sorted((*kept, *said), key=lambda finding: -finding.verdict.severity))


def _without_report(processes: Sequence[Process], answers: Sequence[HealthAnswer]) -> Iterator[Process]:
    """The processes that have answered, and have made no snapshot yet."""
    known = {process.proc for process in processes}
    for answer in answers:
        if answer.proc not in known:
            yield Process(proc=answer.proc, presence=Presence.UP, alive=True, age_s=0.0, roles=answer.roles)


def _totals(snapshots: Sequence[Snapshot]) -> Totals:
    commands: list[Commands] = [snapshot.commands for snapshot in snapshots]
    counts = merge(counted.latency_counts for counted in commands)
    per_second = _summed(one.per_second for one in commands)
    return Totals(
        rate_per_s=rate(per_second),
        per_second=per_second,
        p50_ms=rounded(quantile_ms(counts, 0.5)),
        p99_ms=rounded(quantile_ms(counts, 0.99)),
        total=sum(one.total for one in commands),
        in_flight=sum(one.in_flight for one in commands),
        failed=sum(one.failed for one in commands),
        throttled=sum(one.throttled for one in commands),
        denied=sum(one.denied for one in commands),
        autocompletes=sum(one.autocompletes for one in commands),
        connections=sum(snapshot.connections for snapshot in snapshots),
        dropped=sum(snapshot.dropped for snapshot in snapshots),
        invalid_requests=sum(snapshot.invalid_requests for snapshot in snapshots),
        **{f"{name}_ms": _slowest(snapshots, name) for name in _STORES},
    )


def _summed(series: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """The sum of several series of numbers per second, which all end at the same second."""
    backwards = [tuple(reversed(numbers)) for numbers in series]
    length = max(map(len, backwards), default=0)
    sums = (sum(numbers[i] for numbers in backwards if i < len(numbers)) for i in range(length))
    return tuple(reversed(tuple(sums)))


def _slowest(snapshots: Iterable[Snapshot], store: str) -> float | None:
    """The slowest ping of ``store`` in any process."""
    pings = (service.took_ms for snapshot in snapshots for service in snapshot.services if service.name == store)
    return max((ms for ms in pings if ms is not None), default=None)
