"""What a follower of the audit log takes for new."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from botctl.audit.log import LOOK_BACK_MS, Follower, Tail, entry_of
from botctl.audit.query import Query
from botctl.core.clock import iso_ms, unix_ms
from tests.support.clock import ManualClock

LOOK_BACK_S = LOOK_BACK_MS / 1000
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds):
    return START + timedelta(seconds=seconds)


@given(
    st.lists(st.tuples(st.floats(0, 60), st.floats(-LOOK_BACK_S, 0), st.floats(0, LOOK_BACK_S)), max_size=30),
    st.floats(-LOOK_BACK_S, 3600),
    st.floats(0.5, 8),
)
def test_every_document_is_new_once(writes, fast_s, every_s):
    """Writers whose clocks differ, writes that take their time, and a reader: none twice, none left out.

    Each write is when it is stamped, by how much that writer's clock is slow, and how long the write takes; the slow
    clock and the write together stay within the look back. A writer with a fast clock disturbs nobody.
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
        got += [document["_id"] for document in tail.fresh(visible, at(now))]
    assert sorted(got) == sorted(document["_id"] for _, document in stored)


def test_what_is_remembered_is_bounded_by_the_look_back():
    tail = Tail.from_now(START)
    for n in range(1000):
        tail.fresh([{"_id": f"{n}", "w": {"at": unix_ms(at(n))}}], at(n))
    assert len(tail._seen) <= LOOK_BACK_S + 1


def test_a_clock_that_is_set_back_brings_nothing_again():
    tail = Tail.from_now(START)
    documents = [{"_id": f"{n}", "w": {"at": unix_ms(at(n))}} for n in range(100)]
    assert len(tail.fresh(documents, at(100))) == 100
    assert tail.fresh([d for d in documents if d["w"]["at"] >= tail.after_ms], at(50)) == []
    assert tail.fresh([d for d in documents if d["w"]["at"] >= tail.after_ms], at(100)) == []


def test_a_line_that_cannot_be_read_is_shown_by_its_index():
    index = {"at": iso_ms(START), "action": "command.roll", "actor": "9", "outcome": "success"}
    entry = {"id": "e1", "actor": {"type": "user", "id": "9"}} | {k: index[k] for k in ("at", "action", "outcome")}
    assert entry_of({"_id": "e1", "b": json.dumps(entry).encode(), "x": [index]}) == entry
    for line in (b"{", b"\xff", b"[]", b'{"actor": "9"}'):
        shown = entry_of({"_id": "e1", "b": line, "x": [index]})
        assert (shown["id"], shown["actor"], shown["unreadable"]) == ("e1", {"id": "9"}, True)


async def test_what_is_written_while_a_follower_begins_comes_once():
    """After what was there before was noted, and before the newest were read."""
    document = {"_id": "e1", "w": {"at": unix_ms(START)}}

    class Log:
        async def written(self, after_ms):
            assert after_ms == unix_ms(START) - LOOK_BACK_MS
            return []

        async def newest(self, query, limit):
            return [document]

    follower = Follower(lambda: None, Query(), 50, ManualClock(START))
    first, tail = await follower._begin(Log())
    assert first == [document]
    assert tail.fresh([document], START) == []
