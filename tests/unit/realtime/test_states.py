"""States: read while someone watches, once for all; a snapshot and all changes after it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botctl.core.clock import SystemClock
from botctl.core.contracts.permissions import PERMISSIONS
from botctl.core.contracts.states import STATE_PERMISSIONS
from botctl.core.errors import Unreachable
from botctl.realtime import states
from botctl.realtime.states import EVERY_S, StateHub, changes
from tests.support.listener import Listener
from tests.support.stores import tasks_for

Table = dict[str, dict[str, Any]]


class Source:
    """Two states in memory. Each read takes ``took_s``."""

    names = ("one", "two")

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {"one": {}, "two": {}}
        self.reads = 0
        self.took_s = 0.0
        self.unavailable = False

    async def read(self) -> Mapping[str, Table]:
        self.reads += 1
        read = {name: dict(table) for name, table in self.tables.items()}
        await asyncio.sleep(self.took_s)
        if self.unavailable:
            raise Unreachable("away")
        return read


class Watcher(Listener):
    """Applies what it is sent to its snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, Table] = {}

    async def watch(self, hub: StateHub, *names: str) -> None:
        sent = await hub.watch(self, names)
        self.tables |= json.loads(json.dumps(sent))

    def push(self, frames: bytes) -> None:
        known = len(self.messages)
        super().push(frames)
        for message in self.messages[known:]:
            if message["type"] == "change" and message["value"] is None:
                del self.tables[message["state"]][message["key"]]  # a key that was there
            elif message["type"] == "change":
                self.tables[message["state"]][message["key"]] = message["value"]

    def kinds(self, kind: str) -> list[str]:
        return [message["state"] for message in self.messages if message["type"] == kind]


@asynccontextmanager
async def running(source: Source) -> AsyncIterator[StateHub]:
    async with tasks_for("states") as (tasks, watcher):
        hub = StateHub([source], LoopClock())
        for name, run in hub.tasks().items():
            tasks.spawn(run, name=name)
        yield hub
        assert not watcher.failures


class LoopClock(SystemClock):
    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def test_states_need_known_permissions() -> None:
    assert set(STATE_PERMISSIONS.values()) <= PERMISSIONS.keys()


def test_changes_are_new_values_and_keys_that_are_gone() -> None:
    old = {"same": {"n": 1}, "other": {"n": 1}, "gone": {"n": 1}}
    assert changes(old, {"same": {"n": 1}, "other": {"n": 2}, "new": {"n": 3}}) == {
        "other": {"n": 2},
        "new": {"n": 3},
        "gone": None,
    }


@pytest.mark.looptime
async def test_source_is_read_only_while_someone_watches_and_once_for_all() -> None:
    source, first, second = Source(), Watcher(), Watcher()
    async with running(source) as hub:
        await asyncio.sleep(60)
        assert source.reads == 0
        source.took_s = 0.01
        await asyncio.gather(first.watch(hub, "one"), second.watch(hub, "two", "one"))
        assert (source.reads, hub.watches) == (1, 3)
        source.tables["one"]["k"] = {"n": 1}
        source.tables["two"]["k"] = {"n": 2}
        await asyncio.sleep(EVERY_S + 0.1)
        assert source.reads == 2
        assert first.tables == {"one": {"k": {"n": 1}}}
        assert second.tables == source.tables
        hub.unwatch(first, ["one"])
        hub.unwatch(second, ["two", "one", "none"])
        reads = source.reads
        await asyncio.sleep(60)
        assert (source.reads, hub.watches) == (reads, 0)
        source.tables["one"].clear()
        await first.watch(hub, "one")
        assert first.tables["one"] == {}  # and not what was read before


@pytest.mark.looptime
async def test_changes_are_encoded_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    real = states.encode_push
    monkeypatch.setattr(states, "encode_push", lambda kind, **fields: encoded.append(kind) or real(kind, **fields))
    source, watchers = Source(), [Watcher() for _ in range(5)]
    async with running(source) as hub:
        for watcher in watchers:
            await watcher.watch(hub, "one")
        source.tables = {"one": {str(n): {"n": n} for n in range(10)}, "two": {"not": {"watched": 1}}}
        await asyncio.sleep(3 * EVERY_S)
        assert encoded == ["change"] * 10
        assert all(watcher.tables == {"one": source.tables["one"]} for watcher in watchers)


@pytest.mark.looptime
async def test_slow_source_is_read_less_often() -> None:
    source, watcher = Source(), Watcher()
    source.took_s = 2.0
    async with running(source) as hub:
        await watcher.watch(hub, "one")
        await asyncio.sleep(60)
        assert 4 <= source.reads <= 7


@pytest.mark.looptime
async def test_outage_is_told_once_with_the_time_of_the_values() -> None:
    source, watcher, late = Source(), Watcher(), Watcher()
    async with running(source) as hub:
        await watcher.watch(hub, "one", "two")
        assert hub.stale_since("one") is None
        source.unavailable = True
        await asyncio.sleep(10)
        assert (sorted(watcher.kinds("stale")), watcher.kinds("fresh")) == (["one", "two"], [])
        await late.watch(hub, "one")
        assert hub.stale_since("one") == watcher.messages[0]["since"]
        source.unavailable = False
        source.tables["one"]["k"] = {"n": 1}
        await asyncio.sleep(2)
        assert [message["type"] for message in late.messages] == ["change", "fresh"]
        assert sorted(watcher.kinds("fresh")) == ["one", "two"]
        assert watcher.tables == source.tables


@pytest.mark.looptime
async def test_first_read_that_fails_watches_nothing() -> None:
    source, watcher = Source(), Watcher()
    source.unavailable = True
    async with running(source) as hub:
        with pytest.raises(Unreachable):
            await watcher.watch(hub, "one")
        assert hub.watches == 0
        reads = source.reads
        await asyncio.sleep(60)
        assert source.reads == reads


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from("abc"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["delete"]), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.sampled_from(["watch", "unwatch"]), st.sampled_from(["x", "y"]), st.just(0)),
        st.tuples(st.sampled_from(["wait", "away", "back", "slow", "fast"]), st.just(""), st.integers(0, 4)),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(STEPS)
@pytest.mark.looptime
async def test_snapshot_and_changes_together_are_the_state(steps: list[tuple[str, str, int]]) -> None:
    source, watchers = Source(), {"x": Watcher(), "y": Watcher()}
    table, watching, joining = source.tables["one"], set(), set()
    async with running(source) as hub:

        async def watch(name: str) -> None:
            try:
                await watchers[name].watch(hub, "one")
                watching.add(name)
            except Unreachable:
                assert name in watching or watchers[name] not in hub._by_state["one"].watchers["one"]

        for step, which, number in steps:
            if step == "set":
                table[which] = {"n": number}
            elif step == "delete":
                table.pop(which, None)
            elif step == "watch":
                joining.add(asyncio.create_task(watch(which)))
            elif step == "unwatch":
                await asyncio.gather(*joining)
                hub.unwatch(watchers[which], ["one"])
                watching.discard(which)
            elif step in ("away", "back"):
                source.unavailable = step == "away"
            elif step in ("slow", "fast"):
                source.took_s = 0.5 if step == "slow" else 0.0
            else:
                await asyncio.sleep(number / 4)
        source.unavailable = False
        await asyncio.gather(*joining)
        await asyncio.sleep(30)
        table.pop("a", None)
        await asyncio.sleep(30)
        assert all(watchers[name].tables["one"] == table for name in watching)
