"""The gateway protocol without a socket: a client loses no events when its connections break."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.sandbox.gateway.connection import GatewayConnection
from botctl.sandbox.model.gateway.session import GatewaySession, LoginResult, Sessions, request_heartbeat
from botctl.sandbox.model.limiter import RateLimiter
from botctl.sandbox.model.limits import LENIENT, Limits, Rate

TOKEN = "t"
IDENTIFY = {"op": 2, "d": {"token": TOKEN, "intents": 1 << 9, "properties": {}}}


class FakeBackend:
    """A backend with one application that is in no guild."""

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


class FakeTransport:
    """A transport that records what is sent."""

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
        """Not used here."""

    def abort(self) -> None:
        self.closed = 1006

    def compress(self) -> None:
        self.compressed = True

    @property
    def last(self) -> dict[str, Any]:
        return self.frames[-1]


def connect(
    sessions: Sessions, *payloads: dict[str, Any], now_s: float = 0.0
) -> tuple[GatewayConnection, FakeTransport]:
    transport = FakeTransport()
    connection = GatewayConnection(sessions, transport)
    connection.send_hello(now_s)
    for payload in payloads:
        connection.receive(json.dumps(payload), now_s)
    return connection, transport


def resume(session: GatewaySession, seq: int) -> dict[str, Any]:
    return {"op": 6, "d": {"token": TOKEN, "session_id": session.id, "seq": seq}}


def started(limits: Limits = LENIENT) -> tuple[Sessions, GatewayConnection, FakeTransport, GatewaySession]:
    sessions = Sessions(FakeBackend(), RateLimiter(limits))
    connection, transport = connect(sessions, IDENTIFY)
    assert connection.session is not None
    return sessions, connection, transport, connection.session


def test_only_dispatches_have_sequence_numbers() -> None:
    _, connection, transport, session = started()
    connection.receive('{"op":1,"d":1}', 0.0)
    session.dispatch("X", "{}")
    assert [(frame["op"], frame["s"]) for frame in transport.frames] == [(10, None), (0, 1), (11, None), (0, 2)]


@given(st.lists(st.one_of(st.just("event"), st.just("cut"), st.just("resume")), max_size=40))
def test_resuming_client_gets_every_event_once_and_in_order(steps: list[str]) -> None:
    sessions, connection, transport, session = started()
    received = [frame["s"] for frame in transport.frames if frame["op"] == 0]
    expected = 1
    now_s = 0.0
    for step in [*steps, "cut", "resume"]:
        now_s += 1
        if step == "event":
            session.dispatch("X", "{}")
            expected += 1
        elif step == "cut" and session.transport is connection.transport:
            received += [frame["s"] for frame in transport.frames if frame["op"] == 0 and frame["s"] > received[-1]]
            sessions.disconnect(session, connection.transport, now_s, ended=False)
        elif step == "resume" and session.transport is None:
            connection, transport = connect(sessions, resume(session, received[-1]), now_s=now_s)
            assert transport.last["t"] == "RESUMED"
            expected += 1
            received += [frame["s"] for frame in transport.frames if frame["op"] == 0]
    assert received == list(range(1, expected + 1))


def test_resume_fails_when_events_left_the_buffer() -> None:
    sessions, connection, _, session = started(Limits(buffer=3))
    for _ in range(4):
        session.dispatch("X", "{}")
    sessions.disconnect(session, connection.transport, 0.0, ended=False)
    assert connect(sessions, resume(session, 1))[1].last == {"op": 9, "d": False, "s": None, "t": None}
    assert connect(sessions, resume(session, 2))[1].last["t"] == "RESUMED"


def test_session_expires_after_the_resume_window() -> None:
    sessions, connection, _, session = started(Limits(resume_window_s=10))
    sessions.disconnect(session, connection.transport, 100.0, ended=False)
    assert connect(sessions, resume(session, 1), now_s=110.5)[1].last["op"] == 9
    assert sessions.by_id == {}


def test_normal_close_ends_the_session() -> None:
    sessions, connection, _, session = started()
    sessions.disconnect(session, connection.transport, 0.0, ended=True)
    assert connect(sessions, resume(session, 1))[1].last["op"] == 9


def test_second_connection_takes_over_the_session() -> None:
    sessions, connection, transport, session = started()
    other, _ = connect(sessions, resume(session, 1))
    assert transport.closed == 4000
    sessions.disconnect(session, connection.transport, 0.0, ended=False)
    assert session.transport is other.transport


def test_session_of_another_application_cannot_be_resumed() -> None:
    sessions, _, _, session = started()
    session.application_id = "other"
    assert connect(sessions, resume(session, 1))[1].last["op"] == 9


def test_resume_beyond_the_last_seq_closes_with_4007() -> None:
    sessions, _, _, session = started()
    assert connect(sessions, resume(session, 2))[1].closed == 4007


@pytest.mark.parametrize(
    ("d", "code"),
    [
        ({"token": "no"}, 4004),
        ({"token": "Bot t", "intents": 1}, None),
        ({"token": TOKEN}, 4013),
        ({"token": TOKEN, "intents": 1 << 30}, 4013),
        ({"token": TOKEN, "intents": -1}, 4013),
        ({"token": TOKEN, "intents": 1 << 9 | 1 << 17}, None),
        ({"token": TOKEN, "intents": 1 << 18 | 1 << 22 | 1 << 28}, None),
        ({"token": TOKEN, "intents": 1 << 17 | 1 << 1}, 4014),
        ({"token": TOKEN, "intents": 1 << 1}, 4014),
        ({"token": TOKEN, "intents": 1, "shard": [1, 1]}, 4010),
        ({"token": TOKEN, "intents": 1, "shard": "x"}, 4010),
        ({"token": TOKEN, "intents": 1, "shard": [3, 4]}, None),
        (None, 4002),
    ],
)
def test_invalid_identify_closes_with_its_code(d: Any, code: int | None) -> None:
    assert connect(Sessions(FakeBackend(), RateLimiter(LENIENT)), {"op": 2, "d": d})[1].closed == code


def test_client_payloads_are_limited_by_a_sliding_window() -> None:
    _, connection, transport, _ = started(Limits(sends=Rate(3, 60)))
    for now_s in (1.0, 2.0, 60.5, 61.5):
        connection.receive('{"op":1,"d":null}', now_s)
    assert transport.closed is None
    connection.receive('{"op":1,"d":null}', 61.6)
    assert transport.closed == 4008


def test_only_heartbeat_acks_are_delayed() -> None:
    """disnake stores the send time after the heartbeat is sent; an ACK before that looks 41 s late."""
    _, connection, transport, _ = started(Limits(ack_s=0.25))
    connection.receive(b'{"op": 1, "d": null}', 0)
    assert (transport.last["op"], transport.after_s[-1]) == (11, 0.25)
    assert not any(transport.after_s[:-1])


def test_heartbeat_is_overdue_after_one_and_a_half_intervals() -> None:
    _, connection, _, _ = started(Limits(heartbeat_s=10))
    assert connection.heartbeat_timeout_s(4.0) == 11.0
    assert not connection.heartbeat_overdue(14.9)
    assert connection.heartbeat_overdue(15.0)
    connection.receive('{"op":1,"d":null}', 14.9)
    assert not connection.heartbeat_overdue(29.8)


@pytest.mark.parametrize(
    "raw", [b"\xff", b"[]", b"null", b'{"op": 1, "d": NaN}', b'{"op": true}', b'{"op": 1.0}', b"{" * 5000, b"[" * 4000]
)
def test_malformed_frame_closes_with_4002(raw: bytes) -> None:
    _, connection, transport, _ = started()
    connection.receive(raw, 0.0)
    assert transport.closed == 4002


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_no_frame_raises(frame: str | bytes) -> None:
    sessions = Sessions(FakeBackend(), RateLimiter(LENIENT))
    connection, _ = connect(sessions)
    connection.receive(frame, 0.0)


def test_events_are_filtered_by_intents_and_shard() -> None:
    *_, session = started()
    assert session.receives("MESSAGE_CREATE", str(5 << 22))
    assert not session.receives("GUILD_MEMBER_ADD", str(5 << 22))
    assert session.receives("INTERACTION_CREATE", None)
    session.shard = (1, 2)
    assert session.receives("INTERACTION_CREATE", str(5 << 22))
    assert not session.receives("INTERACTION_CREATE", str(4 << 22))
    assert not session.receives("INTERACTION_CREATE", None)


def test_op_9_tells_whether_the_session_is_resumable() -> None:
    sessions, connection, transport, session = started()
    sessions.invalidate(session, 0.0, resumable=True)
    assert (transport.last["op"], transport.last["d"]) == (9, True)
    session.dispatch("X", "{}")
    assert transport.last["op"] == 9
    connection.receive('{"op":8,"d":{}}', 0.0)
    assert transport.closed == 4003


def test_client_can_resume_or_identify_after_op_9() -> None:
    """discord.js resumes on the same connection, other libraries identify on it."""
    sessions, connection, transport, session = started()
    sessions.invalidate(session, 0.0, resumable=True)
    session.dispatch("X", "{}")
    connection.receive(json.dumps(resume(session, 1)), 1.0)
    assert [(frame["s"], frame["t"]) for frame in transport.frames[-2:]] == [(2, "X"), (3, "RESUMED")]
    sessions.invalidate(session, 2.0, resumable=False)
    connection.receive(json.dumps(resume(session, 3)), 3.0)
    assert (transport.last["op"], transport.last["d"]) == (9, False)
    connection.receive(json.dumps(IDENTIFY), 4.0)
    assert (transport.last["t"], transport.closed) == ("READY", None)
    assert session.id not in sessions.by_id


def test_invalidated_session_expires_unless_resumed() -> None:
    sessions, _, _, session = started(Limits(resume_window_s=10))
    sessions.invalidate(session, 0.0, resumable=True)
    sessions.remove_expired(10.5)
    assert sessions.by_id == {}


def test_resume_with_empty_buffer_works_only_from_the_last_seq() -> None:
    sessions, connection, _, session = started(Limits(buffer=0))
    sessions.disconnect(session, connection.transport, 0.0, ended=False)
    assert connect(sessions, resume(session, 0))[1].last["op"] == 9
    assert connect(sessions, resume(session, 1))[1].last["t"] == "RESUMED"


def test_ready_is_never_repeated() -> None:
    _, _, _, session = started()
    session.dispatch("X", "{}")
    assert [json.loads(frame)["t"] for frame in session.frames_up_to(2, 5)] == ["X"]


def test_server_can_request_a_heartbeat() -> None:
    _, _, transport, session = started()
    request_heartbeat(session)
    assert (transport.last["op"], transport.last["s"]) == (1, None)


def test_early_identify_gets_op_9_and_can_be_retried() -> None:
    sessions = Sessions(FakeBackend(), RateLimiter(Limits()))
    connect(sessions, IDENTIFY, now_s=0.0)
    connection, transport = connect(sessions, IDENTIFY, now_s=4.9)
    assert (transport.last["op"], transport.last["d"], transport.closed, connection.session) == (9, False, None, None)
    connection.receive(json.dumps(IDENTIFY), 5.0)
    assert transport.last["t"] == "READY"


def test_identify_limit_resets_the_token_and_resumes_are_free() -> None:
    backend = FakeBackend()
    sessions = Sessions(backend, RateLimiter(Limits(identifies=Rate(1, 60), concurrency_s=0.0)))
    connection, _ = connect(sessions, IDENTIFY)
    assert connection.session is not None
    for _ in range(3):
        connection, transport = connect(sessions, resume(connection.session, connection.session.seq))
        assert transport.last["t"] == "RESUMED"
        assert connection.session is not None
    assert connect(sessions, IDENTIFY)[1].closed == 4004
    assert backend.resets == 1


def test_compression_starts_before_ready() -> None:
    fields = {"compress": True, "large_threshold": 9999}
    connection, transport = connect(
        Sessions(FakeBackend(), RateLimiter(LENIENT)), {"op": 2, "d": {**IDENTIFY["d"], **fields}}
    )  # type: ignore[dict-item]
    assert transport.compressed
    assert connection.session is not None
    assert connection.session.large_threshold == 250


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
def test_invalid_presence_closes_with_4002(d: Any, right: bool) -> None:
    backend = FakeBackend()
    _, transport = connect(Sessions(backend, RateLimiter(LENIENT)), IDENTIFY, {"op": 3, "d": d})
    assert (transport.closed, backend.presences) == ((None, [d]) if right else (4002, []))


def test_ledger_knows_what_became_of_every_login() -> None:
    """For tests that count logins: of the bot, and not by its own word."""
    sessions = Sessions(FakeBackend(), RateLimiter(Limits(identifies=Rate(3, 60), guilds_per_shard=0)))
    first, _ = connect(sessions, IDENTIFY)
    connect(sessions, IDENTIFY, now_s=1.0)
    assert first.session is not None
    connect(sessions, resume(first.session, 1), resume(first.session, 9), now_s=2.0)
    connect(sessions, {"op": 2, "d": {**IDENTIFY["d"], "intents": "all"}}, now_s=10.0)
    connect(sessions, IDENTIFY, now_s=20.0)
    assert [(login.at_s, login.result) for login in sessions.logins] == [
        (0.0, LoginResult.IDENTIFIED),
        (1.0, LoginResult.TOO_SOON),
        (2.0, LoginResult.RESUMED),
        (10.0, LoginResult.REFUSED),
        (20.0, LoginResult.EXHAUSTED),
    ]
