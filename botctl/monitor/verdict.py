"""What is not well with a bot: a pure function of what its processes have reported lately. No I/O.

Nothing is claimed without fresh evidence. A shard is deaf because Discord left two questions unanswered, and not
because its guilds are quiet. `docs/monitor.md` lists every failure, and the test that it is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from botctl.core.contracts.discord_access import (
    GUILDS_PER_SHARD,
    GUILDS_WARN_AT,
    INVALID_LIMIT,
    INVALID_WARN_AT,
)
from botctl.core.contracts.health import Diagnosis, Health, RequestsSeen, worst
from botctl.core.contracts.logins import WAITING
from botctl.core.contracts.shards import MISSES_OF_DEAF
from botctl.core.processes.runtime import Run
from botctl.monitor.health_client import unheard
from botctl.monitor.rows import (
    Presence,
    Process,
    ProcessReport,
    ServiceRow,
    ShardRow,
    job_rows,
    process_row,
    service_rows,
    shard_rows,
)
from botctl.monitor.snapshot import JobSnapshot, Snapshot

GONE_SHOWN: Final = 3  # this many of the newest GONE processes are named, the others only counted
ABSENT_S: Final = 14.0  # a role that no process has for so long is absent; a start on a busy host takes some seconds
LOST_S: Final = 10.0  # a shard without a connection for so long is deaf; a reconnection takes a second
MAX_RECONNECTS: Final = 2  # of a shard that is deaf: a RESUME, then a login
MAX_LAG_MS: Final = 3000.0  # Discord: an interaction must be answered within 3 s
_MIN_ROW: Final = 3  # a single refused request is normal
_MAX_NAMED: Final = 3  # of the services that start; the others follow as …
_MIN_ANSWERS: Final = 5  # fewer say nothing about a share of them
_STORES: Final = ("redis", "mongo")
_LOG: Final = "look into logs/botctl.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a bot at the time ``at``.

    ``snapshots``: of the processes that run. ``gone``: the number of those that have ended. ``unheard``: processes of
    this host without a report. ``roles``: those that are expected, and how many seconds ago a process had each.
    """

    at: datetime
    processes: Sequence[Process] = ()
    snapshots: Sequence[Snapshot] = ()
    gone: int = 0
    unheard: Sequence[Run] = ()
    services: Sequence[ServiceRow] = ()
    shards: Sequence[ShardRow] = ()
    jobs: Sequence[JobSnapshot] = ()
    roles: Mapping[str, float] = field(default_factory=dict)


def evidence(
    reports: Sequence[ProcessReport], at: datetime, runs: Iterable[Run] = (), roles: Mapping[str, float] | None = None
) -> Evidence:
    """The evidence in the ``reports`` of processes. ``runs``: those of this host. ``roles``: as in `Evidence`."""
    gone = sorted((report for report in reports if report.presence is Presence.GONE), key=lambda report: report.age_s)
    running = [report for report in reports if report.presence is not Presence.GONE]
    snapshots = [report.snapshot for report in running if report.snapshot]
    pids = {report.proc.rpartition(":")[2] for report in running if report.alive}  # of this host
    roles_up = {role for report in running if report.snapshot for role in report.snapshot.roles}
    return Evidence(
        at=at,
        processes=tuple(process_row(report) for report in (*running, *gone[:GONE_SHOWN])),
        snapshots=snapshots,
        gone=len(gone),
        unheard=tuple(run for run in runs if _is_unheard(run, pids, roles_up)),
        services=tuple(service_rows(snapshots)),
        shards=judge_shards(shard_rows(snapshots)),
        jobs=job_rows(snapshots),
        roles=roles or {},
    )


def _is_unheard(run: Run, pids: Collection[str], roles: Collection[str]) -> bool:
    """Whether no report is of ``run``. ``pids``: of the reports of this host; ``roles``: those of all reports."""
    return not set(run.roles) <= set(roles) if run.pid is None else str(run.pid) not in pids


def diagnose(known: Evidence) -> tuple[Diagnosis, ...]:
    """Everything that is not well, the worst first. Of the same verdict, what lasts comes before what is over."""
    found = (
        *_no_process(known),
        *_absent_roles(known),
        *map(unheard, known.unheard),
        *_phases(known),
        *_services(known),
        *_shards(known.shards, _status_page(known.snapshots)),
        *_refusals(known.snapshots, known.at),
        *_processes(known),
        *_jobs(known.jobs),
        *_delays(known.processes),
        *_late(known.snapshots),
    )
    return tuple(sorted(found, key=lambda finding: -finding.verdict.severity))


def judge_shards(shards: Sequence[ShardRow]) -> tuple[ShardRow, ...]:
    """``shards``, each with its verdict."""
    return tuple(replace(shard, verdict=worst(_shard(shard, "")).verdict) for shard in shards)


def judge_processes(processes: Sequence[Process], found: Sequence[Diagnosis]) -> tuple[Process, ...]:
    """``processes``, each with the verdict that follows from what was ``found`` of it."""
    by_process = {process.proc: worst(each for each in found if each.proc == process.proc) for process in processes}
    return tuple(replace(process, verdict=by_process[process.proc].verdict) for process in processes)


def judge_report(report: ProcessReport, at: datetime) -> tuple[Diagnosis, ...]:
    """What is not well with one process, from its own report alone."""
    from_one = evidence([report], at)
    return tuple(finding for finding in diagnose(from_one) if finding.proc == report.proc)


def _no_process(known: Evidence) -> Iterator[Diagnosis]:
    if known.unheard or any(process.presence is not Presence.GONE for process in known.processes):
        return
    yield Diagnosis(verdict=Health.ABSENT, why="no process of the bot runs", action="start it with `botctl run`")


def _running_roles(known: Evidence) -> set[str]:
    running = (process.roles for process in known.processes if process.presence is not Presence.GONE)
    return {role for roles in (*running, *(run.roles for run in known.unheard)) for role in roles}


def _absent_roles(known: Evidence) -> Iterator[Diagnosis]:
    if any(_no_process(known)):
        return
    running = _running_roles(known)
    for role, seen_s in known.roles.items():
        if role not in running and seen_s >= ABSENT_S:
            action = f"start it with `botctl run --only {role}`, or set health.roles to those that should run"
            yield Diagnosis(
                verdict=Health.ABSENT, why=f"no process has run with the role {role} for {_ago(seen_s)}", action=action
            )


def _ago(seconds: float) -> str:
    """For people: ``12 s``, ``5 min``, ``3 h``."""
    if seconds < 120:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"  # noqa: PLR2004


def _to_second(at: str | None) -> str:
    """The ISO 8601 time ``at`` for people: ``2026-01-02 03:04:05 UTC``."""
    return f"{(at or '')[:19].replace('T', ' ')} UTC"


def _refusals(snapshots: Sequence[Snapshot], at: datetime) -> Iterator[Diagnosis]:
    """How Discord answers: bans, waves of 429, failures; and each host that comes near a ban."""
    status = _status_page(snapshots)
    for snapshot in snapshots:
        if found := _requests(snapshot.proc, snapshot.requests, at, status):
            yield found
    by_host: Counter[str] = Counter()
    for snapshot in snapshots:
        by_host[snapshot.host] += snapshot.invalid_requests
    for host, count in by_host.most_common():
        if count >= INVALID_WARN_AT:
            why = (
                f"Discord refused {count:,} requests of {host} in ten minutes (401, 403, 429), "
                f"and bans its address at {INVALID_LIMIT:,}"
            )
            action = "the log names the commands that failed; stop what sends them"
            yield Diagnosis(verdict=Health.DEGRADED, why=why, action=action)


def _status_page(snapshots: Iterable[Snapshot]) -> str:
    """What Discord's status page says, for the end of an action; if that is not known, that one should look."""
    said = next((snapshot.discord_says for snapshot in snapshots if snapshot.discord_says), "")
    return f'Discord\'s status page says "{said}"' if said else "look at discordstatus.com"


def _requests(proc: str, seen: RequestsSeen, at: datetime, status: str) -> Diagnosis | None:
    if seen.banned_until is not None and seen.banned_until > at:
        until = f"{seen.banned_until:%Y-%m-%d %H:%M:%S} UTC"
        why = f"Discord has banned the address of {proc} until {until}: it refuses every request"
        action = "do not restart; find what sent 10,000 refused requests in ten minutes, and wait"
        return Diagnosis(verdict=Health.BANNED, proc=proc, why=why, action=action)
    row = seen.row if seen.row >= _MIN_ROW else 0
    if row and seen.row_kind == "429":
        why = f"Discord refused the last {row} requests of {proc} with 429 (too many requests)"
        action = "do not restart; the log names the commands that were refused"
        return Diagnosis(verdict=Health.LIMITED, proc=proc, why=why, action=action)
    failed = seen.failed + seen.unreachable
    if seen.row and (row or (seen.answers >= _MIN_ANSWERS and failed * 2 >= seen.answers)):
        how = "cannot be reached by" if seen.unreachable > seen.failed else "fails on"
        why = f"Discord {how} {proc}: {failed} of the last {seen.answers} requests got no answer or 5xx"
        return Diagnosis(
            verdict=Health.DEGRADED,
            proc=proc,
            why=why,
            action=f"{status}; wait if Discord has a fault, else check the network of this host",
        )
    return None


def _processes(known: Evidence) -> Iterator[Diagnosis]:
    """Processes that are silent or have ended, unless others have their roles now."""
    running = _running_roles(known)
    for process in known.processes:
        if process.presence is Presence.GONE and process.roles and running >= set(process.roles):
            continue
        if process.presence is Presence.INCOMPATIBLE:
            why = f"{process.proc} runs another version of botctl, so its numbers cannot be read"
            yield Diagnosis(verdict=Health.DEGRADED, proc=process.proc, why=why, action="restart it with this version")
        elif process.presence is not Presence.UP:
            yield _silence(process)
    if known.gone > GONE_SHOWN:
        why = f"{known.gone - GONE_SHOWN} more ended or fell silent in the last minute"
        yield Diagnosis(verdict=Health.DEGRADED, why=why, action=_LOG)


def _silence(process: Process) -> Diagnosis:
    """What is known of a process that has sent nothing for some seconds."""
    silent = f"has sent nothing for {process.age_s:.0f} s"
    if process.alive:
        why = f"{process} runs, but {silent}: its event loop is blocked, it was stopped, or it cannot write to Redis"
        action = "continue it (SIGCONT) if someone has stopped it; else restart it"
        return Diagnosis(verdict=Health.BLOCKED, proc=process.proc, why=why, action=action, restart_helps=True)
    if process.alive is False:
        why = f"{process} ended unexpectedly; it was last heard from {process.age_s:.0f} s ago"
        return Diagnosis(verdict=Health.DEGRADED, proc=process.proc, why=why, action=_LOG)
    why = f"{process} {silent}: it has ended, hangs, or does not reach Redis"
    return Diagnosis(verdict=Health.DEGRADED, proc=process.proc, why=why, action="look at its host")


def _phases(known: Evidence) -> Iterator[Diagnosis]:
    """Processes that start, stop or wait."""
    for process in known.processes:
        rows = [row for row in known.services if row.proc == process.proc]
        waits = next((row.detail for row in rows if row.detail.startswith(WAITING)), None)
        starting = [row.name for row in rows if row.state in {"idle", "starting"}]
        if process.draining:
            why = f"{process} is stopping: it finishes what it has begun"
            yield Diagnosis(verdict=Health.DRAINING, proc=process.proc, why=why)
        elif waits is not None:
            action = "wait, or spend the reserve with `botctl run --now`"
            yield Diagnosis(verdict=Health.WAITING, proc=process.proc, why=f"{process} is {waits}", action=action)
        elif starting:
            names = ", ".join(starting[:_MAX_NAMED]) + (", …" if len(starting) > _MAX_NAMED else "")
            yield Diagnosis(verdict=Health.STARTING, proc=process.proc, why=f"{process} is starting: {names}")


def _services(known: Evidence) -> Iterator[Diagnosis]:
    """Services that fail, the stores first, which the others need. A process that starts or stops is one finding."""
    stopping = {process.proc for process in known.processes if process.draining}
    for row in sorted(known.services, key=lambda row: row.name not in _STORES):
        if row.well or row.proc in stopping or row.state in {"idle", "starting"} or row.detail.startswith(WAITING):
            continue
        subject = f"{row.name} of {row.proc}" if row.state == "ready" else f"{row.name} of {row.proc} is {row.state}"
        why = f"{subject}: {row.detail}" if row.detail else subject
        action = row.hint.removesuffix(".") or ("look at `botctl stores`" if row.name in _STORES else _LOG)
        yield Diagnosis(verdict=Health.DEGRADED, proc=row.proc, why=why, action=action)


def _shards(shards: Sequence[ShardRow], status: str) -> Iterator[Diagnosis]:
    """Shards that hear nothing, and those that are nearly full. While others hear, the bot is only degraded."""
    found = [finding for shard in shards for finding in _shard(shard, status)]
    deaf = sum(finding.verdict is Health.DEAF for finding in found)
    for finding in found:
        is_part = finding.verdict is Health.DEAF and deaf < len(shards)
        yield replace(finding, verdict=Health.DEGRADED) if is_part else finding


def _shard(shard: ShardRow, status: str) -> Iterator[Diagnosis]:
    name = f"shard {shard.id} of {shard.proc}"
    if shard.lost_s is not None and shard.lost_s >= LOST_S and (shard.last_close or shard.state == "disconnected"):
        since = f" since {_to_second(shard.since)}" if shard.since else ""
        why = f"{name} has no connection{since} ({shard.state})" + (f": {shard.last_close}" if shard.last_close else "")
        again = f"at {_to_second(shard.retry_at)}" if shard.retry_at else "by itself, with growing pauses"
        action = f"it tries again {again}; check the network; {status}"
        yield Diagnosis(verdict=Health.DEAF, proc=shard.proc, shard=shard.id, why=why, action=action)
    elif shard.misses >= MISSES_OF_DEAF:
        why = f"{name} is deaf: Discord sends no events, and left {shard.misses} requests for one unanswered"
        failed = shard.reconnects >= MAX_RECONNECTS and shard.misses >= MISSES_OF_DEAF + MAX_RECONNECTS
        action = "restart the process" if failed else "it reconnects by itself"
        yield Diagnosis(
            verdict=Health.DEAF, proc=shard.proc, shard=shard.id, why=why, action=action, restart_helps=failed
        )
    if shard.guilds >= GUILDS_WARN_AT:
        why = f"{name} has {shard.guilds:,} guilds, and Discord refuses one with more than {GUILDS_PER_SHARD:,}"
        action = "set discord.shards higher, and restart the bot"
        yield Diagnosis(verdict=Health.DEGRADED, proc=shard.proc, shard=shard.id, why=why, action=action)


def _jobs(jobs: Iterable[JobSnapshot]) -> Iterator[Diagnosis]:
    for job in jobs:
        if job.stubborn:
            why = f"the job {job.name}, started at {_to_second(job.last_run)}, ignores its cancellation and goes on"
            yield Diagnosis(verdict=Health.DEGRADED, why=why, action="restart the process that runs the jobs")
        elif job.outcome not in (None, "ok", "cancelled"):
            why = f"the job {job.name}, started at {_to_second(job.last_run)}, ended as {job.outcome}"
            action = f"`botctl audit log` and logs/botctl.jsonl have the error; then `botctl jobs run {job.name}`"
            yield Diagnosis(verdict=Health.DEGRADED, why=why, action=action)


def _late(snapshots: Iterable[Snapshot]) -> Iterator[Diagnosis]:
    """Processes of which half of the commands get no answer in time."""
    for snapshot in snapshots:
        recent, late = snapshot.commands.recent, snapshot.commands.late
        if late >= _MIN_ROW and late * 2 >= recent:
            why = f"{late} of the last {recent} commands of {snapshot.proc} got no answer in the 3 s that Discord waits"
            action = f"{_LOG}: they came late, or took too long; look at the load of the host, and at its network"
            yield Diagnosis(verdict=Health.DEGRADED, proc=snapshot.proc, why=why, action=action)


def _delays(processes: Iterable[Process]) -> Iterator[Diagnosis]:
    for process in processes:
        if process.lag_ms is not None and process.lag_ms >= MAX_LAG_MS:
            why = f"{process.proc} stood still for {process.lag_ms / 1000:.1f} s in the last minute"
            action = f"its log says by what, or that the process was stopped: {_LOG}"
            yield Diagnosis(verdict=Health.DEGRADED, proc=process.proc, why=why, action=action)
        if process.dropped_lately:
            count = process.dropped_lately
            what = "1 event" if count == 1 else f"{count:,} events"
            why = f"{process.proc} has dropped {what} in the last minute, because a reader is too slow"
            yield Diagnosis(verdict=Health.DEGRADED, proc=process.proc, why=why, action=_LOG)
