"""The processes, services and shards of a bot, from the snapshots of its processes. Pure functions: no I/O."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final

from botctl.core.contracts.health import Health
from botctl.core.telemetry.latency import quantile_ms
from botctl.monitor.snapshot import JobSnapshot, ShardSnapshot, Snapshot

SILENT_S: Final = 6.0
"""Age of a snapshot that makes its process SILENT. A new one is due every second, but a busy host may be late."""
GONE_S: Final = 10.0  # age that makes it GONE, unless it is known to run: a stop in order removes the snapshot
_WRITTEN_S: Final = 3.0  # a younger snapshot is of a process that writes
RATE_S: Final = 10  # the period of `rate_per_s`
_WELL: Final = ("ready", "resumed", "connected")  # the last two: as older versions of botctl wrote


class Presence(enum.StrEnum):
    """Whether a process runs.

    ``SILENT``: its last snapshot is some seconds old. ``GONE``: it ended unexpectedly, or is on another host and has
    sent nothing for `GONE_S`. ``INCOMPATIBLE``: this version of botctl cannot read its snapshots.
    """

    UP = "up"
    SILENT = "silent"
    GONE = "gone"
    INCOMPATIBLE = "incompatible"


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """The snapshot of the process ``proc``, and its age. ``snapshot`` is None if it cannot be read.

    ``alive``: whether the process runs; None if that cannot be known here, for example because it is on another host.
    """

    proc: str
    snapshot: Snapshot | None
    age_s: float
    alive: bool | None = None

    @property
    def presence(self) -> Presence:
        """Whether it runs."""
        if self.alive is False or (self.age_s > GONE_S and not self.alive):
            return Presence.GONE
        if self.snapshot is None:
            return Presence.INCOMPATIBLE
        return Presence.SILENT if self.age_s > SILENT_S else Presence.UP

    def is_current(self, uptime_s: float) -> bool:
        """Whether the report was written after Redis started, ``uptime_s`` seconds ago.

        Older reports mean nothing: when an embedded Redis ends with the process that owns it, the processes that use it
        end too, and cannot remove their snapshots.
        """
        return bool(self.alive) or self.age_s < max(uptime_s, _WRITTEN_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process. Numbers are None if it has gone or cannot be read."""

    proc: str  # ``host:pid``
    presence: Presence
    alive: bool | None = None  # as in `ProcessReport`
    age_s: float  # of the snapshot; the fields below are as in `Snapshot`
    verdict: Health = Health.HEALTHY
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
    dropped_lately: int = 0
    invalid_requests: int = 0

    def __str__(self) -> str:
        """For people: ``vm:12 (bot, jobs)``."""
        return f"{self.proc} ({', '.join(self.roles)})" if self.roles else self.proc


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
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRow:
    """A shard and the process that has it, as in `ShardSnapshot`."""

    proc: str
    id: int
    state: str
    verdict: Health = Health.HEALTHY
    latency_ms: float | None = None
    since: str | None = None  # when it became ready, or no longer was
    lost_s: float | None = None  # how long it has had no connection; None while it has one
    guilds: int = 0
    last_event_at: str | None = None
    last_close: str | None = None  # the code and why
    last_close_at: str | None = None
    retry_at: str | None = None  # the next attempt to connect, while it pauses
    session_started_at: str | None = None
    heard_ago_s: float | None = None  # this and the following: as in `shards.Hearing`
    misses: int = 0
    can_ask: bool = True
    reconnects: int = 0

    @property
    def well(self) -> bool:
        return self.verdict is Health.HEALTHY and self.state in _WELL


def process_row(report: ProcessReport) -> Process:
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
        rate_per_s=rate(snapshot.commands.per_second),
        p99_ms=rounded(quantile_ms(snapshot.commands.latency_counts, 0.99)),
        connections=snapshot.connections,
        dropped=snapshot.dropped,
        dropped_lately=snapshot.dropped_lately,
        invalid_requests=snapshot.invalid_requests,
    )


def service_rows(snapshots: Iterable[Snapshot]) -> Iterator[ServiceRow]:
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
                hint=service.hint,
            )


def shard_rows(snapshots: Iterable[Snapshot]) -> tuple[ShardRow, ...]:
    """All shards, in order."""
    rows = [_shard_row(snapshot, shard) for snapshot in snapshots for shard in snapshot.shards]
    return tuple(sorted(rows, key=lambda shard: (shard.id, shard.proc)))


def _shard_row(snapshot: Snapshot, shard: ShardSnapshot) -> ShardRow:
    lost_s = None if shard.state in _WELL else _seconds_between(shard.since, snapshot.at)
    return ShardRow(proc=snapshot.proc, lost_s=lost_s, **asdict(shard))


def _seconds_between(earlier: str | None, later: str) -> float:
    """Both by the clock of one host. 0 if one is not known."""
    try:
        elapsed = datetime.fromisoformat(later) - datetime.fromisoformat(earlier or later)
    except ValueError:
        return 0.0
    return max(0.0, elapsed.total_seconds())


def job_rows(snapshots: Iterable[Snapshot]) -> tuple[JobSnapshot, ...]:
    """Each job once, from the process that knows its newest run."""
    newest: dict[str, JobSnapshot] = {}
    for job in sorted(
        (job for snapshot in snapshots for job in snapshot.jobs), key=lambda job: (job.last_run or "", job.running)
    ):
        newest[job.name] = job
    return tuple(newest[name] for name in sorted(newest))


def rate(per_second: Sequence[int]) -> float:
    """Commands per second, over the last `RATE_S`."""
    return round(sum(per_second[-RATE_S:]) / RATE_S, 1)


def rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)
