"""Combine the snapshots of several processes into one view of a bot. Pure functions: no I/O."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from botctl.core.clock import iso_ms
from botctl.core.contracts.discord_access import INVALID_LIMIT, INVALID_WARN_AT
from botctl.core.processes.runtime import Run
from botctl.core.telemetry.latency import merge, quantile_ms
from botctl.monitor.shard_rows import ShardRow, shard_rows, shard_troubles
from botctl.monitor.snapshot import Commands, CommandSnapshot, JobSnapshot, Snapshot

VERSION: Final = 1
SILENT_S: Final = 3.0  # age of a snapshot that makes its process SILENT; a new one is due every second
GONE_S: Final = 10.0  # age that makes it GONE, unless it is known to run: a stop in order removes the snapshot
GONE_SHOWN: Final = 3  # this many of the newest GONE processes are shown, the others only counted
RATE_S: Final = 10  # the period of `rate_per_s`
MAX_LAG_MS: Final = 1000.0  # a longer delay of the event loop makes users wait, so it is reported
MAX_LAST: Final = 50  # commands in `MonitorView.last`
_STORES: Final = ("redis", "mongo")


class Presence(enum.StrEnum):
    """Whether a process runs.

    ``SILENT``: its last snapshot is some seconds old. ``GONE``: it ended unexpectedly, or is on another host and has
    sent nothing for `GONE_S`. ``INCOMPATIBLE``: this version of botctl cannot read its snapshots.
    """

    UP = "up"
    SILENT = "silent"
    GONE = "gone"
    INCOMPATIBLE = "strange"


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """The snapshot of the process ``proc`` in Redis, and its age. ``snapshot`` is None if it cannot be read.

    ``alive``: whether the process runs; None if that cannot be known here, for example because it is on another host.
    """

    proc: str
    snapshot: Snapshot | None
    age_s: float
    alive: bool | None = None

    @property
    def presence(self) -> Presence:
        """Whether it runs."""
        if (self.age_s > GONE_S and not self.alive) or (self.age_s > SILENT_S and self.alive is False):
            return Presence.GONE
        if self.snapshot is None:
            return Presence.INCOMPATIBLE
        return Presence.SILENT if self.age_s > SILENT_S else Presence.UP

    def is_current(self, uptime_s: float) -> bool:
        """Whether the report was written after Redis started, ``uptime_s`` seconds ago.

        Older reports mean nothing: when an embedded Redis ends with the process that owns it, the processes that use it
        end too, and cannot remove their snapshots.
        """
        return bool(self.alive) or self.presence is Presence.UP or self.age_s < uptime_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process. Numbers are None if it has gone or cannot be read."""

    proc: str  # ``host:pid``
    presence: Presence
    alive: bool | None = None  # as in `ProcessReport`
    age_s: float  # of the snapshot; the fields below are as in `Snapshot`
    version: str = ""
    roles: tuple[str, ...] = ()
    draining: bool = False
    uptime_s: float | None = None
    rss_bytes: int | None = None
    cpu_percent: float | None = None
    lag_ms: float | None = None
    rate_per_s: float | None = None  # commands, over the last ten seconds
    p99_ms: float | None = None  # 99th percentile of command latency over the last minute
    connections: int = 0
    dropped: int = 0
    invalid_requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """A service of one process, as in `ServiceSnapshot`."""

    proc: str
    name: str
    state: str
    well: bool  # it is ready and answered its last ping
    detail: str
    took_ms: float | None
    restarts: int


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
    totals: Totals = Totals()
    processes: tuple[Process, ...] = ()
    gone: int = 0  # processes that are GONE since less than a minute; a few are in `processes`
    services: tuple[ServiceRow, ...] = ()
    shards: tuple[ShardRow, ...] = ()
    jobs: tuple[JobSnapshot, ...] = ()
    last: tuple[CommandSnapshot, ...] = ()
    troubles: tuple[str, ...] = ()  # sentences, the worst first; empty when all is well

    @property
    def runs(self) -> bool:
        """Whether any process of the bot runs."""
        return any(process.presence is not Presence.GONE for process in self.processes)


def reduce(bot: str, reports: Sequence[ProcessReport], at: datetime, runs: Sequence[Run] = ()) -> MonitorView:
    """The view of ``bot`` at the time ``at``, from the ``reports`` of its processes.

    ``runs``: those of this host, which may be without a report.
    """
    gone = sorted((report for report in reports if report.presence is Presence.GONE), key=lambda report: report.age_s)
    alive = [report for report in reports if report.presence is not Presence.GONE]
    snapshots = [report.snapshot for report in alive if report.snapshot]
    processes = tuple(_process(report) for report in (*alive, *gone[:GONE_SHOWN]))
    services = tuple(_services(snapshots))
    shards = shard_rows(snapshots)
    jobs = tuple(_jobs(snapshots))
    commands = (command for snapshot in snapshots for command in snapshot.commands.last)
    last = sorted(commands, key=lambda command: command.at, reverse=True)
    return MonitorView(
        bot=bot,
        at=iso_ms(at),
        totals=_totals(snapshots),
        processes=processes,
        gone=len(gone),
        services=services,
        shards=shards,
        jobs=jobs,
        last=tuple(last[:MAX_LAST]),
        troubles=(
            *_ban_troubles(snapshots),
            *_process_troubles(processes, len(gone)),
            *map(unheard, _without_report(runs, alive)),
            *_service_troubles(services),
            *shard_troubles(shards),
            *_job_troubles(jobs),
            *_delay_troubles(processes),
        ),
    )


def _process(report: ProcessReport) -> Process:
    snapshot = report.snapshot
    process = Process(proc=report.proc, presence=report.presence, alive=report.alive, age_s=round(report.age_s, 1))
    if snapshot is None:
        return process
    process = replace(process, version=snapshot.version, roles=snapshot.roles)
    if report.presence is Presence.GONE:
        return process
    return replace(
        process,
        draining=snapshot.draining,
        uptime_s=snapshot.uptime_s,
        rss_bytes=snapshot.rss_bytes,
        cpu_percent=snapshot.cpu_percent,
        lag_ms=snapshot.lag_ms,
        rate_per_s=_rate(snapshot.commands.per_second),
        p99_ms=_rounded(quantile_ms(snapshot.commands.latency_counts, 0.99)),
        connections=snapshot.connections,
        dropped=snapshot.dropped,
        invalid_requests=snapshot.invalid_requests,
    )


def _totals(snapshots: Sequence[Snapshot]) -> Totals:
    commands: list[Commands] = [snapshot.commands for snapshot in snapshots]
    counts = merge(counted.latency_counts for counted in commands)
    per_second = _summed(one.per_second for one in commands)
    return Totals(
        rate_per_s=_rate(per_second),
        per_second=per_second,
        p50_ms=_rounded(quantile_ms(counts, 0.5)),
        p99_ms=_rounded(quantile_ms(counts, 0.99)),
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


def _rate(per_second: Sequence[int]) -> float:
    return round(sum(per_second[-RATE_S:]) / RATE_S, 1)


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)


def _slowest(snapshots: Iterable[Snapshot], store: str) -> float | None:
    """The slowest ping of ``store`` in any process."""
    pings = (service.took_ms for snapshot in snapshots for service in snapshot.services if service.name == store)
    return max((ms for ms in pings if ms is not None), default=None)


def _services(snapshots: Iterable[Snapshot]) -> Iterator[ServiceRow]:
    for snapshot in snapshots:
        for service in snapshot.services:
            yield ServiceRow(
                proc=snapshot.proc,
                name=service.name,
                state=service.state,
                well=service.state == "ready" and service.ok is not False,
                detail=service.detail,
                took_ms=service.took_ms,
                restarts=service.restarts,
            )


def _jobs(snapshots: Iterable[Snapshot]) -> list[JobSnapshot]:
    """Each job once, from the process that knows its newest run."""
    newest: dict[str, JobSnapshot] = {}
    for job in sorted(
        (job for snapshot in snapshots for job in snapshot.jobs), key=lambda job: (job.last_run or "", job.running)
    ):
        newest[job.name] = job
    return [newest[name] for name in sorted(newest)]


def _ban_troubles(snapshots: Iterable[Snapshot]) -> Iterator[str]:
    """A sentence for each host that comes near a ban. Discord counts by address, so those of a host are added up."""
    by_host: Counter[str] = Counter()
    for snapshot in snapshots:
        by_host[snapshot.host] += snapshot.invalid_requests
    for host, count in by_host.most_common():
        if count >= INVALID_WARN_AT:
            yield (
                f"Discord refused {count:,} requests of {host} in ten minutes (401, 403, 429), "
                f"and bans its address at {INVALID_LIMIT:,}"
            )


def _process_troubles(processes: Iterable[Process], gone: int) -> Iterator[str]:
    for process in processes:
        if process.presence is Presence.INCOMPATIBLE:
            yield f"{process.proc} runs another version of botctl, so its numbers cannot be read"
        elif process.presence is not Presence.UP:
            yield _silence(process)
    if gone > GONE_SHOWN:
        yield f"{gone - GONE_SHOWN} more ended or fell silent in the last minute"


def _silence(process: Process) -> str:
    """What is known of a process that has sent nothing for some seconds."""
    name = f"{process.proc} ({', '.join(process.roles)})" if process.roles else process.proc
    silent = f"has sent nothing for {process.age_s:.0f} s"
    if process.alive:
        return f"{name} runs, but {silent}: its event loop may be blocked, or it cannot write to Redis"
    if process.alive is False:
        return f"{name} ended unexpectedly; it was last heard {process.age_s:.0f} s ago"
    return f"{name} {silent}: it has ended, hangs, or does not reach Redis"


def unheard(run: Run) -> str:
    """The sentence on a `botctl run` of this host that has no snapshot."""
    return (
        f"{run} runs on this host, but Redis has no snapshot of it: it is starting, its event loop is blocked, "
        "or it cannot write to Redis"
    )


def _without_report(runs: Iterable[Run], reports: Sequence[ProcessReport]) -> Iterator[Run]:
    pids = {report.proc.rpartition(":")[2] for report in reports}
    return (run for run in runs if str(run.pid) not in pids and not (run.pid is None and pids))


def _service_troubles(services: Iterable[ServiceRow]) -> Iterator[str]:
    for row in services:
        if not row.well:
            subject = (
                f"{row.name} of {row.proc} is {row.state}" if row.state != "ready" else f"{row.name} of {row.proc}"
            )
            yield f"{subject}: {row.detail}" if row.detail else subject


def _job_troubles(jobs: Iterable[JobSnapshot]) -> Iterator[str]:
    for job in jobs:
        if job.stubborn:
            yield f"the job {job.name}, started at {job.last_run}, ignores its cancellation and goes on"
        elif job.outcome not in (None, "ok", "cancelled"):
            yield f"the job {job.name}, started at {job.last_run}, ended as {job.outcome}"


def _delay_troubles(processes: Iterable[Process]) -> Iterator[str]:
    for process in processes:
        if process.lag_ms is not None and process.lag_ms >= MAX_LAG_MS:
            yield f"{process.proc} was blocked for {process.lag_ms / 1000:.1f} s in the last minute"
        if process.dropped:
            what = "1 event" if process.dropped == 1 else f"{process.dropped} events"
            yield f"{process.proc} has dropped {what}, because a reader is too slow"
