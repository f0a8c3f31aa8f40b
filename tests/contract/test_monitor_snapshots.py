"""Snapshots on a real Redis: written by several, read by one, gone when their writer is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from botctl.core.contracts.events import CommandFinished, GatewayChanged
from botctl.core.contracts.service_state import ServiceHealth, ServiceState, ServiceStatus
from botctl.core.errors import Unreachable
from botctl.core.telemetry.metrics import Metrics
from botctl.monitor import writer as module
from botctl.monitor.reader import Frame, Monitor, process_reports
from botctl.monitor.snapshot import KEPT_MS, key, set_key
from botctl.monitor.writer import SnapshotWriter, snapshots
from botctl.stores import embedded_redis
from botctl.stores import redis as redis_clients
from tests.support.stores import server, tasks_for
from tests.support.waiting import until


class Source:
    """A `StatusSource` that can be told what to say."""

    def __init__(self) -> None:
        self.state = ServiceState.READY
        self.asked = 0

    def statuses(self) -> list[ServiceStatus]:
        return [ServiceStatus("redis", self.state, 0.1, "", 2)]

    async def health(self, timeout_s: float = 2.0) -> list[ServiceHealth]:
        self.asked += 1
        return [ServiceHealth("redis", self.state is ServiceState.READY, 1.23, "Valkey")]


def finished(name: str) -> CommandFinished:
    return CommandFinished(invocation="1", kind="slash", name=name, user="1", user_name="ann", result="ok", took_ms=4.0)


@asynccontextmanager
async def writing(redis: Redis, *, pid: int | None = None, **more: Any) -> AsyncIterator[SnapshotWriter]:
    async with tasks_for("monitor") as (tasks, _):
        writer = SnapshotWriter(redis, Metrics(bot="dice"), more.pop("status", Source()), tasks, ("bot",), **more)
        if pid is not None:
            writer._pid = pid
        yield writer


def looking(redis: Redis) -> Monitor:
    @asynccontextmanager
    async def join() -> AsyncIterator[Redis]:
        yield redis

    return Monitor("dice", join)


async def test_what_is_written_is_read(redis: Redis) -> None:
    """With its age by the clock of Redis."""
    async with writing(redis) as writer:
        writer.metrics.on_event(finished("roll"))
        writer.metrics.on_event(GatewayChanged(shard=0, state="ready", latency_ms=41.0))
        await writer.write()
        (seen,) = await process_reports(redis, "dice")
        assert seen.snapshot is not None
        assert seen.snapshot.commands.last[0].name == "roll"
        assert 0 <= seen.age_s < KEPT_MS / 1000
        view = await looking(redis).once()
        assert (view.processes[0].proc, view.totals.total, view.shards[0].latency_ms) == (writer.proc, 1, 41.0)


async def test_a_snapshot_expires_by_itself(redis: Redis) -> None:
    """And so does the list: nothing is left of those who were killed, and nobody has to see to it."""
    async with writing(redis) as writer:
        await writer.write()
        for name in (key("dice", writer.proc), set_key("dice")):
            assert 0 < await redis.pttl(name) <= KEPT_MS
        await redis.delete(key("dice", writer.proc))  # what Redis does then
        assert await process_reports(redis, "dice") == []
        with pytest.raises(Unreachable, match="dice"):
            await looking(redis).once()


async def test_who_ends_with_redis_is_not_taken_for_killed(tmp_path: Path) -> None:
    """It could tell nobody that it ends: its snapshot is older than the Redis that has just started, and kept it."""
    with server(embedded_redis.PART, tmp_path) as own:
        async with redis_clients.connect(own.url, timeout_s=2) as redis, writing(redis) as writer:
            await writer.write()
            await redis.pexpire(key("dice", writer.proc), KEPT_MS - 20_000)  # twenty seconds have passed
            assert await redis.smembers(set_key("dice")) == {writer.proc.encode()}
            assert await process_reports(redis, "dice") == []


async def test_processes_of_one_bot_are_seen_together_and_others_are_not(redis: Redis) -> None:
    """Bots share a Redis."""
    async with writing(redis, pid=1) as one, writing(redis, pid=2) as two, writing(redis, pid=3) as other:
        other.metrics.bot = "other"
        for writer in (one, two, other):
            await writer.write()
        assert [seen.snapshot.pid for seen in await process_reports(redis, "dice") if seen.snapshot] == [1, 2]


async def test_whose_snapshot_has_expired_is_swept_off_the_list(redis: Redis) -> None:
    """By the first who writes, so also by one that crashes again and again; nobody who lives is."""
    async with writing(redis, pid=1) as dead, writing(redis, pid=2) as alive, writing(redis, pid=3) as new:
        for writer in (dead, alive):
            await writer.write()
        await redis.delete(key("dice", dead.proc))
        await new.write()
        assert await redis.smembers(set_key("dice")) == {alive.proc.encode(), new.proc.encode()}


async def test_the_service_writes_at_once_and_departs_in_the_end(redis: Redis) -> None:
    """Nothing of it is left, and no write comes after the departure."""
    async with tasks_for("monitor") as (tasks, watcher):
        service = snapshots(
            redis=redis,
            metrics=Metrics(bot="dice"),
            status=Source(),
            clock=module.SystemClock(),
            tasks=tasks,
            roles=("stores", "bot"),
        )
        async with service as writer:
            await until(lambda: writer.written > 0)
            (seen,) = await process_reports(redis, "dice")
            assert seen.snapshot is not None
            assert seen.snapshot.roles == ("bot", "stores")
        assert await redis.keys("botctl:*") == []
        assert watcher.failures == []


async def test_health_is_of_the_state_it_was_asked_in(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a service said while it started is no news once it is ready."""
    monkeypatch.setattr(module, "EVERY_S", 0.05)
    status = Source()
    status.state = ServiceState.STARTING
    async with writing(redis, status=status) as writer:
        sampling = asyncio.create_task(writer.sample())
        await until(lambda: status.asked == 1)
        await until(lambda: writer.make().services[0].ok is False)
        status.state = ServiceState.READY
        assert writer.make().services[0].ok is not False
        await until(lambda: writer.make().services[0].ok is True, what="the next sample")
        assert writer.make().services[0].detail == "Valkey"
        sampling.cancel()


async def test_redis_may_go_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer says so and goes on; the monitor waits and goes on."""
    monkeypatch.setattr(module, "EVERY_S", 0.02)
    with server(embedded_redis.PART, tmp_path) as own:
        async with (
            redis_clients.connect(own.url, timeout_s=0.2) as redis,
            tasks_for("monitor") as (tasks, watcher),
        ):
            writer = SnapshotWriter(redis, Metrics(bot="dice"), Source(), tasks, ("bot",))
            tasks.spawn(writer.run, name="write")
            frames: list[Frame] = []
            monitor = Monitor("dice", lambda: redis_clients.connect(own.url, timeout_s=0.2))
            looks = asyncio.create_task(_collect(monitor, frames))
            await until(lambda: bool(frames) and frames[-1].waiting_for == "", what="a picture")
            own.kill()
            await until(lambda: tasks.state is ServiceState.DEGRADED, what="the writer's word")
            await until(lambda: "Redis does not answer" in frames[-1].waiting_for, what="the monitor's word")
            own.start()
            await until(lambda: tasks.state is ServiceState.READY, what="the writer's recovery")
            await until(lambda: frames[-1].waiting_for == "", what="the picture again")
            assert watcher.failures == []
            looks.cancel()
            await asyncio.wait({looks})


async def _collect(monitor: Monitor, frames: list[Frame]) -> None:
    async for frame in monitor.frames(every_s=0.02):
        frames.append(frame)  # noqa: PERF401  it never ends
