"""The verdict on a real Redis: several processes look, and one announces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from redis.asyncio import Redis

from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import AuditEntry, AuditOutcome
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import DrainStarted, HealthChanged
from botctl.core.contracts.health import ALL_IS_WELL, Health
from botctl.core.contracts.service_state import ServiceHealth, ServiceState, ServiceStatus
from botctl.core.errors import StoreRejects
from botctl.core.telemetry.metrics import Metrics, render_prometheus
from botctl.monitor.announcements import parse_announced
from botctl.monitor.health_watch import ALONE, HealthWatch, health_watch
from botctl.monitor.own_health import OwnHealth
from botctl.monitor.speaker import SPEAKER_S, announced_key, speaker_key
from botctl.monitor.writer import SnapshotWriter
from botctl.stores import embedded_redis
from botctl.stores import redis as redis_clients
from tests.support.clock import ManualClock
from tests.support.stores import Server, server, tasks_for
from tests.support.waiting import LIMIT_S, expires


class Services:
    """A `StatusSource` with one service."""

    def __init__(self) -> None:
        self.state, self.detail = ServiceState.READY, ""

    def statuses(self) -> list[ServiceStatus]:
        return [ServiceStatus("audit", self.state, 0.1, self.detail, 0)]

    async def health(self, timeout_s: float = 2.0) -> list[ServiceHealth]:
        return []

    def fail(self) -> None:
        self.state, self.detail = ServiceState.DEGRADED, "it is slow"


class Entries(list[AuditEntry]):
    record = list.append


class OneProcess:
    """A process of the bot, as far as its health is concerned."""

    def __init__(self, redis: Redis, pid: int, tasks: Any, clock: ManualClock) -> None:
        self.services, self.bus, self.entries, self.clock = Services(), Bus(), Entries(), clock
        self.metrics, self.tasks = Metrics(bot="dice"), tasks
        self.writer = SnapshotWriter(redis, self.metrics, self.services, tasks, ("bot",))
        self.writer._pid, self.writer._space = pid, "another host"  # so that no one looks for a process with that id
        self.redis = redis
        self.watch = HealthWatch(redis, self.writer, self.bus, self.entries, clock, own=OwnHealth(("bot",)))
        self.events: list[HealthChanged] = []

    async def look(self, times: int = 2) -> None:
        for _ in range(times):
            await self.writer.write(self.writer.make())
            await self.watch.look()

    def use(self, redis: Redis) -> None:
        self.writer.redis = self.watch._redis = self.watch.speaker.redis = redis

    @property
    def speaks(self) -> bool:
        return self.watch.speaker.speaks


@asynccontextmanager
async def processes(redis: Redis, count: int) -> AsyncIterator[tuple[list[OneProcess], ManualClock]]:
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        all_of_them = []
        for pid in range(1, count + 1):
            tasks, _ = await stack.enter_async_context(tasks_for("health"))
            process = OneProcess(redis, pid, tasks, clock)
            stack.enter_context(process.bus.listen(process.events.append, HealthChanged))
            all_of_them.append(process)
        yield all_of_them, clock


def announced(*of: OneProcess) -> list[str]:
    return [event.new for process in of for event in process.events]


async def test_one_process_announces_a_change_for_all(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    async with processes(redis, 3) as (all_of_them, _):
        for process in all_of_them:
            await process.look()
        assert [process.speaks for process in all_of_them] == [True, False, False]
        assert announced(*all_of_them) == ["healthy"]  # after the start
        broken = all_of_them[2]
        broken.services.fail()
        await broken.look(1)
        first = all_of_them[0]
        assert broken.watch.of_process().verdict is Health.DEGRADED
        assert first.watch.of_process().verdict is Health.HEALTHY
        await first.look(1)
        assert announced(*all_of_them) == ["healthy"]  # one look proves nothing
        await first.look(1)
        await all_of_them[1].look()
        assert [process.watch.of_bot().verdict for process in all_of_them] == [Health.DEGRADED] * 3
        assert announced(*all_of_them) == ["healthy", "degraded"]
        event = first.events[-1]
        assert (event.old, event.process) == ("healthy", broken.writer.proc)
        assert "it is slow" in event.why
        (entry,) = [entry for process in all_of_them for entry in process.entries]
        assert (entry.action, entry.actor.type, entry.outcome) == ("health.changed", "system", AuditOutcome.ERROR)
        assert entry.changes is not None
        assert (entry.changes[0].old, entry.changes[0].new) == ("healthy", "degraded")
        assert [record.levelname for record in caplog.records if "the bot is degraded" in record.message] == ["WARNING"]
        broken.services.state = ServiceState.READY
        await broken.look(1)
        await first.look()
        assert announced(*all_of_them) == ["healthy", "degraded", "healthy"]
        assert first.entries[-1].outcome is AuditOutcome.SUCCESS


async def test_next_speaker_repeats_nothing(redis: Redis) -> None:
    """The speaker stops in order: the next one speaks at its next look, and knows what was announced."""
    async with processes(redis, 2) as ((first, second), _):
        first.services.fail()
        await first.look()
        await second.look()
        assert announced(first, second) == ["degraded"]
        await first.watch.speaker.release()
        assert await redis.exists(speaker_key("dice")) == 0
        await second.look(3)
        assert second.speaks
        assert announced(first, second) == ["degraded"]
        await first.writer.remove()
        await second.look()
        assert announced(first, second) == ["degraded", "healthy"]
        assert [entry.action for entry in second.entries] == ["health.changed"]


async def test_speaker_that_was_killed_is_followed_when_its_key_expires(redis: Redis) -> None:
    async with processes(redis, 2) as ((first, second), _):
        await first.look()
        assert 0 < await redis.pttl(speaker_key("dice")) <= SPEAKER_S * 1000
        await second.look(1)
        assert not second.speaks
        await redis.pexpire(speaker_key("dice"), 1)
        await second.look(3)
        assert second.speaks
        await first.look(1)  # it was not killed, only late
        assert not first.speaks


async def test_bot_is_known_while_redis_takes_no_writes(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with processes(redis, 2) as ((first, second), _):
        second.services.fail()
        await second.writer.write(second.writer.make())
        await first.look()
        assert announced(first) == ["degraded"]
        second.services.state = ServiceState.READY
        await second.writer.write(second.writer.make())
        refused = StoreRejects("Redis is full.")
        monkeypatch.setattr(first.watch.speaker, "claim", AsyncMock(side_effect=refused))
        await first.look()
        assert first.watch.of_bot() == ALL_IS_WELL
        assert announced(first) == ["degraded", "healthy"]


async def test_process_that_looks_is_not_absent(redis: Redis) -> None:
    """Redis has no snapshot, because it was wiped."""
    async with processes(redis, 1) as ((one,), _):
        await one.watch.look()
        assert one.watch.of_bot() == ALL_IS_WELL


async def test_drain_is_an_event_and_no_entry(redis: Redis) -> None:
    async with processes(redis, 1) as ((one,), _):
        await one.look()
        one.metrics.on_event(DrainStarted(reason="SIGTERM", in_flight=0, limit_s=10))
        await one.look()
        assert announced(one) == ["healthy", "draining"]
        assert one.entries == []


async def test_metrics_have_both_verdicts(redis: Redis) -> None:
    async with processes(redis, 2) as ((one, other), _):
        other.services.fail()
        await other.writer.write(other.writer.make())
        async with health_watch(
            settings=Settings(),
            redis=redis,
            writer=one.writer,
            own=OwnHealth(("bot",)),
            metrics=one.metrics,
            bus=one.bus,
            auditor=one.entries,
            clock=one.clock,
            tasks=one.tasks,
        ) as source:
            assert isinstance(source, HealthWatch)
            assert source.of_bot().why.endswith(ALONE)  # before the first look
            await source.look()
            lines = render_prometheus(one.metrics).splitlines()
        assert 'botctl_health{verdict="healthy"} 1.0' in lines
        assert 'botctl_bot_health{verdict="degraded"} 1.0' in lines
        assert sum(line.startswith("botctl_bot_health{") and line.endswith(" 1.0") for line in lines) == 1
        assert await redis.exists(speaker_key("dice")) == 0  # released at the stop


async def test_while_redis_is_away_the_last_speaker_speaks_of_itself(tmp_path: Path) -> None:
    with server(embedded_redis.PART, tmp_path) as own:
        async with redis_clients.connect(own.url, timeout_s=LIMIT_S) as redis, processes(redis, 2) as (both, clock):
            await _outage(own, redis, both, clock)


async def _outage(own: Server, redis: Redis, both: list[OneProcess], clock: ManualClock) -> None:
    first, second = both
    await first.look()
    await second.look()
    own.kill()
    for process in both:
        process.services.fail()
    async with redis_clients.connect(own.url, timeout_s=expires(0.1)) as impatient:
        for process in both:
            process.use(impatient)
        await asyncio.gather(*(process.watch.look() for process in both))
        await asyncio.gather(*(process.watch.look() for process in both))
    assert all(process.watch.of_bot().why.endswith(ALONE) for process in both)
    assert announced(first) == ["healthy", "degraded"]
    assert announced(second) == []
    own.start()
    for process in both:
        process.use(redis)
    await asyncio.gather(*(redis.delete(key) for key in (speaker_key("dice"), announced_key("dice"))))
    for process in both:
        process.services.state = ServiceState.READY
    await second.look(1)
    assert not second.speaks  # the last speaker may come back
    await first.look(1)
    assert first.speaks
    stored = parse_announced(await redis.get(announced_key("dice")))
    assert stored.verdict is Health.DEGRADED  # what could not be stored during the outage
    await first.look(1)
    assert announced(first, second) == ["healthy", "degraded", "healthy"]
    clock.advance(SPEAKER_S)
    await redis.delete(speaker_key("dice"))
    await second.look(3)
    assert second.speaks
    assert announced(second) == []  # it has read what the first one stored after the outage
