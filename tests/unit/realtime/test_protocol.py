"""Parsing clients' messages, and encoding replies and pushes."""

from __future__ import annotations

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
    Do,
    ListActions,
    Ping,
    Subscribe,
    Unsubscribe,
    Unwatch,
    Watch,
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
        ({"type": "auth", "ticket": "t", "id": 7}, Auth(7, ticket="t")),
        ({"type": "ping", "id": "a"}, Ping("a")),
        ({"type": "watch", "id": 1, "states": ["jobs", "no such", "jobs"]}, Watch(1, ("jobs", "no such"))),
        ({"type": "unwatch", "states": ["jobs"]}, Unwatch(None, ("jobs",))),
        ({"type": "do", "id": 1, "action": "a", "args": {"b": 1}, "reason": "c"}, Do(1, "a", {"b": 1}, "c")),
        ({"type": "do", "action": "a"}, Do(None, "a", {}, "")),
        ({"type": "actions", "id": 1}, ListActions(1)),
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
        {"type": "auth", "ticket": None},
        {"type": "auth", "ticket": "t", "key": "k"},
        {"type": "watch"},
        {"type": "watch", "states": []},
        {"type": "watch", "states": [1]},
        {"type": "unwatch", "states": "jobs"},
        {"type": "do"},
        {"type": "do", "action": 1},
        {"type": "do", "action": "a", "args": [1]},
        {"type": "do", "action": "a", "reason": 1},
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
        {"type": []},
        {"type": "dance"},
    ],
)
def test_invalid_messages_are_rejected(message: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        parse_request(json.dumps(message))


SHAPED = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["auth", "subscribe", "unsubscribe", "watch", "unwatch", "do", "actions", "ping"]),
        "id": JSON,
    },
    optional=dict.fromkeys(["topics", "after", "key", "ticket", "states", "action", "args", "reason"], JSON),
)


@pytest.mark.parametrize(
    "text",
    [
        r'{"type":"subscribe","topics":["a"],"after":{"a":{"epoch":"\ud800","offset":1}}}',
        r'{"type":"ping","id":"\udfff"}',
        r'{"type":"auth","key":"\uD83D"}',
        r'{"type":"ping","more":{"\udc00":[1]}}',
        '{"type":"ping","id":"\ud800"}',
        b'{"type":"ping","id":"\xed\xa0\x80"}',
        '{"type":"ping"}'.encode("utf-16"),
        '{"type":"ping","id":' + "9" * 5000 + "}",
        '{"type":"ping","id":1e999}',
        '{"type":"ping","more":NaN}',
        '{"type":"ping","more":-Infinity}',
        '{"type":"ping","type":"auth"}',
        '{"type":"ping","more":{"a":1,"a":2}}',
        '{"type":"ping","more":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a":' * 5000 + "1" + "}" * 5000,
        "\ufeff{}",
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_what_is_not_strict_json_is_a_bad_message(text: str | bytes) -> None:
    with pytest.raises(BadMessage) as error:
        parse_request(text)
    assert len(str(error.value)) < 200


def test_surrogate_pairs_and_all_other_text_are_json() -> None:
    assert parse_request(r'{"type":"ping","id":"\ud83d\ude00"}') == Ping("\U0001f600")
    assert parse_request('{"type":"ping","id":"é"}'.encode()) == Ping("é")


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
WITH_SURROGATES = st.recursive(
    ANY_TEXT | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)
SHAPED_WITH_SURROGATES = st.fixed_dictionaries(
    {"type": st.sampled_from(["auth", "subscribe", "unsubscribe", "ping"]), "id": ANY_TEXT},
    optional={
        "key": ANY_TEXT,
        "topics": st.just(["a"]),
        "after": st.fixed_dictionaries(
            {"a": st.fixed_dictionaries({"epoch": ANY_TEXT, "offset": st.integers(0, 9)})}, optional={"b": ANY_TEXT}
        ),
        "more": WITH_SURROGATES,
    },
)


@given(
    st.text()
    | st.binary()
    | JSON.map(json.dumps)
    | SHAPED.map(json.dumps)
    | SHAPED_WITH_SURROGATES.map(json.dumps)
    | SHAPED_WITH_SURROGATES.map(lambda message: json.dumps(message, ensure_ascii=False))
)
def test_any_input_is_a_request_or_a_bad_message(text: str | bytes) -> None:
    """Whatever of it is echoed, logged or given to a store can be encoded."""
    try:
        request = parse_request(text)
    except BadMessage as error:
        encode_error(error.request_id, "bad message", str(error)).decode()
        str(error).encode()
    else:
        repr_of_texts = json.dumps(_fields(request), ensure_ascii=False)
        repr_of_texts.encode()


def _fields(request: Any) -> Any:
    return [getattr(request, name) for name in request.__dataclass_fields__ if name != "after"] + [
        list(position) for position in getattr(request, "after", {}).values()
    ]


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
    reconnect = {code.name for code in CloseReason if code.reconnect}
    assert reconnect == {"SHUTDOWN", "UNAVAILABLE", "ACCESS_CHANGED", "SLOW", "SILENT"}
    assert all(4000 <= code < 5000 for code in CloseReason)
    assert all(len(code.phrase.encode()) < 124 for code in CloseReason)
