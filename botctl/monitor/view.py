"""From the snapshots of several processes to the one picture of a bot. Pure; what `botctl monitor --json` prints."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from botctl.core.clock import iso_ms
from botctl.core.telemetry.latency import merge, quantile_ms
from botctl.monitor.snapshot import Commands, CommandSnapshot, JobSnapshot, ShardSnapshot, Snapshot

VERSION: Final = 1
SILENT_S: Final = 3.0
"""A snapshot comes every second; this long without one is no accident."""
GONE_S: Final = 10.0
"""So long without one, and it is taken to have ended: it was not stopped, or it would have said so."""
GONE_SHOWN: Final = 3
"""Of those who ended without a word, the newest so many are shown, and the others counted."""
RATE_S: Final = 10
LATE_MS: Final = 1000.0
"""An event loop that came so late has kept people waiting."""
LAST: Final = 50
_STORES: Final = ("redis", "mongo")


class Presence(enum.StrEnum):
    """Whether a process is there.

    ``SILENT``: its last word is some seconds old. ``GONE``: it ended without a word. ``STRANGE``: it is of
    another version of botctl, whose snapshots this one cannot read.
    """

    UP = "up"
    SILENT = "silent"
    GONE = "gone"
    STRANGE = "strange"


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """What Redis holds of the process ``proc``, and how old that is. No ``snapshot``: one that cannot be read."""

    proc: str
    snapshot: Snapshot | None
    age_s: float

    @property
    def presence(self) -> Presence:
        """Whether it is there."""
        if self.age_s > GONE_S:
            return Presence.GONE
        if self.snapshot is None:
            return Presence.STRANGE
        return Presence.SILENT if self.age_s > SILENT_S else Presence.UP

    def is_news(self, uptime_s: float) -> bool:
        """Whether this says something of the process, where Redis has been up for ``uptime_s``.

        Who fell silent before that had nobody to say goodbye to: the owner of an embedded Redis ends, and Redis and all
        who joined it end with it, in order.
        """
        return self.presence is Presence.UP or self.age_s < uptime_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process. The numbers are None where there are none any more, or where they cannot be read."""

    proc: str
    presence: Presence
    age_s: float
    version: str = ""
    roles: tuple[str, ...] = ()
    draining: bool = False
    uptime_s: float | None = None
    rss_bytes: int | None = None
    cpu_percent: float | None = None
    lag_ms: float | None = None
    rate_per_s: float | None = None
    p99_ms: float | None = None
    connections: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """A service of one process. ``well``: it is ready and answered its last ping."""

    proc: str
    name: str
    state: str
    well: bool
    detail: str
    took_ms: float | None
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRow:
    """A shard and the process that has it."""

    proc: str
    id: int
    state: str
    latency_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All processes together. The rate is over the last ten seconds, the quantiles over the last minute."""

    rate_per_s: float = 0.0
    per_second: tuple[int, ...] = ()
    p50_ms: float | None = None
    p99_ms: float | None = None
    total: int = 0
    in_flight: int = 0
    failed: int = 0
    throttled: int = 0
    denied: int = 0
    autocompletes: int = 0
    connections: int = 0
    dropped: int = 0
    redis_ms: float | None = None
    mongo_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorView:
    """One bot at one moment. ``troubles`` are sentences, the worst first; empty when all is well.

    ``gone``: how many ended without a word in the last minute, of which a few are among the ``processes``.
    """

    v: int = VERSION
    bot: str
    at: str
    totals: Totals = Totals()
    processes: tuple[Process, ...] = ()
    gone: int = 0
    services: tuple[ServiceRow, ...] = ()
    shards: tuple[ShardRow, ...] = ()
    jobs: tuple[JobSnapshot, ...] = ()
    last: tuple[CommandSnapshot, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether any process of the bot is there."""
        return any(process.presence is not Presence.GONE for process in self.processes)


def reduce(bot: str, reports: Sequence[ProcessReport], at: datetime) -> MonitorView:
    """The picture that ``reports`` of the processes of ``bot`` make at the time ``at``."""
    gone = sorted((one for one in reports if one.presence is Presence.GONE), key=lambda one: one.age_s)
    there = [one for one in reports if one.presence is not Presence.GONE]
    told = [one.snapshot for one in there if one.snapshot]
    processes = tuple(_process(one) for one in (*there, *gone[:GONE_SHOWN]))
    services = tuple(_services(told))
    shards = tuple(sorted(_shards(told), key=lambda shard: (shard.id, shard.proc)))
    jobs = tuple(_jobs(told))
    last = sorted((command for each in told for command in each.commands.last), key=lambda c: c.at, reverse=True)
    return MonitorView(
        bot=bot,
        at=iso_ms(at),
        totals=_totals(told),
        processes=processes,
        gone=len(gone),
        services=services,
        shards=shards,
        jobs=jobs,
        last=tuple(last[:LAST]),
        troubles=(
            *_of_processes(processes, len(gone)),
            *_of_services(services),
            *_of_shards(shards),
            *_of_jobs(jobs),
            *_of_pace(processes),
        ),
    )


def _process(report: ProcessReport) -> Process:
    told = report.snapshot
    known = Process(proc=report.proc, presence=report.presence, age_s=round(report.age_s, 1))
    if told is None:
        return known
    known = replace(known, version=told.version, roles=told.roles)
    if report.presence is Presence.GONE:
        return known
    return replace(
        known,
        draining=told.draining,
        uptime_s=told.uptime_s,
        rss_bytes=told.rss_bytes,
        cpu_percent=told.cpu_percent,
        lag_ms=told.lag_ms,
        rate_per_s=_rate(told.commands.per_second),
        p99_ms=_rounded(quantile_ms(told.commands.latency_counts, 0.99)),
        connections=told.connections,
        dropped=told.dropped,
    )


def _totals(told: Sequence[Snapshot]) -> Totals:
    commands: list[Commands] = [each.commands for each in told]
    counts = merge(each.latency_counts for each in commands)
    per_second = _summed(each.per_second for each in commands)
    return Totals(
        rate_per_s=_rate(per_second),
        per_second=per_second,
        p50_ms=_rounded(quantile_ms(counts, 0.5)),
        p99_ms=_rounded(quantile_ms(counts, 0.99)),
        total=sum(each.total for each in commands),
        in_flight=sum(each.in_flight for each in commands),
        failed=sum(each.failed for each in commands),
        throttled=sum(each.throttled for each in commands),
        denied=sum(each.denied for each in commands),
        autocompletes=sum(each.autocompletes for each in commands),
        connections=sum(each.connections for each in told),
        dropped=sum(each.dropped for each in told),
        **{f"{name}_ms": _slowest(told, name) for name in _STORES},
    )


def _summed(series: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """Numbers by second as one; the newest are the last of each."""
    backwards = [tuple(reversed(one)) for one in series]
    length = max(map(len, backwards), default=0)
    sums = (sum(one[i] for one in backwards if i < len(one)) for i in range(length))
    return tuple(reversed(tuple(sums)))


def _rate(per_second: Sequence[int]) -> float:
    return round(sum(per_second[-RATE_S:]) / RATE_S, 1)


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)


def _slowest(told: Iterable[Snapshot], store: str) -> float | None:
    """The longest ping of ``store`` that any process sees."""
    found = (service.took_ms for each in told for service in each.services if service.name == store)
    return max((ms for ms in found if ms is not None), default=None)


def _services(told: Iterable[Snapshot]) -> Iterator[ServiceRow]:
    for each in told:
        for service in each.services:
            yield ServiceRow(
                proc=each.proc,
                name=service.name,
                state=service.state,
                well=service.state == "ready" and service.ok is not False,
                detail=service.detail,
                took_ms=service.took_ms,
                restarts=service.restarts,
            )


def _shards(told: Iterable[Snapshot]) -> Iterator[ShardRow]:
    for each in told:
        shard: ShardSnapshot
        for shard in each.shards:
            yield ShardRow(proc=each.proc, id=shard.id, state=shard.state, latency_ms=shard.latency_ms)


def _jobs(told: Iterable[Snapshot]) -> list[JobSnapshot]:
    """Each job once, as the process knows it that saw it run last."""
    found: dict[str, JobSnapshot] = {}
    for job in sorted((job for each in told for job in each.jobs), key=lambda job: (job.last_run or "", job.running)):
        found[job.name] = job
    return [found[name] for name in sorted(found)]


def _of_processes(processes: Iterable[Process], gone: int) -> Iterator[str]:
    for process in processes:
        match process.presence:
            case Presence.GONE:
                was = f" ({', '.join(process.roles)})" if process.roles else ""
                yield f"{process.proc}{was} has ended without a word, {process.age_s:.0f} s ago"
            case Presence.SILENT:
                yield f"{process.proc} has said nothing for {process.age_s:.0f} s"
            case Presence.STRANGE:
                yield f"{process.proc} is of another version of botctl, and cannot be read"
    if gone > GONE_SHOWN:
        yield f"and {gone - GONE_SHOWN} more {'has' if gone == GONE_SHOWN + 1 else 'have'} ended so in the last minute"


def _of_services(services: Iterable[ServiceRow]) -> Iterator[str]:
    for row in services:
        if not row.well:
            words = f"{row.name} of {row.proc} is {row.state}" if row.state != "ready" else f"{row.name} of {row.proc}"
            yield f"{words}: {row.detail}" if row.detail else words


def _of_shards(shards: Iterable[ShardRow]) -> Iterator[str]:
    for shard in shards:
        if shard.state == "disconnected":
            yield f"shard {shard.id} of {shard.proc} is disconnected"


def _of_jobs(jobs: Iterable[JobSnapshot]) -> Iterator[str]:
    for job in jobs:
        if job.stubborn:
            yield f"the job {job.name}, begun at {job.last_run}, does not heed its cancellation and goes on"
        elif job.outcome not in (None, "ok", "cancelled"):
            yield f"the job {job.name}, begun at {job.last_run}, came out as {job.outcome}"


def _of_pace(processes: Iterable[Process]) -> Iterator[str]:
    for process in processes:
        if process.lag_ms is not None and process.lag_ms >= LATE_MS:
            yield f"{process.proc} was blocked for {process.lag_ms / 1000:.1f} s in the last minute"
        if process.dropped:
            what = "1 event" if process.dropped == 1 else f"{process.dropped} events"
            yield f"{process.proc} has dropped {what}, because a reader is too slow"
