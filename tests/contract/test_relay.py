"""The relay from a process's bus to the shared log: published events arrive, whatever Redis does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from botctl.core.config.settings import Settings
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.event_log import Batch, EventLog
from botctl.core.contracts.events import (
    BY_TYPE,
    DrainStarted,
    Event,
    EventsLost,
    ServiceChanged,
    Source,
    StoreRestarted,
    from_envelope,
)
from botctl.core.errors import Unreachable
from botctl.events.log import event_log
from botctl.events.relay import Relay
from botctl.stores import embedded_redis
from botctl.stores.redis import connect
from tests.support.clock import ManualClock
from tests.support.stores import server, tasks_for
from tests.support.waiting import LIMIT_S, expires, until


@asynccontextmanager
async def running_relay(log: Any, **options: Any) -> AsyncIterator[tuple[Bus, Relay]]:
    bus = Bus()
    async with tasks_for("relay") as (tasks, watcher):
        async with Relay(bus, log, Source("bot", "host:1"), tasks, ManualClock(), **options).running() as relay:
            yield bus, relay
        assert not watcher.failures


def drain(n: int) -> DrainStarted:
    return DrainStarted(reason="test", in_flight=n, limit_s=1.0)


@dataclass
class FakeLog:
    """Takes batches. ``unavailable``: it fails; ``fail_after``: it fails once, after it has taken the batch."""

    unavailable: bool = False
    fail_after: bool = False
    batches: list[Batch] = field(default_factory=list)
    tries: int = 0

    async def append_batch(self, batch: Batch) -> Mapping[str, int]:
        self.tries += 1
        if not self.unavailable and batch not in self.batches:
            self.batches.append(batch)
        if self.unavailable or self.fail_after:
            self.fail_after = False
            raise Unreachable("Redis failed")
        return {}

    def entries(self, topic: str) -> list[bytes]:
        return [data for batch in self.batches for data in batch.events.get(topic, ())]


async def test_published_events_are_logged_in_order(redis: Redis) -> None:
    async with event_log(redis, Settings()) as log, running_relay(log) as (bus, _):
        for n in range(500):
            bus.publish(drain(n))
        bus.publish(StoreRestarted(store="redis", exit_status=-9, down_s=0.1))
        await until(lambda: _last(log, "system", 500), what="the events")
        page = await log.read("system", limit=1000)
        events = [from_envelope(entry.envelope) for entry in page.entries]
        assert events == [drain(n) for n in range(500)]
        envelope = (await log.read("services")).entries[0].envelope
        assert (envelope["type"], envelope["bot"], envelope["proc"]) == ("store.restarted", "bot", "host:1")
        assert envelope["at"] == "2026-01-01T00:00:00.000Z"


async def _last(log: EventLog, topic: str, offset: int) -> bool:
    return (await log.position(topic)).offset >= offset


async def test_events_at_once_are_one_batch() -> None:
    log = FakeLog()
    async with running_relay(log) as (bus, relay):
        for n in range(100):
            bus.publish(drain(n))
        await until(lambda: relay.backlog == 0)
        assert len(log.batches) == 1


async def test_oldest_events_are_dropped_while_redis_does_not_answer() -> None:
    """The rest keeps its order, and the loss is published as an event."""
    log = FakeLog(unavailable=True)
    async with running_relay(log, queue_size=10) as (bus, relay):
        bus.publish(drain(0))
        await until(lambda: log.tries > 0)
        for n in range(1, 26):
            bus.publish(drain(n))
        assert relay.backlog == 11
        log.unavailable = False
        await until(lambda: relay.backlog == 0 and relay.counts.relayed == 12)
    numbers = [_number(data) for data in log.entries("system")]
    assert numbers == [0, *range(16, 26), "15 lost"]
    assert relay.counts.dropped == 15


def _number(data: bytes) -> Any:
    event = from_envelope(json.loads(data))
    return f"{event.count} lost" if isinstance(event, EventsLost) else event.in_flight  # type: ignore[attr-defined]


async def test_batch_without_answer_is_sent_again_unchanged() -> None:
    log = FakeLog(fail_after=True)
    async with running_relay(log) as (bus, relay):
        bus.publish(drain(1))
        await until(lambda: log.tries == 1)
        bus.publish(drain(2))
        await until(lambda: relay.backlog == 0)
    assert [_number(data) for data in log.entries("system")] == [1, 2]
    assert log.tries == 3


async def test_publishing_never_waits_and_stop_writes_the_rest() -> None:
    log = FakeLog()
    async with running_relay(log) as (bus, _):
        bus.publish(drain(1))
        assert log.tries == 0
    assert [_number(data) for data in log.entries("system")] == [1]


async def test_event_that_json_cannot_encode_is_left_out() -> None:
    log = FakeLog()
    async with running_relay(log) as (bus, relay):
        bus.publish(DrainStarted(reason=object(), in_flight=1, limit_s=1.0))  # type: ignore[arg-type]
        bus.publish(drain(2))
        bus.publish(_event_with_invalid_topic())
        await until(lambda: relay.backlog == 0)
    assert [_number(data) for data in log.entries("system")] == [2]
    assert relay.counts.unfit == 2


def _event_with_invalid_topic() -> Event:
    kind = type("Elsewhere", (Event,), {"topic": "not a topic", "__slots__": ()})
    del BY_TYPE[kind.type]  # so that other tests do not see it
    return kind()


async def test_secrets_are_redacted() -> None:
    log = FakeLog()
    async with running_relay(log) as (bus, relay):
        bus.publish(ServiceChanged(service="x", old="a", new="b", detail="password=hunter22hunter22"))
        await until(lambda: relay.backlog == 0)
    assert b"hunter22" not in log.entries("services")[0]


async def test_skipped_event_types_are_not_relayed() -> None:
    log = FakeLog()
    async with running_relay(log, skip=(ServiceChanged,)) as (bus, relay):
        bus.publish(ServiceChanged(service="x", old="a", new="b"))
        bus.publish(drain(1))
        await until(lambda: relay.counts.relayed == 1)
    assert log.entries("services") == []


async def test_no_event_is_lost_when_redis_is_killed(tmp_path: Path) -> None:
    """All events are there, once, in order, with contiguous offsets. Publishing raises nothing."""
    published = 0
    with server(embedded_redis.PART, tmp_path) as store:
        async with connect(store.url, timeout_s=expires(1.0)) as redis, event_log(redis, Settings()) as log:
            async with running_relay(log, queue_size=1_000_000) as (bus, relay):
                for _ in range(3):
                    published = await _publish(bus, published, lambda: relay.counts.batches)
                    store.kill()
                    published = await _publish(bus, published, lambda: relay.counts.failures)
                    store.start()
                await until(lambda: relay.backlog == 0)
                assert relay.counts.dropped == 0
            page = await log.read("system", limit=100_000)
    assert [entry.offset for entry in page.entries] == list(range(1, published + 1))
    assert [entry.envelope["data"]["in_flight"] for entry in page.entries] == list(range(published))


async def _publish(bus: Bus, number: int, until_more: Callable[[], int]) -> int:
    """Publish until ``until_more()`` has grown. Return the next number."""
    before, deadline = until_more(), asyncio.get_running_loop().time() + LIMIT_S
    while until_more() == before:
        assert asyncio.get_running_loop().time() < deadline
        for _ in range(5):
            bus.publish(drain(number))
            number += 1
        await asyncio.sleep(0.001)
    return number
