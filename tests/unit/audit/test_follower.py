"""Which entries are new for a follower of the audit log."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from botctl.audit.log import LOOK_BACK_MS, Follower, Tail, entry_of
from botctl.audit.query import Query
from botctl.core.clock import SystemClock, iso_ms, unix_ms
from botctl.core.errors import Unreachable
from tests.support.clock import ManualClock
from tests.support.waiting import LIMIT_S

LOOK_BACK_S = LOOK_BACK_MS / 1000
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds):
    return START + timedelta(seconds=seconds)


@given(
    st.lists(st.tuples(st.floats(0, 60), st.floats(-LOOK_BACK_S, 0), st.floats(0, LOOK_BACK_S)), max_size=30),
    st.floats(-LOOK_BACK_S, 3600),
    st.floats(0.5, 8),
)
def test_each_document_is_new_once(writes, fast_s, every_s):
    """Writers with different clocks, slow writes and a reader: no entry comes twice, and none is left out.

    A write has a time, the lag of the writer's clock and a duration; lag and duration stay within the look back. A
    writer with a fast clock disturbs no other entry.
    """
    stored = [
        (when + max(0, min(took, LOOK_BACK_S + slow - 0.01)), {"_id": f"{n}", "w": {"at": unix_ms(at(when + slow))}})
        for n, (when, slow, took) in enumerate(writes)
    ]
    stored.append((1.0, {"_id": "fast", "w": {"at": unix_ms(at(1.0 + fast_s))}}))
    tail, got = Tail.from_now(START), []
    for turn in range(int((60 + 2 * LOOK_BACK_S) / every_s) + 1):
        now = turn * every_s
        visible = [document for since, document in stored if since <= now and document["w"]["at"] >= tail.after_ms]
        got += [document["_id"] for document in tail.select_new(visible, at(now))]
    assert sorted(got) == sorted(document["_id"] for _, document in stored)


def test_known_ids_are_kept_for_the_look_back_only():
    tail = Tail.from_now(START)
    for n in range(1000):
        tail.select_new([{"_id": f"{n}", "w": {"at": unix_ms(at(n))}}], at(n))
    assert len(tail._seen) <= LOOK_BACK_S + 1


def test_clock_set_back_repeats_no_entry():
    tail = Tail.from_now(START)
    documents = [{"_id": f"{n}", "w": {"at": unix_ms(at(n))}} for n in range(100)]
    assert len(tail.select_new(documents, at(100))) == 100
    for now in (50.2, 50.7, 100):
        assert tail.select_new([d for d in documents if d["w"]["at"] >= tail.after_ms], at(now)) == []


def test_entries_of_the_first_read_after_a_step_are_new():
    """The clock is set back by a minute. What has a later time than the read was written before that."""
    tail = Tail.from_now(at(60))
    tail.select_new([], at(60))
    tail.select_new([], at(0))
    written = [{"_id": f"{seconds}", "w": {"at": unix_ms(at(seconds))}} for seconds in (0, 0.4, 0.6, 59)]
    assert [document["_id"] for document in tail.select_new(written, at(0.5))] == ["0", "0.4"]
    assert tail.select_new(written, at(1)) == []


def test_follower_goes_on_after_its_clock_was_a_day_ahead():
    """For 15 s. What was written before and during that does not come again."""
    stored, got, tail = [], [], Tail.from_now(START)
    for n in range(80):
        now = at(n / 2 + (86_400 if 20 <= n < 50 else 0))
        stored.append({"_id": f"{n}", "w": {"at": unix_ms(now)}})
        visible = [document for document in stored if document["w"]["at"] >= tail.after_ms]
        got += [document["_id"] for document in tail.select_new(visible, now)]
    assert sorted(got) == sorted(document["_id"] for document in stored)


def test_unreadable_line_is_replaced_by_index_fields():
    index = {"at": iso_ms(START), "action": "command.roll", "actor": "9", "outcome": "success"}
    entry = {"id": "e1", "actor": {"type": "user", "id": "9"}} | {k: index[k] for k in ("at", "action", "outcome")}
    assert entry_of({"_id": "e1", "b": json.dumps(entry).encode(), "x": [index]}) == entry
    for line in (b"{", b"\xff", b"[]", b'{"actor": "9"}'):
        shown = entry_of({"_id": "e1", "b": line, "x": [index]})
        assert (shown["id"], shown["actor"], shown["unreadable"]) == ("e1", {"id": "9"}, True)


async def test_entry_written_while_follower_starts_comes_once():
    """The write comes after the known documents were read, and before the newest ones are."""
    document = {"_id": "e1", "w": {"at": unix_ms(START)}}

    class Log:
        async def written_since(self, after_ms):
            assert after_ms == unix_ms(START) - LOOK_BACK_MS
            return []

        async def newest(self, query, limit):
            return [document]

    follower = Follower(lambda: None, Query(), 50, ManualClock(START))
    first, tail = await follower._begin(Log())
    assert first == [document]
    assert tail.select_new([document], START) == []


async def test_swallowed_cancellation_still_ends_the_follower():
    @asynccontextmanager
    async def connect():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise Unreachable("the store is gone") from None
        yield None

    async def follow():
        async for _ in Follower(connect, Query(), 1, SystemClock()).batches(poll_s=0):
            pass

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    following.cancel()
    await asyncio.wait({following}, timeout=LIMIT_S)
    assert following.cancelled()
