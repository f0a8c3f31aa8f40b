"""The hub: each subscriber gets every event once and in order, or a gap."""

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
from botctl.realtime import event_frames
from botctl.realtime.hub import Hub, HubFull
from botctl.realtime.protocol import encode_events
from botctl.realtime.socket import text_frame
from tests.support.listener import Listener
from tests.support.stores import tasks_for
from tests.support.waiting import until


class MemoryLog:
    """An event log in memory, with epochs, trimming and outages. Each read takes a turn of the loop."""

    def __init__(self) -> None:
        self.entries: dict[str, list[Entry]] = {}
        self.last: dict[str, int] = {}
        self.epochs = {"": itertools.count(1)}
        self.epoch: dict[str, str] = {}
        self.kept: dict[str, dict[str, int]] = {}
        self.serials = itertools.count(1)
        self.unavailable = False
        self.silent = False
        self.reads = 0
        self.asked = 0  # for a position
        self._appended = asyncio.Event()

    def append(self, topic: str, count: int = 1) -> None:
        self.epoch.setdefault(topic, f"e{next(self.epochs[''])}")
        for _ in range(count):
            self.last[topic] = self.last.get(topic, 0) + 1
            self.entries.setdefault(topic, []).append(Entry(self.last[topic], b"%d" % next(self.serials)))
        self._appended.set()

    def append_of(self, topic: str, guild: object) -> None:
        """Append an event whose envelope has ``guild``."""
        self.append(topic)
        self.entries[topic][-1] = Entry(self.last[topic], json.dumps({"guild": guild, "data": {}}).encode())

    def trim(self, topic: str, keep: int) -> None:
        self.entries[topic] = self.entries[topic][-keep:]

    def reset(self, topic: str) -> None:
        for part in (self.entries, self.last, self.epoch, self.kept):
            part.pop(topic, None)  # type: ignore[attr-defined]

    def lose_newest(self, topic: str, keep: int) -> None:
        """Drop entries after ``keep``, as a store does that was killed before it wrote them."""
        self.entries[topic] = [entry for entry in self.entries[topic] if entry.offset <= keep]
        self.last[topic] = min(self.last[topic], keep)
        self._appended.set()

    def renumber(self, topic: str) -> None:
        """Begin a new epoch that keeps the entries, as for a writer that had written more."""
        last = self.last[topic]
        kept = {epoch: min(offset, last) for epoch, offset in self.kept.get(topic, {}).items()}
        self.kept[topic] = kept | {self.epoch[topic]: last}
        self.epoch[topic] = f"e{next(self.epochs[''])}"

    async def position(self, topic: str) -> Position:
        self.asked += 1
        await asyncio.sleep(0)
        if self.unavailable:
            raise Unreachable("away")
        return Position(self.epoch.get(topic, ""), self.last.get(topic, 0))

    async def read(self, topic: str, after: Position = START, *, limit: int = 100, wait_s: float = 0) -> EventPage:
        return (await self.read_many({topic: after}, limit=limit, wait_s=wait_s))[topic]

    async def read_many(
        self, after: Mapping[str, Position], *, limit: int = 100, wait_s: float = 0
    ) -> Mapping[str, EventPage]:
        self.reads += 1
        while True:
            await asyncio.sleep(0)
            if self.unavailable:
                raise Unreachable("away")
            if self.silent:
                await asyncio.Event().wait()
            pages = {topic: self._page(topic, position, limit) for topic, position in after.items()}
            if not wait_s or any(page.entries or not page.complete for page in pages.values()):
                return pages
            self._appended.clear()
            await self._appended.wait()

    def _page(self, topic: str, after: Position, limit: int) -> EventPage:
        epoch, last, entries = self.epoch.get(topic, ""), self.last.get(topic, 0), self.entries.get(topic, [])
        first = entries[0].offset if entries else last + 1
        is_known = after.epoch in ("", epoch) and after.offset <= last
        kept = {} if after.epoch in ("", epoch) else self.kept.get(topic, {})
        had = EventPage((), epoch, first, last, START, kept=kept).had(after)
        page_entries = tuple(entry for entry in entries if entry.offset > had)[:limit]
        complete = is_known and after.offset >= first - 1
        end_offset = page_entries[-1].offset if page_entries else after.offset if complete else last
        return EventPage(page_entries, epoch, first, last, Position(epoch, end_offset), complete, kept)

    append_batch: Any = None
    topics: Any = None


@asynccontextmanager
async def running(log: MemoryLog, **options: Any) -> AsyncIterator[Hub]:
    async with tasks_for("hub") as (tasks, watcher):
        hub = Hub(log, tasks, **({"recover": 100, "recover_bytes": 100_000} | options))  # type: ignore[arg-type]
        tasks.spawn(hub.run, name="hub")
        yield hub
        assert not watcher.failures


async def test_subscribers_get_events_published_after_they_join() -> None:
    log, early, late = MemoryLog(), Listener(), Listener()
    async with running(log) as hub:
        log.append("a", 2)
        await hub.join(early, "a", await log.position("a"))
        log.append("a", 2)
        await until(lambda: early.offsets == [3, 4])
        await hub.join(late, "a", (await hub.history("a", None, limit_bytes=0)).position)
        log.append("a", 1)
        await until(lambda: late.offsets == [5])
        assert early.offsets == [3, 4, 5]
        assert hub.counts.events == 3
        assert hub.counts.deliveries == 4


async def test_subscriber_behind_the_hub_catches_up_first() -> None:
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


async def test_subscriber_ahead_of_the_hub_gets_no_event_twice() -> None:
    """It has read the events that the hub reads next."""
    log, steady, ahead = MemoryLog(), Listener(), Listener()
    async with running(log) as hub:
        log.append("a", 1)
        await hub.join(steady, "a", START._replace(offset=0))
        log.append("a", 3)
        await hub.join(ahead, "a", await log.position("a"))
        log.append("a", 1)
        await until(lambda: steady.offsets == [1, 2, 3, 4, 5])
        assert ahead.offsets == [5]


async def test_hub_behind_a_trimmed_log_sends_a_gap() -> None:
    log, listener = MemoryLog(), Listener()
    async with running(log) as hub:
        log.append("a", 1)
        await hub.join(listener, "a", await log.position("a"))
        log.append("a", 50)
        log.trim("a", 10)
        await until(lambda: listener.offsets == list(range(42, 52)))
        assert listener.gaps == [41]
        assert hub.counts.gaps == 1


async def test_reset_log_causes_a_gap() -> None:
    log, listener = MemoryLog(), Listener()
    async with running(log) as hub:
        log.append("a", 3)
        await hub.join(listener, "a", await log.position("a"))
        log.reset("a")
        log.append("a", 2)
        await until(lambda: listener.offsets == [1, 2])
        assert listener.gaps == [0]


async def test_log_that_lost_its_newest_events_causes_a_gap() -> None:
    """The epoch stays, and the offsets continue where the store ends."""
    log, listener, late = MemoryLog(), Listener(), Listener()
    async with running(log) as hub:
        log.append("a", 10)
        await hub.join(listener, "a", await log.position("a"))
        log.append("a", 1)
        await until(lambda: listener.offsets == [11])
        log.lose_newest("a", 4)
        await hub.join(late, "a", await log.position("a"))
        log.append("a", 3)
        await until(lambda: listener.offsets == [11, 5, 6, 7])
        assert listener.gaps == [4]
        assert late.offsets == [5, 6, 7]
        assert late.gaps == []
        assert hub.counts.gaps == 1


async def test_new_epoch_sends_no_event_again() -> None:
    log, listener, ahead = MemoryLog(), Listener(), Listener()
    async with running(log) as hub:
        log.append("a", 1000)
        await hub.join(listener, "a", Position("e1", 998))
        await until(lambda: listener.offsets == [999, 1000])
        log.lose_newest("a", 995)
        log.renumber("a")
        log.append("a", 2)
        await hub.join(ahead, "a", await log.position("a"))
        log.append("a", 1)
        await until(lambda: listener.offsets[2:] == [996, 997, 998])
        assert listener.gaps == [995]
        assert (ahead.offsets, ahead.gaps) == ([998], [])


async def test_subscriber_ahead_of_a_slow_hub_gets_no_event_again() -> None:
    """The log loses events that the hub has not read yet."""
    log, steady, ahead = MemoryLog(), Listener(), Listener()
    async with running(log) as hub:
        log.append("a", 10)
        await hub.join(steady, "a", Position("e1", 2))
        await hub.join(ahead, "a", Position("e1", 10))
        log.lose_newest("a", 8)
        log.renumber("a")
        log.append("a", 1)
        await until(lambda: steady.offsets == [3, 4, 5, 6, 7, 8, 9])
        assert steady.gaps == [2]
        assert (ahead.offsets, ahead.gaps) == ([9], [8])


async def test_gap_before_a_new_epoch_is_not_filled_again() -> None:
    """The server sees the loss before a writer does, and the next loss too."""
    log, listener = MemoryLog(), Listener()
    async with running(log) as hub:
        log.append("a", 10)
        await hub.join(listener, "a", await log.position("a"))
        for keep in (8, 5):
            log.lose_newest("a", keep)
            await until(lambda: listener.gaps[-1:] == [keep])  # noqa: B023
            log.renumber("a")
            log.append("a", 2)
            await until(lambda: listener.offsets[-1:] == [keep + 2])  # noqa: B023
        assert listener.offsets == [9, 10, 6, 7]
        assert listener.gaps == [8, 8, 5, 5]


async def test_several_losses_at_once_send_no_event_again() -> None:
    log, listener = MemoryLog(), Listener()
    async with running(log) as hub:
        log.append("a", 10)
        await hub.join(listener, "a", await log.position("a"))
        log.unavailable = True
        for keep in (8, 9, 7):
            log.lose_newest("a", keep)
            log.renumber("a")
            log.append("a", 2)
        log.unavailable = False
        await until(lambda: listener.offsets == [8, 9])
        assert listener.gaps == [7]


@pytest.mark.parametrize("flushed", [True, False])
async def test_restored_epoch_sends_no_event_again(flushed: bool) -> None:
    """The store loses the new epoch too, or an old copy of it is restored."""
    log, listener = MemoryLog(), Listener()
    async with running(log) as hub:
        log.append("a", 600)
        await hub.join(listener, "a", Position("e1", 600))
        saved, last = log.entries["a"][:500], 500
        log.reset("a") if flushed else log.renumber("a")
        log.append("a", 2)
        await until(lambda: len(listener.offsets) == 2)
        log.entries["a"], log.last["a"], log.epoch["a"] = saved, last, "e1"
        log.kept = {}
        log.append("other")  # wakes the hub
        await until(lambda: listener.gaps[-1:] == [500])
        log.append("a", 1)
        await until(lambda: len(listener.offsets) > 2)
        assert listener.offsets[2:] == [501]


async def test_topics_keep_or_lose_their_events_independently() -> None:
    log, listener = MemoryLog(), Listener()
    async with running(log) as hub:
        for topic in ("kept", "flushed", "whole"):
            log.append(topic, 3)
            await hub.join(listener, topic, await log.position(topic))
        log.lose_newest("kept", 2)
        log.renumber("kept")
        log.reset("flushed")
        for topic in ("kept", "flushed", "whole"):
            log.append(topic, 1)
        await until(lambda: len(listener.offsets) == 3)
        sent = {message["topic"]: message["offset"] for message in listener.messages if message["type"] == "event"}
        assert sent == {"kept": 3, "flushed": 1, "whole": 4}
        assert {message["topic"] for message in listener.messages if message["type"] == "gap"} == {"kept", "flushed"}


@pytest.mark.parametrize("offset", [3, 5, 10])
async def test_client_with_an_old_epoch_gets_only_new_events(offset: int) -> None:
    log, listener = MemoryLog(), Listener()
    async with running(log) as hub:
        log.append("a", 10)
        log.lose_newest("a", 5)
        log.renumber("a")
        log.append("a", 1)
        history = await hub.history("a", Position("e1", offset), limit_bytes=100_000)
        assert (history.recovered, history.position, history.entries) == (False, Position("e2", 6), ())
        await hub.join(listener, "a", history.position)
        log.append("a", 1)
        await until(lambda: listener.offsets == [7])
        assert listener.gaps == []


async def test_subscribers_wait_while_the_log_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    log, listener = MemoryLog(), Listener()
    async with running(log) as hub:
        await hub.join(listener, "a", START)
        log.unavailable = True
        log.append("a", 3)
        await until(lambda: log.reads > 1)
        log.unavailable = False
        await until(lambda: listener.offsets == [1, 2, 3])


async def test_outage_ends_without_subscribers_when_the_log_answers() -> None:
    log, listener = MemoryLog(), Listener()
    async with tasks_for("hub") as (tasks, _):
        hub = Hub(log, tasks, recover=100, recover_bytes=100_000)
        await hub.join(listener, "a", START)
        log.unavailable = True
        tasks.spawn(hub.run, name="hub")
        await until(lambda: bool(tasks.detail))
        hub.leave(listener, ["a"])
        asked = log.asked
        await until(lambda: log.asked > asked)
        assert tasks.detail, "the log does not answer yet"
        log.unavailable = False
        await until(lambda: not tasks.detail)


async def test_cancelled_read_does_not_end_an_outage() -> None:
    log, listener = MemoryLog(), Listener()
    async with tasks_for("hub") as (tasks, _):
        hub = Hub(log, tasks, recover=100, recover_bytes=100_000)
        await hub.join(listener, "a", START)
        log.unavailable = True
        tasks.spawn(hub.run, name="hub")
        await until(lambda: bool(tasks.detail))
        log.unavailable, log.silent = False, True  # it takes requests, and answers none
        reads = log.reads
        await until(lambda: log.reads > reads)
        reads = log.reads
        await hub.join(listener, "b", START)
        await until(lambda: log.reads > reads)
        assert tasks.detail
        log.append("b", 1)
        log.silent = False
        await hub.join(listener, "c", START)
        await until(lambda: not tasks.detail)


async def test_topics_without_subscribers_are_not_read() -> None:
    log, listener = MemoryLog(), Listener()
    async with running(log) as hub:
        await hub.join(listener, "a", START)
        await until(lambda: log.reads > 0)
        hub.leave(listener, ["a", "never joined"])
        assert hub.subscriptions == 0
        log.append("a", 1)
        await until(lambda: not hub._has_topics.is_set())
        reads = log.reads
        log.append("a", 1)
        await asyncio.sleep(0)
        assert log.reads == reads
        assert listener.offsets == []


async def test_hub_limits_the_number_of_topics() -> None:
    log, listener = MemoryLog(), Listener()
    async with running(log, max_topics=2) as hub:
        await hub.join(listener, "a", START)
        await hub.join(listener, "b", START)
        with pytest.raises(HubFull, match="the server reads"):
            await hub.join(listener, "c", START)
        await hub.join(Listener(), "a", START)


async def test_one_key_gets_a_quarter_of_the_topics() -> None:
    """However many connections it has. Topics that it leaves are free again; other keys have their own quarter."""
    log, listeners = MemoryLog(), [Listener() for _ in range(3)]
    async with running(log, max_topics=8) as hub:
        await hub.join(listeners[0], "a", START, caller="k")
        await hub.join(listeners[1], "b", START, caller="k")
        await hub.join(listeners[2], "b", START, caller="k")
        for listener in listeners:
            with pytest.raises(HubFull, match="this client reads"):
                await hub.join(listener, "c", START, caller="k")
        await hub.join(listeners[0], "b", START, caller="k")  # one that it reads already
        await hub.join(Listener(), "c", START, caller="other")
        hub.leave(listeners[1], ["b"])
        with pytest.raises(HubFull):
            await hub.join(listeners[1], "d", START, caller="k")
        hub.leave(listeners[0], ["a"])
        await hub.join(listeners[1], "d", START, caller="k")
        for listener in listeners:
            hub.leave(listener, ["a", "b", "c", "d"])
        assert hub._caller_topics.keys() == {"other"}


async def test_long_page_is_written_in_few_chunks() -> None:
    log, writes = MemoryLog(), []

    class CountingListener(Listener):
        def push(self, frames: bytes) -> None:
            writes.append(len(frames))
            super().push(frames)

    listener = CountingListener()
    async with running(log) as hub:
        await hub.join(listener, "a", START)
        log.append("a", 200)
        await until(lambda: len(listener.offsets) == 200)
        assert len(writes) == 1


async def test_page_read_before_a_rejoin_is_not_sent_again() -> None:
    """The subscriber leaves and joins again while the hub reads the log."""
    log, listener = MemoryLog(), Listener()
    async with running(log) as hub:
        await hub.join(listener, "a", START)
        log.append("a", 2)
        await until(lambda: listener.offsets == [1, 2])
        log.append("a", 2)
        await asyncio.sleep(0)
        hub.leave(listener, ["a"])
        history = await hub.history("a", Position("e1", 2), limit_bytes=100_000)
        await hub.join(listener, "a", history.position)
        log.append("a", 1)
        await until(lambda: listener.offsets[-1] == 5)
        assert listener.offsets == [1, 2, 5]


async def test_history_size_is_an_upper_bound_of_its_frames() -> None:
    log = MemoryLog()
    async with running(log) as hub:
        log.append("a", 30)
        history = await hub.history("a", Position("e1", 10), limit_bytes=100_000)
        frames = b"".join(map(text_frame, encode_events("a", "e1", history.entries)))
        assert len(history.entries) == 20
        assert len(frames) <= history.size_bytes < 2 * len(frames)
        fits = await hub.history("a", Position("e1", 10), limit_bytes=history.size_bytes)
        assert fits.recovered
        larger = await hub.history("a", Position("e1", 10), limit_bytes=history.size_bytes - 1)
        assert (larger.recovered, larger.entries, larger.size_bytes) == (False, (), 0)


EVERY_ONE: Any = None
OF_GUILD = {name: frozenset(name.split("+")) for name in ("1", "2", "1+2", "3")} | {"every": EVERY_ONE}


async def test_subscriber_of_a_guild_gets_its_events_and_no_gap() -> None:
    log, here, there, every = MemoryLog(), Listener(), Listener(), Listener()
    async with running(log) as hub:
        for listener, guilds in ((here, OF_GUILD["1"]), (there, OF_GUILD["2"]), (every, None)):
            await hub.join(listener, "a", START, guilds=guilds)
        for guild in ("1", None, "2", "1", 1, ["1"], "11"):
            log.append_of("a", guild)
        log.append("a")  # whose envelope is no object
        await until(lambda: every.offsets == [1, 2, 3, 4, 5, 6, 7, 8])
        assert (here.offsets, there.offsets) == ([1, 4], [3])
        assert here.gaps == there.gaps == []
        assert hub.counts.deliveries == 8 + 2 + 1
        history = await hub.history("a", Position("e1", 1), limit_bytes=1000, guilds=OF_GUILD["1"])
        assert ([entry.offset for entry in history.entries], history.position.offset) == ([4], 8)
        late = Listener()
        await hub.join(late, "a", Position("e1", 2), guilds=OF_GUILD["1"])  # behind the hub
        assert late.offsets == [4]


async def test_page_is_encoded_once_for_each_set_of_guilds(monkeypatch: pytest.MonkeyPatch) -> None:
    log, encoded, parsed = MemoryLog(), [], []
    real, guild_of = event_frames.encode_events, event_frames.guild_of
    monkeypatch.setattr(event_frames, "encode_events", lambda *page: encoded.append(page) or real(*page))
    monkeypatch.setattr(event_frames, "guild_of", lambda entry: parsed.append(entry) or guild_of(entry))
    listeners = {name: [Listener() for _ in range(5)] for name in ("every", "1", "1+2")}
    async with running(log) as hub:
        for name, same in listeners.items():
            for listener in same:
                await hub.join(listener, "a", START, guilds=OF_GUILD[name])
        for _ in range(10):
            log.append_of("a", "1")
        await until(lambda: all(len(listener.offsets) == 10 for same in listeners.values() for listener in same))
    assert len(encoded) == 3 * hub.counts.events // 10 == 3
    assert len(parsed) == 10


async def test_events_are_not_parsed_for_subscribers_of_all_guilds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_frames, "guild_of", None)
    log, listener = MemoryLog(), Listener()
    async with running(log) as hub:
        await hub.join(listener, "a", START)
        log.append_of("a", "1")
        await until(lambda: listener.offsets == [1])


GUILD_ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(["1", "2", "4", None])),
        st.tuples(st.sampled_from(["join", "rejoin"]), st.sampled_from([*OF_GUILD])),
        st.tuples(st.sampled_from(["turn", "turn", "leave", "lose"]), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(GUILD_ACTIONS)
def test_no_event_of_another_guild_leaks_and_none_of_its_own_is_missing(actions: list[tuple[str, Any]]) -> None:
    asyncio.run(_run_guild_actions(actions))


async def _run_guild_actions(actions: list[tuple[str, Any]]) -> None:
    """What each listener gets is compared with the ledger of all events, from where it joined up to where it left."""
    log, lost = MemoryLog(), False
    ledger: dict[int, str | None] = {}
    listeners: list[tuple[Listener, Any, int, list[int]]] = []  # guilds, joined after, left after
    log.append_of("a", None)
    async with running(log) as hub:
        for action, which in actions:
            if action == "append":
                log.append_of("a", which)
                ledger[log.last["a"]] = which
            elif action in ("join", "rejoin"):
                listener, guilds = Listener(), OF_GUILD[which]
                after = Position("e1", 1) if action == "rejoin" and not lost else None
                history = await hub.history("a", after, limit_bytes=100_000, guilds=guilds)
                listener.messages += [
                    {"type": "event", "offset": entry.offset, "event": entry.envelope} for entry in history.entries
                ]
                began = after.offset if after else history.position.offset
                listeners.append((listener, guilds, began, []))
                await hub.join(listener, "a", history.position, guilds=guilds)
            elif action == "leave" and (joined := [each for each in listeners if not each[3]]):
                joined[0][3].append(1)
                hub.leave(joined[0][0], ["a"])
            elif action == "lose" and len(log.entries["a"]) > 1:
                lost = True
                log.trim("a", 1)
                log.reset("a")
                log.append_of("a", None)
            else:
                await asyncio.sleep(0)
        for _ in range(100):
            log.append_of("a", "1")
            log.append_of("a", "2")
        ledger |= {log.last["a"] - 199 + n: "12"[n % 2] for n in range(200)}
        end = {"1": log.last["a"] - 1, "2": log.last["a"]}
        present = [each for each in listeners if not each[3]]
        await until(lambda: all(_has_last(listener, guilds, end) for listener, guilds, _, _ in present))
    for listener, guilds, began, left in listeners:
        got = [(m["offset"], m["event"]["guild"]) for m in listener.messages if m["type"] == "event"]
        assert guilds is None or {guild for _, guild in got} <= guilds
        if not lost:
            due = [(n, guild) for n, guild in ledger.items() if n > began and (guilds is None or guild in guilds)]
            assert got == (due[: len(got)] if left else due)


def _has_last(listener: Listener, guilds: Any, end: Mapping[str, int]) -> bool:
    last = max((offset for guild, offset in end.items() if guilds is None or guild in guilds), default=None)
    return last is None or last in listener.offsets


ACTIONS = st.lists(
    st.sampled_from(
        ["append"] * 2 + ["turn"] * 2 + ["join", "rejoin", "leave", "reset", "lose newest", "lose", "trim"]
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(ACTIONS)
def test_no_event_is_duplicated_or_lost_without_a_gap(actions: list[str]) -> None:
    asyncio.run(_run_actions(actions))


async def _run_actions(actions: list[str]) -> None:
    log = MemoryLog()
    joined: dict[Listener, None] = {}
    listeners: list[Listener] = []
    async with running(log, recover=3) as hub:
        joins: set[asyncio.Task[None]] = set()

        async def join(listener: Listener, after: Position | None) -> None:
            history = await hub.history("a", after, limit_bytes=100_000)
            for entry in history.entries:
                event = {"offset": entry.offset, "event": int(entry.data)}
                listener.messages.append({"type": "event", "epoch": history.position.epoch} | event)
            if after is not None and not history.recovered:
                listener.messages.append(
                    {"type": "gap", "epoch": history.position.epoch, "offset": history.position.offset}
                )
            await hub.join(listener, "a", history.position)
            joined[listener] = None

        for action in actions:
            if action == "append":
                log.append("a", 2)
            elif action == "join" or (action == "rejoin" and not listeners):
                listeners.append(Listener())
                joins.add(asyncio.create_task(join(listeners[-1], None)))
            elif action == "rejoin" and listeners[-1] in joined and listeners[-1].messages:
                last = listeners[-1].messages[-1]
                hub.leave(listeners[-1], ["a"])
                del joined[listeners[-1]]
                joins.add(asyncio.create_task(join(listeners[-1], Position(last["epoch"], last["offset"]))))
            elif action == "leave" and joined:
                hub.leave(listener := next(iter(joined)), ["a"])
                del joined[listener]
            elif action == "reset":
                log.reset("a")
            elif action == "lose newest" and log.entries.get("a"):
                log.lose_newest("a", log.entries["a"][0].offset)
            elif action == "lose" and log.entries.get("a"):
                log.lose_newest("a", log.entries["a"][-1].offset - 1)
                log.renumber("a")
            elif action == "trim" and log.entries.get("a"):
                log.trim("a", 1)
            else:
                await asyncio.sleep(0)
        await asyncio.gather(*joins)
        log.append("a", 100)  # more than a listener may have had of what was lost, so that each gets the last one
        end = (log.epoch["a"], log.last["a"])
        await until(lambda: all(_last_position(listener) == end for listener in joined), what=f"all at {end}")
    for listener in listeners:
        assert listener.has_no_duplicates_or_unreported_gaps(), listener.messages


def _last_position(listener: Listener) -> Any:
    return (listener.messages[-1].get("epoch"), listener.messages[-1]["offset"]) if listener.messages else None
