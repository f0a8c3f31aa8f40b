"""Parsing clients' messages, and encoding replies and pushes."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.event_log import Entry, Position, encode
from botctl.realtime.protocol import (
    Auth,
    BadMessage,
    CloseReason,
    Ping,
    Subscribe,
    Unsubscribe,
    encode_error,
    encode_events,
    encode_reply,
    parse_request,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("message", "request_"),
    [
        ({"type": "auth", "key": "k"}, Auth(None, "k")),
        ({"type": "ping", "id": "a"}, Ping("a")),
        ({"type": "subscribe", "id": 1, "topics": ["a", "b", "a"]}, Subscribe(1, ("a", "b"), {})),
        (
            {"type": "subscribe", "topics": ["a"], "after": {"a": {"epoch": "e", "offset": 3}}},
            Subscribe(None, ("a",), {"a": Position("e", 3)}),
        ),
        ({"type": "unsubscribe", "id": 0, "topics": ["a"], "more": 1}, Unsubscribe(0, ("a",))),
    ],
)
def test_valid_messages_are_parsed(message: dict[str, Any], request_: object) -> None:
    assert parse_request(json.dumps(message)) == request_


@pytest.mark.parametrize(
    "message",
    [
        {"type": "auth"},
        {"type": "auth", "key": 1},
        {"type": "subscribe"},
        {"type": "subscribe", "topics": []},
        {"type": "subscribe", "topics": "a"},
        {"type": "subscribe", "topics": ["UPPER"]},
        {"type": "subscribe", "topics": ["a"], "after": {"b": {"epoch": "", "offset": 0}}},
        {"type": "subscribe", "topics": ["a"], "after": {"a": {"epoch": "", "offset": -1}}},
        {"type": "subscribe", "topics": ["a"], "after": {"a": {"epoch": "", "offset": True}}},
        {"type": "subscribe", "topics": ["a"], "after": {"a": {"epoch": "", "offset": 2**53}}},
        {"type": "subscribe", "topics": ["a"], "after": {"a": {"epoch": "x" * 65, "offset": 1}}},
        {"type": "subscribe", "topics": ["a"], "after": [1]},
        {"type": "ping", "id": True},
        {"type": "ping", "id": "x" * 65},
        {"type": None},
    ],
)
def test_invalid_messages_are_rejected(message: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        parse_request(json.dumps(message))


SHAPED = st.fixed_dictionaries(
    {"type": st.sampled_from(["auth", "subscribe", "unsubscribe", "ping"]), "id": JSON},
    optional={"topics": JSON, "after": JSON, "key": JSON},
)


@given(st.text() | st.binary() | JSON.map(json.dumps) | SHAPED.map(json.dumps))
def test_any_input_is_a_request_or_a_bad_message(text: str | bytes) -> None:
    with contextlib.suppress(BadMessage):
        assert parse_request(text)


def test_error_reply_has_the_id_of_the_bad_message() -> None:
    with pytest.raises(BadMessage) as error:
        parse_request('{"type":"auth","id":7}')
    assert json.loads(encode_error(error.value.request_id, "bad message", str(error.value)))["id"] == 7


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4), st.integers(1, 2**53))
def test_push_contains_the_envelope_unchanged(envelope: dict[str, Any], offset: int) -> None:
    (push,) = encode_events("commands", "e-1", [Entry(offset, encode(envelope))])
    assert json.loads(push) == {
        "type": "event",
        "topic": "commands",
        "epoch": "e-1",
        "offset": offset,
        "event": json.loads(encode(envelope)),
    }


def test_reply_has_the_id_of_its_request() -> None:
    assert json.loads(encode_reply("x", "pong")) == {"type": "pong", "id": "x"}
    assert json.loads(encode_reply(None, "pong")) == {"type": "pong"}


def test_close_codes_say_whether_to_reconnect() -> None:
    assert {code.name for code in CloseReason if code.reconnect} == {"SHUTDOWN", "UNAVAILABLE", "SLOW", "SILENT"}
    assert all(4000 <= code < 5000 for code in CloseReason)
    assert all(len(code.phrase.encode()) < 124 for code in CloseReason)
