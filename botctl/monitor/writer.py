"""Make the snapshot of this process once a second, and write it to Redis. If that fails, the snapshot is dropped.

A Redis that hangs delays no snapshot: one task makes them, and another one writes the newest.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from botctl.core.clock import Clock, SystemClock, iso_ms
from botctl.core.contracts.expected_roles import ExpectedRole
from botctl.core.contracts.jobs import JobRecord, JobStore
from botctl.core.contracts.protocols import StatusSource
from botctl.core.contracts.service_state import ServiceHealth
from botctl.core.contracts.shards import ShardStatus
from botctl.core.errors import STORE_FAULTS, type_name
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.processes.process import process_space, start_time
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.telemetry.metrics import Metrics
from botctl.core.version import __version__
from botctl.monitor import snapshot as schema
from botctl.monitor.own_health import OwnHealth
from botctl.monitor.roles import ROLE_TTL_MS, role_key
from botctl.monitor.rows import rounded
from botctl.monitor.snapshot import (
    EVERY_S,
    TTL_MS,
    Commands,
    CommandSnapshot,
    JobSnapshot,
    ServiceSnapshot,
    ShardSnapshot,
    Snapshot,
)

HEALTH_EVERY_S: Final = 5.0  # between two pings of the services
_HEALTH_LIMIT_S: Final = 2.0
RECENT_S: Final = 30  # as long as Discord's answers count, see `health.REQUESTS_S`
_DELETE_LIMIT_S: Final = 2.0
_SWEEP_EVERY: Final = 30  # `SnapshotWriter._sweep` runs once per this many snapshots
_OUTAGE: Final = "botctl monitor does not see this process: Redis failed ({error})"
_log = logging.getLogger(__name__)


def _ignore(_: Snapshot) -> None:
    pass


@dataclass(eq=False)
class SnapshotWriter:
    """Makes and writes the snapshots of this process. ``on_made`` gets each of them, also while Redis is away."""

    redis: Redis
    metrics: Metrics
    status: StatusSource
    tasks: Tasks
    roles: tuple[str, ...]  # of this process: bot, realtime, jobs, web, stores
    store: JobStore | None = None  # to report on jobs
    clock: Clock = field(default_factory=SystemClock)
    forgets_roles: Callable[[], bool] = lambda: False  # whether the roles end with this process, asked at its stop
    on_made: Callable[[Snapshot], None] = _ignore
    discord_says: Callable[[], str] = str  # on its status page; empty if that is not known
    written: int = 0  # snapshots so far
    newest: Snapshot | None = None  # that was made

    def __post_init__(self) -> None:
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._space, self._pid_started = process_space(), start_time(self._pid) or ""
        self._started = iso_ms(self.clock.now())
        self._expected = tuple(role for role in self.roles if role in set(ExpectedRole))
        self._health: dict[str, tuple[str, ServiceHealth]] = {}
        self._jobs: tuple[JobSnapshot, ...] = ()
        self._dropped: deque[int] = deque(maxlen=60)  # the total at each snapshot of the last minute
        self._unwritten: asyncio.Queue[Snapshot] = asyncio.Queue(1)  # the newest snapshot
        self._outage = Outage(self.tasks, _log, level=logging.DEBUG)  # other services warn that Redis is unreachable

    @property
    def proc(self) -> str:
        """``host:pid`` of this process."""
        return f"{self._host}:{self._pid}"

    def make(self) -> Snapshot:
        """A snapshot of this process."""
        metrics = self.metrics
        dropped = sum(metrics.dropped().values())
        return Snapshot(
            bot=metrics.bot,
            host=self._host,
            pid=self._pid,
            space=self._space,
            pid_started=self._pid_started,
            version=__version__,
            roles=self.roles,
            at=iso_ms(self.clock.now()),
            started=self._started,
            uptime_s=round(metrics.uptime_s, 1),
            rss_bytes=metrics.rss_bytes,
            cpu_percent=round(metrics.cpu_percent(), 1),
            lag_ms=round(metrics.window.lag_ms(), 1),
            draining=metrics.draining,
            connections=metrics.connections,
            dropped=dropped,
            dropped_lately=dropped - (self._dropped[0] if self._dropped else 0),
            invalid_requests=metrics.invalid_requests(),
            requests=metrics.requests(),
            discord_says=self.discord_says(),
            services=self._services(),
            shards=tuple(map(_shard, metrics.shards())),
            commands=_commands(metrics),
            jobs=self._jobs,
        )

    def current(self) -> Snapshot:
        """The newest snapshot, with the services as they are now. `make` would begin a new measurement of the CPU."""
        newest = self.newest or self.make()
        return replace(newest, services=self._services(), draining=self.metrics.draining)

    def _services(self) -> tuple[ServiceSnapshot, ...]:
        snapshots = []
        for status in self.status.statuses():
            state, health = self._health.get(status.name, ("", None))
            health = health if state == status.state else None  # an answer from another state is out of date
            snapshots.append(
                ServiceSnapshot(
                    name=status.name,
                    state=status.state,
                    detail=status.detail or (health.detail if health else ""),
                    hint=health.hint if health else "",
                    ok=health.ok if health else None,
                    took_ms=round(health.took_ms, 1) if health else None,
                    restarts=status.restarts,
                )
            )
        return tuple(snapshots)

    async def run(self) -> None:
        """Make a snapshot every second. Never returns."""
        due_s = self.clock.monotonic()
        while True:
            now_s = self.clock.monotonic()
            self.metrics.record_lag(max(0.0, now_s - due_s) * 1000)  # it may run before the loop watch
            due_s = now_s + EVERY_S
            snapshot = self.newest = self.make()
            self._dropped.append(snapshot.dropped)
            self.on_made(snapshot)
            if self._unwritten.full():
                self._unwritten.get_nowait()
            self._unwritten.put_nowait(snapshot)
            await asyncio.sleep(max(0.0, due_s - self.clock.monotonic()))

    async def write_newest(self) -> None:
        """Write each snapshot that `run` makes; if Redis is slower than that, the newest one. Never returns."""
        while True:
            snapshot = await self._unwritten.get()
            try:
                await self.write(snapshot)
            except (RedisError, OSError) as error:
                self._outage.begin(_OUTAGE.format(error=type_name(error)), error)
            else:
                self._outage.end()

    async def write(self, snapshot: Snapshot) -> None:
        """Write ``snapshot``. Raises RedisError or OSError."""
        bot = self.metrics.bot
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.set(schema.key(bot, self.proc), schema.as_json(snapshot), px=TTL_MS)
            pipe.sadd(schema.set_key(bot), self.proc)
            pipe.pexpire(schema.set_key(bot), TTL_MS)
            for role in self._expected:
                pipe.set(role_key(bot, role), self.proc, px=ROLE_TTL_MS)
            await pipe.execute()
        self.written += 1
        if self.written % _SWEEP_EVERY == 1:
            await self._sweep(bot)

    async def _sweep(self, bot: str) -> None:
        """Remove processes from the set whose snapshots have expired."""
        procs = [proc async for proc in self.redis.sscan_iter(schema.set_key(bot))]
        stored = await self.redis.mget([schema.key(bot, proc.decode()) for proc in procs]) if procs else []
        ended = [proc for proc, snapshot in zip(procs, stored, strict=True) if snapshot is None]
        if ended:  # a process that was only late adds itself again
            await self.redis.srem(schema.set_key(bot), *ended)

    async def sample(self) -> None:
        """Ping the services and read the jobs every `HEALTH_EVERY_S`, more often while they start. Never returns."""
        while True:
            states = {status.name: status.state for status in self.status.statuses()}
            answers = await self.status.health(_HEALTH_LIMIT_S)
            self._health = {health.name: (states[health.name], health) for health in answers}
            await self._read_jobs()
            settled = all(state.up for state in states.values())
            await asyncio.sleep(HEALTH_EVERY_S if settled else EVERY_S)

    async def _read_jobs(self) -> None:
        if self.store is not None:
            with suppress(*STORE_FAULTS):  # the ping of the store reports it
                records = await self.store.all()
                self._jobs = tuple(_job(record) for record in records if record.removed is None)

    async def remove(self) -> None:
        """Delete the snapshot, because this process stops normally."""
        bot = self.metrics.bot
        with suppress(RedisError, OSError, TimeoutError):
            async with LoopTimeout(_DELETE_LIMIT_S), self.redis.pipeline(transaction=False) as pipe:
                pipe.delete(schema.key(bot, self.proc))
                pipe.srem(schema.set_key(bot), self.proc)
                if self.forgets_roles():
                    pipe.delete(*(role_key(bot, role) for role in self._expected))
                await pipe.execute()


def _shard(shard: ShardStatus) -> ShardSnapshot:
    close, hearing = shard.last_close, shard.hearing
    known = {} if hearing is None else asdict(hearing) | {"heard_ago_s": round(hearing.heard_ago_s, 1)}
    return ShardSnapshot(
        id=shard.id,
        state=shard.state,
        latency_ms=rounded(shard.latency_ms),
        since=iso_ms(shard.since),
        guilds=shard.guilds,
        last_event_at=_iso(shard.last_event_at),
        last_close=str(close) if close else None,
        last_close_at=iso_ms(close.at) if close else None,
        retry_at=_iso(shard.retry_at),
        session_started_at=_iso(shard.session_started_at),
        **known,
    )


def _iso(at: datetime | None) -> str | None:
    return None if at is None else iso_ms(at)


def _commands(metrics: Metrics) -> Commands:
    recent, late = metrics.window.recent(RECENT_S)
    return Commands(
        recent=recent,
        late=late,
        total=metrics.commands.total(),
        in_flight=metrics.in_flight,
        failed=metrics.finished("failed"),
        throttled=metrics.finished("throttled"),
        denied=metrics.finished("denied"),
        autocompletes=metrics.autocompletes.total(),
        per_second=tuple(metrics.window.finished()),
        latency_counts=tuple(metrics.window.latencies()),
        last=tuple(CommandSnapshot(**asdict(last)) for last in metrics.last),
    )


def _job(record: JobRecord) -> JobSnapshot:
    return JobSnapshot(
        name=record.name,
        schedule=record.schedule,
        running=record.run is not None,
        stubborn=record.unresponsive,
        paused=record.paused,
        outcome=record.outcome,
        last_run=iso_ms(record.last_run) if record.last_run else None,
        took_ms=record.took_ms,
        next_due=iso_ms(record.next_due),
    )


@asynccontextmanager
async def snapshots(
    *,
    redis: Redis,
    metrics: Metrics,
    status: StatusSource,
    clock: Clock,
    tasks: Tasks,
    store: JobStore | None = None,
    health: OwnHealth,
    roles: Collection[str],
    forgets_roles: Callable[[], bool] = lambda: False,
) -> AsyncIterator[SnapshotWriter]:
    """Factory of the service. ``roles``: those of this process. ``health`` judges every snapshot.

    ``forgets_roles``: as in `SnapshotWriter`.
    """
    health.watch_tasks(metrics.describe_task)
    writer = SnapshotWriter(
        redis, metrics, status, tasks, tuple(sorted(roles)), store, clock, forgets_roles, health.post
    )
    tasks.spawn(writer.run, name="make", restart=Backoff())
    tasks.spawn(writer.write_newest, name="write", restart=Backoff())
    tasks.spawn(writer.sample, name="sample", restart=Backoff())
    try:
        yield writer
    finally:
        await tasks.cancel()  # or the next write would undo the removal
        await writer.remove()
