"""Snapshots on a real Redis: several writers, one reader, and no snapshot after its writer has stopped."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from botctl.core.contracts.events import CommandFinished
from botctl.core.contracts.health import Health
from botctl.core.contracts.invocation import LATE_REASONS
from botctl.core.contracts.service_state import ServiceHealth, ServiceState, ServiceStatus
from botctl.core.contracts.shards import ShardClose, ShardState, ShardStatus
from botctl.core.errors import Unreachable
from botctl.core.processes.runtime import Run
from botctl.core.telemetry.metrics import Metrics
from botctl.monitor import verdict
from botctl.monitor import writer as writer_module
from botctl.monitor.health_client import Heard
from botctl.monitor.own_health import OwnHealth
from botctl.monitor.reader import Frame, Monitor, read_reports
from botctl.monitor.roles import ROLE_TTL_MS, read_roles, role_key
from botctl.monitor.rows import ProcessReport
from botctl.monitor.snapshot import TTL_MS, Snapshot, key, set_key
from botctl.monitor.verdict import judge_report
from botctl.monitor.view import MonitorView
from botctl.monitor.writer import SnapshotWriter, snapshots
from botctl.stores import embedded_redis
from botctl.stores import redis as redis_clients
from tests.support.clock import ManualClock
from tests.support.stores import server, tasks_for
from tests.support.waiting import LIMIT_S, expires, until

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CLOSE = ShardClose(code=4000, reason="Discord had an unknown error", at=AT)


class FakeStatusSource:
    """A `StatusSource` whose state the test sets."""

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
async def snapshot_writer(redis: Redis, *, pid: int | None = None, **more: Any) -> AsyncIterator[SnapshotWriter]:
    async with tasks_for("monitor") as (tasks, _):
        writer = SnapshotWriter(
            redis, Metrics(bot="dice"), more.pop("status", FakeStatusSource()), tasks, ("bot",), **more
        )
        if pid is not None:
            writer._pid = pid
        yield writer


def monitor_of(redis: Redis) -> Monitor:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Redis]:
        yield redis

    return Monitor("dice", connect)


async def test_snapshot_is_read_with_its_age(redis: Redis) -> None:
    async with snapshot_writer(redis) as writer:
        writer.metrics.on_event(finished("roll"))
        shard = ShardStatus(id=0, state=ShardState.READY, since=AT, latency_ms=41.0, guilds=3, last_close=CLOSE)
        writer.metrics.watch_bot(lambda: [shard], lambda _: None, int)
        await writer.write(writer.make())
        (report,) = await read_reports(redis, "dice")
        assert report.snapshot is not None
        assert report.snapshot.commands.last[0].name == "roll"
        assert 0 <= report.age_s < TTL_MS / 1000
        view = await monitor_of(redis).once()
        assert (view.processes[0].proc, view.totals.total, view.shards[0].latency_ms) == (writer.proc, 1, 41.0)
        assert (view.shards[0].guilds, view.shards[0].last_close) == (3, "4000, Discord had an unknown error")


async def test_snapshot_from_a_clock_ahead_shows_no_process(redis: Redis) -> None:
    """It would be fresh for a day. A process that runs replaces it."""
    async with snapshot_writer(redis) as writer:
        await writer.write(writer.make())
        await redis.pexpire(key("dice", writer.proc), TTL_MS + 86_400_000)
        assert await read_reports(redis, "dice") == []
        await writer.write(writer.make())
        assert len(await read_reports(redis, "dice")) == 1


async def test_snapshot_and_process_set_expire(redis: Redis) -> None:
    """The set expires, too, so a killed process needs no clean-up."""
    async with snapshot_writer(redis) as writer:
        await writer.write(writer.make())
        for name in (key("dice", writer.proc), set_key("dice")):
            assert 0 < await redis.pttl(name) <= TTL_MS
        await redis.delete(key("dice", writer.proc))  # what Redis does then
        assert await read_reports(redis, "dice") == []
        with pytest.raises(Unreachable, match="dice"):
            await monitor_of(redis).once()


async def test_process_that_ended_with_redis_is_left_out(tmp_path: Path) -> None:
    """The snapshot is older than the Redis that has just started with the stored data."""
    with server(embedded_redis.PART, tmp_path) as redis_server:
        async with (
            redis_clients.connect(redis_server.url, timeout_s=LIMIT_S) as redis,
            snapshot_writer(redis) as writer,
        ):
            writer._pid_started = "before:1"
            await writer.write(writer.make())
            await redis.pexpire(key("dice", writer.proc), TTL_MS - 20_000)  # twenty seconds have passed
            assert await redis.smembers(set_key("dice")) == {writer.proc.encode()}
            assert await read_reports(redis, "dice") == []


@pytest.mark.parametrize(
    ("changes", "alive"),
    [({}, True), ({"_pid_started": "another boot:1"}, False), ({"_space": "another host"}, None)],
)
async def test_process_of_this_host_is_looked_at(redis: Redis, changes: dict[str, str], alive: bool | None) -> None:
    async with snapshot_writer(redis) as writer:
        for name, value in changes.items():
            setattr(writer, name, value)
        await writer.write(writer.make())
        (report,) = await read_reports(redis, "dice")
        assert report.alive is alive


@asynccontextmanager
async def unreachable() -> AsyncIterator[Redis]:
    raise Unreachable("Redis at unix:///x does not answer.")
    yield


@pytest.mark.parametrize("connected", [True, False])
async def test_silent_run_is_shown_as_blocked(redis: Redis, connected: bool) -> None:
    """It is frozen, for longer than its snapshot lives, or there is no Redis. Its disk is full, too."""
    run = Run(77, ("bot", "jobs"))
    connect = monitor_of(redis).connect if connected else unreachable
    monitor = Monitor("dice", connect, lambda: (run,), lambda: Heard(silent=(run,)), lambda: "the disk of /x is full")
    view = await monitor.once()
    assert view.health.verdict is Health.BLOCKED
    assert view.health.why.startswith("process 77 (bot, jobs) runs on this host, but does not answer")
    assert "the disk of /x is full" in view.troubles
    assert ("only processes of this host are shown: Redis at unix:///x does not answer" in view.troubles) != connected
    async with aclosing(monitor.frames()) as frames:
        frame = await anext(frames)
    assert frame.view is not None
    assert (frame.view.health, frame.waiting_for) == (view.health, "")


@pytest.mark.parametrize("stored", ["nothing", "an old snapshot"])
async def test_run_that_cannot_write_to_redis_is_asked(redis: Redis, stored: str) -> None:
    """Its Redis is read-only or its disk full. What it says itself is newer than what Redis has."""
    async with snapshot_writer(redis) as writer:
        if stored != "nothing":
            await writer.write(writer.make())
            await redis.pexpire(key("dice", writer.proc), TTL_MS - 30_000)
        writer.metrics.on_event(finished("roll"))
        own = OwnHealth(("bot",))
        own.post(writer.make())
        heard = Heard((json.loads(own.answer_json()),))
        run = Run(os.getpid(), ("bot",))
        view = await Monitor("dice", monitor_of(redis).connect, lambda: (run,), lambda: heard).once()
        assert (view.health.verdict, view.totals.total) == (Health.HEALTHY, 1)
        assert [process.presence for process in view.processes] == ["up"]


async def test_without_redis_processes_are_asked_and_the_failure_is_said(redis: Redis) -> None:
    async with snapshot_writer(redis) as writer:
        own = OwnHealth(("bot",))
        starting = Heard((json.loads(own.answer_json()),))
        own.post(writer.make())
        heard = Heard((json.loads(own.answer_json()),))
    view = await Monitor("dice", unreachable, hear=lambda: heard).once()
    assert view.health.verdict is Health.DEGRADED
    assert view.troubles == ("only processes of this host are shown: Redis at unix:///x does not answer",)
    assert [process.proc for process in view.processes] == [writer.proc]
    begun = await Monitor("dice", unreachable, hear=lambda: starting).once()
    assert (begun.health.verdict, [process.roles for process in begun.processes]) == (Health.STARTING, [("bot",)])
    with pytest.raises(Unreachable, match="does not answer"):
        await Monitor("dice", unreachable).once()


async def test_snapshots_are_made_while_redis_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No write ends. The newest snapshot is written when Redis answers again."""
    monkeypatch.setattr(writer_module, "EVERY_S", 0.01)
    answers = asyncio.Event()
    written: list[Snapshot] = []
    made: list[Snapshot] = []
    unused: Any = None
    async with tasks_for("monitor") as (tasks, _):
        writer = SnapshotWriter(unused, Metrics(bot="dice"), FakeStatusSource(), tasks, ("bot",), on_made=made.append)

        async def write(snapshot: Snapshot) -> None:
            await answers.wait()
            written.append(snapshot)

        monkeypatch.setattr(writer, "write", write)
        tasks.spawn(writer.run, name="make")
        tasks.spawn(writer.write_newest, name="write")
        await until(lambda: len(made) >= 5, what="five snapshots")
        assert written == []
        newest = made[-1]
        answers.set()
        await until(lambda: len(written) >= 2, what="two writes")
        assert (written[0], written[1] in made[made.index(newest) :]) == (made[0], True)


async def test_first_snapshot_after_a_block_tells_of_it() -> None:
    """Without the watch of the loop, which may run after it."""
    made: list[Snapshot] = []
    clock = ManualClock()
    unused: Any = None
    async with tasks_for("monitor") as (tasks, _):
        metrics = Metrics(bot="dice", clock=clock)
        writer = SnapshotWriter(unused, metrics, FakeStatusSource(), tasks, ("bot",), clock=clock, on_made=made.append)
        tasks.spawn(writer.run, name="make")
        await until(lambda: len(made) == 1, what="the first snapshot")
        clock.advance(writer_module.EVERY_S + 7)
        await until(lambda: len(made) == 2, what="the next one")
        assert [snapshot.lag_ms for snapshot in made] == [0.0, 7000.0]
        await tasks.cancel()


@pytest.mark.parametrize("reason", sorted(LATE_REASONS))
async def test_commands_without_an_answer_in_time_are_a_failure(reason: str) -> None:
    unused: Any = None
    async with tasks_for("monitor") as (tasks, _):
        metrics = Metrics(bot="dice")
        writer = SnapshotWriter(unused, metrics, FakeStatusSource(), tasks, ("bot",))
        for _ in range(3):
            assert judge_report(ProcessReport(writer.proc, writer.make(), 0.0, alive=True), AT) == ()
            metrics.on_event(replace(finished("ping"), result="cancelled", reason=reason))
        (found,) = judge_report(ProcessReport(writer.proc, writer.make(), 0.0, alive=True), AT)
        assert found.verdict is Health.DEGRADED
        assert found.why.startswith(f"3 of the last 3 commands of {writer.proc} got no answer in the 3 s")


async def test_only_processes_of_the_same_bot_are_read(redis: Redis) -> None:
    async with (
        snapshot_writer(redis, pid=1) as one,
        snapshot_writer(redis, pid=2) as two,
        snapshot_writer(redis, pid=3) as other,
    ):
        other.metrics.bot = "other"
        for writer in (one, two, other):
            await writer.write(writer.make())
        assert [report.snapshot.pid for report in await read_reports(redis, "dice") if report.snapshot] == [1, 2]


async def test_expired_process_is_removed_from_the_set(redis: Redis) -> None:
    """The first write of any process does it, so also that of a process in a crash loop."""
    async with (
        snapshot_writer(redis, pid=1) as dead,
        snapshot_writer(redis, pid=2) as alive,
        snapshot_writer(redis, pid=3) as new,
    ):
        for writer in (dead, alive):
            await writer.write(writer.make())
        await redis.delete(key("dice", dead.proc))
        await new.write(new.make())
        assert await redis.smembers(set_key("dice")) == {alive.proc.encode(), new.proc.encode()}


async def test_service_writes_at_start_and_deletes_at_stop(redis: Redis) -> None:
    async with tasks_for("monitor") as (tasks, watcher):
        service = snapshots(
            redis=redis,
            metrics=Metrics(bot="dice"),
            status=FakeStatusSource(),
            clock=writer_module.SystemClock(),
            tasks=tasks,
            health=(own := OwnHealth(("stores", "bot"))),
            roles=("stores", "bot"),
        )
        async with service as writer:
            await until(lambda: writer.written > 0)
            (report,) = await read_reports(redis, "dice")
            assert report.snapshot is not None
            assert report.snapshot.roles == ("bot", "stores")
            assert own.answer().snapshot is not None
        assert await redis.keys("botctl:*") == [role_key("dice", "bot").encode()]
        assert watcher.failures == []


async def is_up_for_a_second(redis: Redis) -> bool:
    return bool((await redis.info("server"))["uptime_in_seconds"] >= 1)


def absent(view: MonitorView) -> set[str]:
    return {found.why.split()[7] for found in view.diagnoses if found.verdict is Health.ABSENT}


async def test_role_is_absent_until_a_process_has_it_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Redis of the tests may have started a moment ago: nothing is absent for longer than it runs."""
    monkeypatch.setattr(verdict, "ABSENT_S", 0.5)
    async with snapshot_writer(redis, pid=1) as bot, snapshot_writer(redis, pid=2) as web:
        bot._space = web._space = "another host"
        bot.metrics._created_s -= 60.0
        web.roles = web._expected = ("web",)
        for writer in (bot, web):
            await writer.write(writer.make())
        await web.remove()
        assert absent(await monitor_of(redis).once()) == set()
        await redis.pexpire(role_key("dice", "web"), ROLE_TTL_MS - 11_000)  # eleven seconds have passed
        await until(lambda: is_up_for_a_second(redis))
        view = await monitor_of(redis).once()
        assert (view.health.verdict, absent(view)) == (Health.ABSENT, {"web"})
        await web.write(web.make())
        assert (await monitor_of(redis).once()).health.verdict is Health.HEALTHY


async def test_role_of_the_settings_is_absent_if_it_was_never_seen(redis: Redis) -> None:
    async with snapshot_writer(redis) as writer:
        await writer.write(writer.make())
        settled = replace(monitor_of(redis), expected=("bot", "jobs"))
        assert absent(await settled.once()) == set()  # the bot is just starting
        writer.metrics._created_s -= 60.0
        await writer.write(writer.make())
        uptime_s = (await redis.info("server"))["uptime_in_seconds"]
        roles = await read_roles(redis, "dice", await read_reports(redis, "dice"), ("bot", "jobs"))
        assert roles["bot"] <= uptime_s
        assert min(uptime_s, 60.0) <= roles["jobs"] <= max(uptime_s + 60.0, 120.0)


async def test_roles_are_forgotten_if_a_person_ends_the_process(redis: Redis) -> None:
    async with snapshot_writer(redis) as writer:
        await writer.write(writer.make())
        assert await redis.get(role_key("dice", "bot")) == writer.proc.encode()
        writer.forgets_roles = lambda: True
        await writer.remove()
        assert await redis.keys("botctl:*") == []


async def test_user_without_info_reads_the_roles(redis: Redis) -> None:
    async with snapshot_writer(redis) as writer:
        await writer.write(writer.make())
        await redis.acl_setuser(
            "rolereader", enabled=True, passwords=["+secret"], keys=["botctl:*"], categories=["+@all", "-@dangerous"]
        )
        limited = redis_clients.dedicated_client(redis, connections=1)
        async with limited:
            await limited.execute_command("AUTH", "rolereader", "secret")
            assert (await read_roles(limited, "dice", [])).keys() == {"bot"}
        await redis.acl_deluser("rolereader")


async def test_ping_from_an_earlier_state_is_ignored(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "EVERY_S", 0.05)
    status = FakeStatusSource()
    status.state = ServiceState.STARTING
    async with snapshot_writer(redis, status=status) as writer:
        sampling = asyncio.create_task(writer.sample())
        await until(lambda: status.asked == 1)
        await until(lambda: writer.make().services[0].ok is False)
        status.state = ServiceState.READY
        assert writer.make().services[0].ok is not False
        await until(lambda: writer.make().services[0].ok is True, what="the next sample")
        assert writer.make().services[0].detail == "Valkey"
        sampling.cancel()


async def test_writer_and_monitor_survive_redis_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer and the monitor report it, and go on."""
    monkeypatch.setattr(writer_module, "EVERY_S", 0.02)
    with server(embedded_redis.PART, tmp_path) as redis_server:
        async with (
            redis_clients.connect(redis_server.url, timeout_s=expires(0.2)) as redis,
            tasks_for("monitor") as (tasks, watcher),
        ):
            writer = SnapshotWriter(redis, Metrics(bot="dice"), FakeStatusSource(), tasks, ("bot",))
            tasks.spawn(writer.run, name="make")
            tasks.spawn(writer.write_newest, name="write")
            frames: list[Frame] = []
            monitor = Monitor("dice", lambda: redis_clients.connect(redis_server.url, timeout_s=expires(0.2)))
            collecting = asyncio.create_task(_collect(monitor, frames))
            await until(lambda: bool(frames) and frames[-1].waiting_for == "", what="a view")
            redis_server.kill()
            await until(lambda: tasks.state is ServiceState.DEGRADED, what="the writer's report")
            await until(lambda: "Redis fails" in frames[-1].waiting_for, what="the monitor's report")
            redis_server.start()
            await until(lambda: tasks.state is ServiceState.READY, what="the writer's recovery")
            await until(lambda: frames[-1].waiting_for == "", what="the view again")
            assert watcher.failures == []
            collecting.cancel()
            await asyncio.wait({collecting})


async def _collect(monitor: Monitor, frames: list[Frame]) -> None:
    async for frame in monitor.frames(every_s=0.02):
        frames.append(frame)  # noqa: PERF401  it never ends
