"""The session state machine without a socket: whatever happens to its connections, a client loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botctl.sandbox.gateway.connection import GatewayConnection
from botctl.sandbox.model.gateway.session import GatewaySession, Sessions, request_heartbeat
from botctl.sandbox.model.limiter import RateLimiter
from botctl.sandbox.model.limits import LENIENT, Limits, Rate

TOKEN = "t"
IDENTIFY = {"op": 2, "d": {"token": TOKEN, "intents": 1 << 9, "properties": {}}}


class OneBot:
    """A host with one application that is in no guild."""

    flags = 0
    resets = 0

    def __init__(self) -> None:
        self.presences: list[dict[str, Any]] = []

    def authenticate(self, token: str) -> tuple[str, int] | None:
        return ("app", self.flags) if token == TOKEN else None

    def guild_count(self, application_id: str, shard: tuple[int, int]) -> int:
        return 0

    def initial_dispatches(self, session: GatewaySession) -> Iterable[tuple[str, dict[str, Any]]]:
        return [("READY", {"session_id": session.id})]

    def member_chunks(self, session: GatewaySession, request: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
        return [("GUILD_MEMBERS_CHUNK", request)]

    def update_presence(self, session: GatewaySession, presence: dict[str, Any]) -> None:
        self.presences.append(presence)

    def reset_token(self, application_id: str) -> None:
        self.resets += 1


class Wire:
    """A line that remembers what was sent on it."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.after_s: list[float] = []
        self.closed: int | None = None
        self.compressed = False

    def send(self, text: str, *, after_s: float = 0.0) -> None:
        self.frames.append(json.loads(text))
        self.after_s.append(after_s)

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or code

    def mute(self) -> None:
        """Nothing here is half open."""

    def abort(self) -> None:
        self.closed = 1006

    def compress(self) -> None:
        self.compressed = True

    @property
    def last(self) -> dict[str, Any]:
        return self.frames[-1]


def connect(sessions: Sessions, *payloads: dict[str, Any], now_s: float = 0.0) -> tuple[GatewayConnection, Wire]:
    wire = Wire()
    link = GatewayConnection(sessions, wire)
    link.hello(now_s)
    for payload in payloads:
        link.receive(json.dumps(payload), now_s)
    return link, wire


def resume(session: GatewaySession, seq: int) -> dict[str, Any]:
    return {"op": 6, "d": {"token": TOKEN, "session_id": session.id, "seq": seq}}


def started(limits: Limits = LENIENT) -> tuple[Sessions, GatewayConnection, Wire, GatewaySession]:
    sessions = Sessions(OneBot(), RateLimiter(limits))
    link, wire = connect(sessions, IDENTIFY)
    assert link.session is not None
    return sessions, link, wire, link.session


def test_only_dispatches_are_numbered() -> None:
    _, link, wire, session = started()
    link.receive('{"op":1,"d":1}', 0.0)
    session.dispatch("X", "{}")
    assert [(frame["op"], frame["s"]) for frame in wire.frames] == [(10, None), (0, 1), (11, None), (0, 2)]


@settings(deadline=None)
@given(st.lists(st.one_of(st.just("event"), st.just("cut"), st.just("resume")), max_size=40))
def test_a_client_that_resumes_hears_everything_once_and_in_order(steps: list[str]) -> None:
    sessions, link, wire, session = started()
    heard = [frame["s"] for frame in wire.frames if frame["op"] == 0]
    expected = 1
    now_s = 0.0
    for step in [*steps, "cut", "resume"]:
        now_s += 1
        if step == "event":
            session.dispatch("X", "{}")
            expected += 1
        elif step == "cut" and session.transport is link.line:
            heard += [frame["s"] for frame in wire.frames if frame["op"] == 0 and frame["s"] > heard[-1]]
            sessions.disconnect(session, link.line, now_s, ended=False)
        elif step == "resume" and session.transport is None:
            link, wire = connect(sessions, resume(session, heard[-1]), now_s=now_s)
            assert wire.last["t"] == "RESUMED"
            expected += 1
            heard += [frame["s"] for frame in wire.frames if frame["op"] == 0]
    assert heard == list(range(1, expected + 1))


def test_what_is_no_longer_held_cannot_be_replayed() -> None:
    sessions, link, _, session = started(Limits(buffer=3))
    for _ in range(4):
        session.dispatch("X", "{}")
    sessions.disconnect(session, link.line, 0.0, ended=False)
    assert connect(sessions, resume(session, 1))[1].last == {"op": 9, "d": False, "s": None, "t": None}
    assert connect(sessions, resume(session, 2))[1].last["t"] == "RESUMED"


def test_a_session_is_forgotten_after_its_window() -> None:
    sessions, link, _, session = started(Limits(resume_window_s=10))
    sessions.disconnect(session, link.line, 100.0, ended=False)
    assert connect(sessions, resume(session, 1), now_s=110.5)[1].last["op"] == 9
    assert sessions.by_id == {}


def test_a_client_that_says_goodbye_ends_its_session() -> None:
    sessions, link, _, session = started()
    sessions.disconnect(session, link.line, 0.0, ended=True)
    assert connect(sessions, resume(session, 1))[1].last["op"] == 9


def test_a_second_connection_takes_the_session_over() -> None:
    sessions, link, wire, session = started()
    other, _ = connect(sessions, resume(session, 1))
    assert wire.closed == 4000
    sessions.disconnect(session, link.line, 0.0, ended=False)
    assert session.transport is other.line


def test_another_applications_session_cannot_be_resumed() -> None:
    sessions, _, _, session = started()
    session.application_id = "other"
    assert connect(sessions, resume(session, 1))[1].last["op"] == 9


def test_a_seq_beyond_the_last_closes() -> None:
    sessions, _, _, session = started()
    assert connect(sessions, resume(session, 2))[1].closed == 4007


@pytest.mark.parametrize(
    ("d", "code"),
    [
        ({"token": "no"}, 4004),
        ({"token": "Bot t", "intents": 1}, None),
        ({"token": TOKEN}, 4013),
        ({"token": TOKEN, "intents": 1 << 30}, 4013),
        ({"token": TOKEN, "intents": 1 << 1}, 4014),
        ({"token": TOKEN, "intents": 1, "shard": [1, 1]}, 4010),
        ({"token": TOKEN, "intents": 1, "shard": "x"}, 4010),
        ({"token": TOKEN, "intents": 1, "shard": [3, 4]}, None),
        (None, 4002),
    ],
)
def test_identify_is_judged(d: Any, code: int | None) -> None:
    assert connect(Sessions(OneBot(), RateLimiter(LENIENT)), {"op": 2, "d": d})[1].closed == code


def test_sends_are_counted_in_a_moving_window() -> None:
    _, link, wire, _ = started(Limits(sends=Rate(3, 60)))
    for now_s in (1.0, 2.0, 60.5, 61.5):
        link.receive('{"op":1,"d":null}', now_s)
    assert wire.closed is None
    link.receive('{"op":1,"d":null}', 61.6)
    assert wire.closed == 4008


def test_an_ack_is_on_its_way_for_a_moment_and_nothing_else_is() -> None:
    """disnake notes when it sent its heartbeat after it has; an ACK before that looks 41 s late."""
    _, link, wire, _ = started(Limits(ack_s=0.25))
    link.receive(b'{"op": 1, "d": null}', 0)
    assert (wire.last["op"], wire.after_s[-1]) == (11, 0.25)
    assert not any(wire.after_s[:-1])


def test_a_heartbeat_is_awaited_for_one_and_a_half_intervals() -> None:
    _, link, _, _ = started(Limits(heartbeat_s=10))
    assert link.patience(4.0) == 11.0
    assert not link.overdue(14.9)
    assert link.overdue(15.0)
    link.receive('{"op":1,"d":null}', 14.9)
    assert not link.overdue(29.8)


@pytest.mark.parametrize(
    "raw", [b"\xff", b"[]", b"null", b'{"op": 1, "d": NaN}', b'{"op": true}', b'{"op": 1.0}', b"{" * 5000, b"[" * 4000]
)
def test_a_frame_that_is_no_payload_closes(raw: bytes) -> None:
    _, link, wire, _ = started()
    link.receive(raw, 0.0)
    assert wire.closed == 4002


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_no_frame_breaks_the_link(frame: str | bytes) -> None:
    sessions = Sessions(OneBot(), RateLimiter(LENIENT))
    link, _ = connect(sessions)
    link.receive(frame, 0.0)


def test_events_are_for_those_who_asked_and_for_their_shard() -> None:
    *_, session = started()
    assert session.receives("MESSAGE_CREATE", str(5 << 22))
    assert not session.receives("GUILD_MEMBER_ADD", str(5 << 22))
    assert session.receives("INTERACTION_CREATE", None)
    session.shard = (1, 2)
    assert session.receives("INTERACTION_CREATE", str(5 << 22))
    assert not session.receives("INTERACTION_CREATE", str(4 << 22))
    assert not session.receives("INTERACTION_CREATE", None)


def test_op_9_says_whether_to_resume() -> None:
    sessions, link, wire, session = started()
    sessions.invalidate(session, 0.0, resumable=True)
    assert (wire.last["op"], wire.last["d"]) == (9, True)
    session.dispatch("X", "{}")
    assert wire.last["op"] == 9
    link.receive('{"op":8,"d":{}}', 0.0)
    assert wire.closed == 4003


def test_after_op_9_a_client_may_come_back_by_the_same_connection() -> None:
    """discord.js resumes so, and others identify so."""
    sessions, link, wire, session = started()
    sessions.invalidate(session, 0.0, resumable=True)
    session.dispatch("X", "{}")
    link.receive(json.dumps(resume(session, 1)), 1.0)
    assert [(frame["s"], frame["t"]) for frame in wire.frames[-2:]] == [(2, "X"), (3, "RESUMED")]
    sessions.invalidate(session, 2.0, resumable=False)
    link.receive(json.dumps(resume(session, 3)), 3.0)
    assert (wire.last["op"], wire.last["d"]) == (9, False)
    link.receive(json.dumps(IDENTIFY), 4.0)
    assert (wire.last["t"], wire.closed) == ("READY", None)
    assert session.id not in sessions.by_id


def test_a_session_in_doubt_that_nobody_resumes_is_forgotten() -> None:
    sessions, _, _, session = started(Limits(resume_window_s=10))
    sessions.invalidate(session, 0.0, resumable=True)
    sessions.remove_expired(10.5)
    assert sessions.by_id == {}


def test_where_nothing_is_held_a_resume_is_refused_in_order() -> None:
    sessions, link, _, session = started(Limits(buffer=0))
    sessions.disconnect(session, link.line, 0.0, ended=False)
    assert connect(sessions, resume(session, 0))[1].last["op"] == 9
    assert connect(sessions, resume(session, 1))[1].last["t"] == "RESUMED"


def test_ready_is_never_told_again() -> None:
    _, _, _, session = started()
    session.dispatch("X", "{}")
    assert [json.loads(frame)["t"] for frame in session.frames_up_to(2, 5)] == ["X"]


def test_a_client_may_be_asked_for_a_heartbeat() -> None:
    _, _, wire, session = started()
    request_heartbeat(session)
    assert (wire.last["op"], wire.last["s"]) == (1, None)


def test_an_identify_too_soon_may_come_again() -> None:
    sessions = Sessions(OneBot(), RateLimiter(Limits()))
    connect(sessions, IDENTIFY, now_s=0.0)
    link, wire = connect(sessions, IDENTIFY, now_s=4.9)
    assert (wire.last["op"], wire.last["d"], wire.closed, link.session) == (9, False, None, None)
    link.receive(json.dumps(IDENTIFY), 5.0)
    assert wire.last["t"] == "READY"


def test_one_identify_too_many_resets_the_token_and_a_resume_costs_none() -> None:
    host = OneBot()
    sessions = Sessions(host, RateLimiter(Limits(identifies=Rate(1, 60), concurrency_s=0.0)))
    link, _ = connect(sessions, IDENTIFY)
    assert link.session is not None
    for _ in range(3):
        link, wire = connect(sessions, resume(link.session, link.session.seq))
        assert wire.last["t"] == "RESUMED"
        assert link.session is not None
    assert connect(sessions, IDENTIFY)[1].closed == 4004
    assert host.resets == 1


def test_compression_is_asked_for_before_ready() -> None:
    more = {"compress": True, "large_threshold": 9999}
    link, wire = connect(Sessions(OneBot(), RateLimiter(LENIENT)), {"op": 2, "d": {**IDENTIFY["d"], **more}})  # type: ignore[dict-item]
    assert wire.compressed
    assert link.session is not None
    assert link.session.large_threshold == 250


@pytest.mark.parametrize(
    ("d", "right"),
    [
        ({"status": "idle", "activities": [{"name": "x", "type": 0}], "afk": False, "since": None}, True),
        ({"status": "asleep", "activities": []}, False),
        ({"status": "idle"}, False),
        ({"status": "idle", "activities": [{"name": 1, "type": 0}]}, False),
        ({"status": "idle", "activities": ["x"]}, False),
        ({"status": [], "activities": []}, False),
        (None, False),
    ],
)
def test_a_presence_is_judged(d: Any, right: bool) -> None:
    host = OneBot()
    _, wire = connect(Sessions(host, RateLimiter(LENIENT)), IDENTIFY, {"op": 3, "d": d})
    assert (wire.closed, host.presences) == ((None, [d]) if right else (4002, []))
