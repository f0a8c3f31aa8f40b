"""The hub: whoever joins, whenever, hears everything once and in order, or is told that something is missing."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botctl.core.contracts.event_log import START, Entry, EventPage, Position
from botctl.core.errors import Unreachable
from botctl.realtime import hub as hubs
from botctl.realtime.hub import Hub, HubFull
from botctl.realtime.protocol import pushes
from botctl.realtime.socket import text_frame
from tests.support.stores import tasks_for
from tests.support.waiting import until


class MemoryLog:
    """One process's log, with what the real one has: epochs, trimming, being away. Each answer takes a turn."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Entry]] = {}
        self.last: dict[str, int] = {}
        self.epochs = {"": itertools.count(1)}
        self.epoch: dict[str, str] = {}
        self.away = False
        self.reads = 0
        self._news = asyncio.Event()

    def append(self, topic: str, count: int = 1) -> None:
        self.epoch.setdefault(topic, f"e{next(self.epochs[''])}")
        for _ in range(count):
            self.last[topic] = self.last.get(topic, 0) + 1
            self.kept.setdefault(topic, []).append(Entry(self.last[topic], b'"%d"' % self.last[topic]))
        self._news.set()

    def trim(self, topic: str, keep: int) -> None:
        self.kept[topic] = self.kept[topic][-keep:]

    def lose(self, topic: str) -> None:
        """The store forgets everything."""
        for part in (self.kept, self.last, self.epoch):
            part.pop(topic, None)  # type: ignore[attr-defined]

    def forget(self, topic: str, keep: int) -> None:
        """A store that was killed had not written its newest entries yet; nobody has noticed."""
        self.kept[topic] = [entry for entry in self.kept[topic] if entry.offset <= keep]
        self.last[topic] = min(self.last[topic], keep)
        self._news.set()

    async def position(self, topic: str) -> Position:
        await asyncio.sleep(0)
        return Position(self.epoch.get(topic, ""), self.last.get(topic, 0))

    async def read(self, topic: str, after: Position = START, *, limit: int = 100, wait_s: float = 0) -> EventPage:
        return (await self.read_many({topic: after}, limit=limit, wait_s=wait_s))[topic]

    async def read_many(
        self, after: Mapping[str, Position], *, limit: int = 100, wait_s: float = 0
    ) -> Mapping[str, EventPage]:
        self.reads += 1
        while True:
            await asyncio.sleep(0)
            if self.away:
                raise Unreachable("away")
            pages = {topic: self._page(topic, position, limit) for topic, position in after.items()}
            if not wait_s or any(page.entries or not page.complete for page in pages.values()):
                return pages
            self._news.clear()
            await self._news.wait()

    def _page(self, topic: str, after: Position, limit: int) -> EventPage:
        epoch, last, kept = self.epoch.get(topic, ""), self.last.get(topic, 0), self.kept.get(topic, [])
        first = kept[0].offset if kept else last + 1
        known = after.epoch in ("", epoch) and after.offset <= last
        found = tuple(entry for entry in kept if not known or entry.offset > after.offset)[:limit]
        complete = known and after.offset >= first - 1
        reached = found[-1].offset if found else after.offset if complete else last
        return EventPage(found, epoch, first, last, Position(epoch, reached), complete)

    append_batch: Any = None
    topics: Any = None


class Listener:
    """Takes frames, and takes them apart again."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def push(self, frames: bytes) -> None:
        while frames:
            size, at = frames[1], 2
            if size == 126:
                size, at = int.from_bytes(frames[2:4], "big"), 4
            self.said.append(json.loads(frames[at : at + size]))
            frames = frames[at + size :]

    @property
    def offsets(self) -> list[int]:
        return [each["offset"] for each in self.said if each["type"] == "event"]

    @property
    def gaps(self) -> list[int]:
        return [each["offset"] for each in self.said if each["type"] == "gap"]

    def is_sound(self) -> bool:
        """No event twice, none missing without a word."""
        epoch, offset = None, None
        for each in self.said:
            if each["type"] == "gap":
                epoch, offset = each["epoch"], each["offset"]
                continue
            before = (epoch or each["epoch"], offset)  # an empty epoch: before the first event of any
            if epoch is not None and before != (each["epoch"], each["offset"] - 1):
                return False
            epoch, offset = each["epoch"], each["offset"]
        return True


@asynccontextmanager
async def running(log: MemoryLog, **options: Any) -> AsyncIterator[Hub]:
    async with tasks_for("hub") as (tasks, watcher):
        hub = Hub(log, tasks, **({"recover": 100, "recover_bytes": 100_000} | options))  # type: ignore[arg-type]
        tasks.spawn(hub.run, name="hub")
        yield hub
        assert not watcher.failures


async def test_everyone_hears_what_comes_after_joining() -> None:
    log, early, late = MemoryLog(), Listener(), Listener()
    async with running(log) as hub:
        log.append("a", 2)
        await hub.join(early, "a", await log.position("a"))
        log.append("a", 2)
        await until(lambda: early.offsets == [3, 4])
        await hub.join(late, "a", (await hub.history("a", None, room_bytes=0)).position)
        log.append("a", 1)
        await until(lambda: late.offsets == [5])
        assert early.offsets == [3, 4, 5]
        assert hub.counts.events == 3
        assert hub.counts.deliveries == 4


async def test_who_joins_behind_the_hub_catches_up_first() -> None:
    log, steady, late = MemoryLog(), Listener(), Listener()
    async with running(log) as hub:
        log.append("a", 1)
        await hub.join(steady, "a", await log.position("a"))
        behind = await log.position("a")
        log.append("a", 5)
        await until(lambda: len(steady.offsets) == 5)
        await hub.join(late, "a", behind)
        log.append("a", 1)
        await until(lambda: late.offsets == [2, 3, 4, 5, 6, 7])
        assert late.gaps == []


async def test_who_joins_ahead_of_the_hub_gets_nothing_twice() -> None:
    """It read the log itself a moment ago; the hub is about to read the same."""
    log, steady, ahead = MemoryLog(), Listener(), Listener()
    async with running(log) as hub:
        log.append("a", 1)
        await hub.join(steady, "a", START._replace(offset=0))
        log.append("a", 3)
        await hub.join(ahead, "a", await log.position("a"))
        log.append("a", 1)
        await until(lambda: steady.offsets == [1, 2, 3, 4, 5])
        assert ahead.offsets == [5]


async def test_a_hub_that_fell_behind_says_so() -> None:
    log, one = MemoryLog(), Listener()
    async with running(log) as hub:
        log.append("a", 1)
        await hub.join(one, "a", await log.position("a"))
        log.append("a", 50)
        log.trim("a", 10)
        await until(lambda: one.offsets == list(range(42, 52)))
        assert one.gaps == [41]
        assert hub.counts.gaps == 1


async def test_a_log_that_lost_everything_is_told_of() -> None:
    log, one = MemoryLog(), Listener()
    async with running(log) as hub:
        log.append("a", 3)
        await hub.join(one, "a", await log.position("a"))
        log.lose("a")
        log.append("a", 2)
        await until(lambda: one.offsets == [1, 2])
        assert one.gaps == [0]


async def test_a_log_that_lost_its_newest_is_told_of() -> None:
    """The epoch stays until somebody appends who knows of them; the numbers begin again where the store ends."""
    log, one, late = MemoryLog(), Listener(), Listener()
    async with running(log) as hub:
        log.append("a", 10)
        await hub.join(one, "a", await log.position("a"))
        log.append("a", 1)
        await until(lambda: one.offsets == [11])
        log.forget("a", 4)
        await hub.join(late, "a", await log.position("a"))
        log.append("a", 3)
        await until(lambda: one.offsets == [11, 5, 6, 7])
        assert one.gaps == [4]
        assert late.offsets == [5, 6, 7]
        assert late.gaps == []
        assert hub.counts.gaps == 1


async def test_while_the_log_is_away_everyone_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    log, one = MemoryLog(), Listener()
    async with running(log) as hub:
        await hub.join(one, "a", START)
        log.away = True
        log.append("a", 3)
        await until(lambda: log.reads > 1)
        log.away = False
        await until(lambda: one.offsets == [1, 2, 3])


async def test_what_nobody_wants_is_not_read() -> None:
    log, one = MemoryLog(), Listener()
    async with running(log) as hub:
        await hub.join(one, "a", START)
        await until(lambda: log.reads > 0)
        hub.leave(one, ["a", "never joined"])
        assert hub.subscriptions == 0
        log.append("a", 1)
        await until(lambda: not hub._wanted.is_set())
        reads = log.reads
        log.append("a", 1)
        await asyncio.sleep(0)
        assert log.reads == reads
        assert one.offsets == []


async def test_topics_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "MAX_TOPICS", 2)
    log, one = MemoryLog(), Listener()
    async with running(log) as hub:
        await hub.join(one, "a", START)
        await hub.join(one, "b", START)
        with pytest.raises(HubFull):
            await hub.join(one, "c", START)
        await hub.join(Listener(), "a", START)


async def test_a_long_page_is_written_in_pieces() -> None:
    """Each of many frames, as few writes as may be."""
    log, writes = MemoryLog(), []

    class Counting(Listener):
        def push(self, frames: bytes) -> None:
            writes.append(len(frames))
            super().push(frames)

    one = Counting()
    async with running(log) as hub:
        await hub.join(one, "a", START)
        log.append("a", 200)
        await until(lambda: len(one.offsets) == 200)
        assert len(writes) == 1


async def test_a_page_that_was_read_for_others_is_not_given_to_those_who_came_meanwhile() -> None:
    """All leave, and one comes back further on, while the hub's answer from the log is on its way."""
    log, one = MemoryLog(), Listener()
    async with running(log) as hub:
        await hub.join(one, "a", START)
        log.append("a", 2)
        await until(lambda: one.offsets == [1, 2])
        log.append("a", 2)
        await asyncio.sleep(0)
        hub.leave(one, ["a"])
        history = await hub.history("a", Position("e1", 2), room_bytes=100_000)
        await hub.join(one, "a", history.position)
        log.append("a", 1)
        await until(lambda: one.offsets[-1] == 5)
        assert one.offsets == [1, 2, 5]


async def test_a_history_has_at_least_the_size_of_its_frames() -> None:
    """Of small events most is what is around them, and that counts; what is larger than the room is not begun."""
    log = MemoryLog()
    async with running(log) as hub:
        log.append("a", 30)
        history = await hub.history("a", Position("e1", 10), room_bytes=100_000)
        frames = b"".join(map(text_frame, pushes("a", "e1", history.entries)))
        assert len(history.entries) == 20
        assert len(frames) <= history.size_bytes < 2 * len(frames)
        fits = await hub.history("a", Position("e1", 10), room_bytes=history.size_bytes)
        assert fits.recovered
        larger = await hub.history("a", Position("e1", 10), room_bytes=history.size_bytes - 1)
        assert (larger.recovered, larger.entries, larger.size_bytes) == (False, (), 0)


ACTS = st.lists(
    st.sampled_from(["append", "append", "join", "rejoin", "leave", "lose", "forget", "trim", "turn", "turn"]),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_law_nothing_twice_and_nothing_missing_without_a_word(acts: list[str]) -> None:
    """Whatever happens in whatever order: and in the end everyone who stayed is where the log is."""
    asyncio.run(_play(acts))


async def _play(acts: list[str]) -> None:
    log = MemoryLog()
    inside: dict[Listener, None] = {}
    heard: list[Listener] = []
    async with running(log, recover=3) as hub:
        joins: set[asyncio.Task[None]] = set()

        async def join(one: Listener, after: Position | None) -> None:
            history = await hub.history("a", after, room_bytes=100_000)
            for entry in history.entries:
                one.said.append({"type": "event", "epoch": history.position.epoch, "offset": entry.offset})
            if after is not None and not history.recovered:
                one.said.append({"type": "gap", "epoch": history.position.epoch, "offset": history.position.offset})
            await hub.join(one, "a", history.position)
            inside[one] = None

        for act in acts:
            if act == "append":
                log.append("a", 2)
            elif act == "join" or (act == "rejoin" and not heard):
                heard.append(Listener())
                joins.add(asyncio.create_task(join(heard[-1], None)))
            elif act == "rejoin" and heard[-1] in inside and heard[-1].said:
                last = heard[-1].said[-1]
                hub.leave(heard[-1], ["a"])
                del inside[heard[-1]]
                joins.add(asyncio.create_task(join(heard[-1], Position(last["epoch"], last["offset"]))))
            elif act == "leave" and inside:
                hub.leave(one := next(iter(inside)), ["a"])
                del inside[one]
            elif act == "lose":
                log.lose("a")
            elif act == "forget" and log.kept.get("a"):
                log.forget("a", log.kept["a"][0].offset)
            elif act == "trim" and log.kept.get("a"):
                log.trim("a", 1)
            else:
                await asyncio.sleep(0)
        await asyncio.gather(*joins)
        log.append("a", 1)
        end = (log.epoch["a"], log.last["a"])
        await until(lambda: all(_end(one) == end for one in inside), what=f"all at {end}")
    for one in heard:
        assert one.is_sound(), one.said


def _end(one: Listener) -> Any:
    return (one.said[-1].get("epoch"), one.said[-1]["offset"]) if one.said else None
