"""The event log on a real Redis: contiguous offsets, epochs, slow readers, kill -9."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from redis.asyncio import Redis

from botctl.core.config.settings import Settings
from botctl.core.contracts.event_log import START, Batch, EventLog, Position, encode
from botctl.core.errors import StoreDamaged, Unreachable
from botctl.events.log import RedisEventLog, event_log
from botctl.stores import embedded_redis
from botctl.stores.redis import connect
from tests.support.stores import server
from tests.support.waiting import LIMIT_S, expires, until

EVENTS = "botctl:{bot}:events"
STREAM = "botctl:{bot}:ev:commands"


@pytest.fixture
async def log(redis: Redis) -> AsyncIterator[EventLog]:
    async with event_log(redis, Settings()) as opened:
        yield opened


def envelopes(*numbers: int) -> list[dict[str, Any]]:
    return [{"n": n} for n in numbers]


def numbers(page: Any) -> list[int]:
    return [entry.envelope["n"] for entry in page.entries]


async def test_offsets_start_at_one_without_gaps(log: EventLog) -> None:
    assert await log.append("commands", envelopes(1, 2)) == 2
    assert await log.append("commands", envelopes(3)) == 3
    page = await log.read("commands")
    assert [entry.offset for entry in page.entries] == [1, 2, 3]
    assert (numbers(page), page.first, page.last, page.complete) == ([1, 2, 3], 1, 3, True)


async def test_concurrent_writers_leave_no_gaps(log: EventLog, redis: Redis) -> None:
    async with event_log(redis, Settings()) as other:
        await asyncio.gather(*(writer.append("commands", envelopes(n)) for n in range(100) for writer in (log, other)))
    page = await log.read("commands", limit=1000)
    assert [entry.offset for entry in page.entries] == list(range(1, 201))
    assert sorted(numbers(page)) == sorted([*range(100), *range(100)])


async def test_repeated_batch_is_appended_once(log: EventLog) -> None:
    first = Batch("w", 1, {"commands": [b"1", b"2"], "services": [b"3"]})
    assert await log.append_batch(first) == {"commands": 2, "services": 1}
    assert await log.append_batch(first) == {"commands": 2, "services": 1}
    assert await log.append_batch(first._replace(writer="another")) == {"commands": 4, "services": 2}
    assert await log.append_batch(first._replace(number=2)) == {"commands": 6, "services": 3}


async def test_reader_continues_at_its_position(log: EventLog) -> None:
    await log.append("commands", envelopes(*range(1, 8)))
    page = await log.read("commands", limit=3)
    seen = numbers(page)
    while page.entries:
        page = await log.read("commands", page.position, limit=3)
        assert page.complete
        seen += numbers(page)
    assert seen == list(range(1, 8))
    assert page.position == await log.position("commands")


async def test_reader_of_empty_topic_waits_for_first_entry(log: EventLog) -> None:
    """Its position has no epoch yet, and is valid."""
    position = await log.position("commands")
    assert position == START
    reading = asyncio.create_task(log.read("commands", position, wait_s=30))
    await asyncio.sleep(0)
    await log.append("commands", envelopes(1))
    page = await reading
    assert (numbers(page), page.complete, page.position.offset) == ([1], True, 1)


async def test_waiting_reader_wakes_for_any_of_its_topics(log: EventLog, redis: Redis) -> None:
    await log.append("commands", envelopes(1))
    at = {"commands": await log.position("commands"), "services": START}
    reading = asyncio.create_task(log.read_many(at, wait_s=30))
    await until(lambda: _reader_is_blocked(redis), what="a blocked client")
    await log.append("services", envelopes(2))
    pages = await reading
    assert (numbers(pages["commands"]), numbers(pages["services"])) == ([], [2])


async def _reader_is_blocked(redis: Redis) -> bool:
    return bool((await redis.info("clients"))["blocked_clients"] == 1)


async def test_waiting_readers_use_their_own_connections(redis: Redis, log: EventLog) -> None:
    readers = [asyncio.create_task(log.read("commands", wait_s=30)) for _ in range(4)]
    await until(lambda: _blocked_readers(redis, 4))
    clients = await redis.client_list()
    assert await redis.ping()
    assert len([c for c in clients if "b" in c["flags"]]) == 4
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)


async def _blocked_readers(redis: Redis, count: int) -> bool:
    return bool((await redis.info("clients"))["blocked_clients"] == count)


async def test_timeout_returns_an_empty_page(log: EventLog) -> None:
    page = await log.read("commands", wait_s=0.02)
    assert (page.entries, page.first, page.last, page.complete) == ((), 1, 0, True)


async def test_position_before_trimmed_start_is_not_complete(log: EventLog) -> None:
    for n in range(1, 401):
        await log.append("commands", envelopes(n))
    early = (await log.read("commands", limit=1)).position
    removed = await log.trim("commands", keep=10)
    assert removed >= 200  # whole nodes of a hundred
    page = await log.read("commands", early, limit=1000)
    assert not page.complete
    assert (page.first, page.last) == (removed + 1, 400)
    assert numbers(page) == list(range(removed + 1, 401))
    edge = await log.read("commands", Position(page.epoch, removed), limit=1000)
    assert (edge.complete, numbers(edge)) == (True, numbers(page))
    assert await log.append("commands", envelopes(401)) == 401


async def test_oldest_entries_are_trimmed_on_append(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botctl.events.log.KEPT", 100)
    for start in range(0, 1000, 100):
        await log.append("commands", envelopes(*range(start, start + 100)))
    page = await log.read("commands", limit=1000)
    assert 100 <= len(page.entries) <= 300
    assert numbers(page)[-1] == 999


async def test_position_after_the_newest_is_not_complete(log: EventLog) -> None:
    """It is invented, or Redis lost entries."""
    await log.append("commands", envelopes(1))
    epoch = (await log.position("commands")).epoch
    page = await log.read("commands", Position(epoch, 2**53))
    assert (page.complete, numbers(page), page.position) == (False, [], Position(epoch, 1))


@pytest.mark.parametrize("lost", ["everything", "the stream", "the hash"])
async def test_lost_data_starts_a_new_epoch(log: EventLog, redis: Redis, lost: str) -> None:
    await log.append("commands", envelopes(1, 2))
    old = await log.position("commands")
    await {"everything": redis.flushdb, "the stream": _del(redis, STREAM), "the hash": _del(redis, EVENTS)}[lost]()
    await log.append("commands", envelopes(3))
    new = await log.position("commands")
    assert new.epoch != old.epoch
    page = await log.read("commands", old)
    assert (page.complete, numbers(page), page.position) == (False, [3], Position(new.epoch, 1))


@pytest.mark.parametrize("left", [[], ["commands/offset"]], ids=["nothing", "an offset"])
async def test_stream_without_epoch_is_not_read(log: EventLog, redis: Redis, left: list[str]) -> None:
    """A reader that took one of its offsets would miss as many entries of the next epoch."""
    await log.append("commands", envelopes(1, 2))
    state = {field: await redis.hget(EVENTS, field) for field in left}
    await redis.delete(EVENTS)
    if state:
        await redis.hset(EVENTS, mapping=state)
    assert await log.position("commands") == START
    page = await log.read("commands", Position("", 2))
    assert (page.entries, page.position, page.first, page.last, page.complete) == ((), START, 1, 0, False)
    reading = asyncio.create_task(log.read("commands", page.position, wait_s=30))
    await until(lambda: _reader_is_blocked(redis), what="a blocked reader")
    await log.append("commands", envelopes(3, 4, 5))
    assert (numbers(await reading), (await reading).complete) == ([3, 4, 5], True)


@pytest.mark.parametrize("state", [None, {"commands": "x"}, {"commands": "x", "commands/offset": 1}])
async def test_stream_beyond_its_hash_stops_no_writer(log: EventLog, redis: Redis, state: Any) -> None:
    """No hash, no offset or a lower offset: the other topics of the batch get their entries once."""
    await log.append("commands", envelopes(1, 2))
    await redis.delete(EVENTS)
    if state:
        await redis.hset(EVENTS, mapping=state)
    batch = Batch("w", 1, {"early": [b"1"], "commands": [b"2"]})
    for _ in range(2):
        assert await log.append_batch(batch) == {"early": 1, "commands": 1}
    page = await log.read("commands")
    assert ([entry.data for entry in page.entries], page.complete) == ([b"2"], True)


async def test_failed_batch_writes_nothing(log: EventLog, redis: Redis) -> None:
    await redis.set(STREAM, "another value")
    with pytest.raises(StoreDamaged):
        await log.append_batch(Batch("w", 1, {"early": [b"1"], "commands": [b"2"]}))
    assert await redis.keys("*") == [STREAM.encode()]


def _del(redis: Redis, key: str) -> Any:
    async def delete() -> None:
        await redis.delete(key)

    return delete


async def test_restored_old_data_starts_a_new_epoch(log: EventLog, redis: Redis) -> None:
    """As far as running writers know, no offset is used twice within an epoch."""
    await log.append("commands", envelopes(1, 2))
    old = await log.position("commands")
    saved = {key: await redis.dump(key) for key in (EVENTS, STREAM)}
    await log.append("commands", envelopes(3))
    for key, value in saved.items():
        await redis.restore(key, 0, value, replace=True)
    assert await log.position("commands") == old
    await log.append("commands", envelopes(4))
    page = await log.read("commands", Position(old.epoch, 3))
    assert (page.complete, numbers(page), page.kept) == (False, [4], {old.epoch: 2})
    assert numbers(await log.read("commands", Position(old.epoch, 1))) == [2, 4]
    assert numbers(await log.read("commands", Position("unknown", 3))) == [1, 2, 4]
    await redis.flushdb()
    await log.append("commands", envelopes(5))
    page = await log.read("commands", Position(old.epoch, 2))
    assert (page.complete, numbers(page), page.kept) == (False, [5], {})


async def test_newest_kept_epochs_are_known_to_readers(log: EventLog, redis: Redis) -> None:
    saved, epochs = [], []
    for n in range(20):
        await log.append("commands", envelopes(n))
        saved.append(await redis.dump(STREAM))
    for last in range(18, 0, -1):
        epochs.append((await log.position("commands")).epoch)
        await redis.restore(STREAM, 0, saved[last - 1], replace=True)
        await redis.hset(EVENTS, "commands/offset", last)
        await log.append("commands", envelopes(100 + last))
    assert len(set(epochs)) == 18
    page = await log.read("commands", Position(epochs[-1], 3))
    assert (page.kept, numbers(page)) == (dict.fromkeys(epochs[-16:], 1), [101])


async def test_topics_are_listed_with_their_newest_position(log: EventLog) -> None:
    await log.append("commands", envelopes(1, 2))
    await log.append("services", envelopes(3))
    topics = await log.topics()
    assert {name: position.offset for name, position in topics.items()} == {"commands": 2, "services": 1}
    assert topics["commands"] == await log.position("commands")


async def test_bots_do_not_share_events(redis: Redis, log: EventLog) -> None:
    async with event_log(redis, Settings(bot="other")) as other:
        await other.append("commands", envelopes(1))
        assert (await log.read("commands")).entries == ()


async def test_redis_failure_raises_unreachable(tmp_path: Path) -> None:
    async with connect(f"unix://{tmp_path}/none.sock", timeout_s=expires(0.05)) as redis:
        log = RedisEventLog(redis, redis, "bot")
        for call in (
            log.append("a", envelopes(1)),
            log.read("a"),
            log.position("a"),
            log.topics(),
            log.trim("a", keep=1),
        ):
            with pytest.raises(Unreachable, match="Redis failed"):
                await call


async def test_kill_9_loses_and_doubles_no_acknowledged_event(tmp_path: Path) -> None:
    """Writers repeat unacknowledged batches. The acknowledged ones are compared with the log, per writer."""
    ledger: dict[str, list[int]] = {f"w{n}": [] for n in range(3)}
    stop = asyncio.Event()
    random = Random(3)
    with server(embedded_redis.PART, tmp_path) as store:
        async with connect(store.url, timeout_s=LIMIT_S) as redis, event_log(redis, Settings()) as log:

            async def write(writer: str) -> None:
                number = 0
                while not stop.is_set():
                    number += 1
                    entries = [encode({"w": writer, "n": number})]
                    while True:
                        try:
                            await log.append_batch(Batch(writer, number, {"commands": entries, "copy": entries}))
                        except Unreachable:
                            await asyncio.sleep(0)
                            continue
                        break
                    ledger[writer].append(number)

            writers = [asyncio.create_task(write(writer)) for writer in ledger]
            for _ in range(3):
                more = sum(map(len, ledger.values())) + random.randint(30, 90)
                await until(lambda: sum(map(len, ledger.values())) >= more, what="more events")  # noqa: B023
                store.kill()
                store.start()
            stop.set()
            await asyncio.gather(*writers)
            pages = await log.read_many({"commands": START, "copy": START}, limit=10_000)
    for page in pages.values():
        assert page.complete
        assert [entry.offset for entry in page.entries] == list(range(1, page.last + 1))
        found = [entry.envelope for entry in page.entries]
        for writer, acknowledged in ledger.items():
            assert [event["n"] for event in found if event["w"] == writer] == acknowledged
    assert [e.data for e in pages["commands"].entries] == [e.data for e in pages["copy"].entries]
