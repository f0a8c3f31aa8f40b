"""Envelopes as bytes, and names of topics."""

from __future__ import annotations

import json

import pytest

from botctl.core.contracts import events
from botctl.core.contracts.event_log import Entry, encode, is_topic


def test_envelope_is_decoded_unchanged() -> None:
    envelope = {"v": 1, "data": {"name": "ключ", "n": 1.5, "none": None, "list": ["a", {"b": True}]}}
    assert Entry(1, encode(envelope)).envelope == envelope
    assert b" " not in encode(envelope)


def test_tuples_become_lists() -> None:
    assert json.loads(encode({"changes": {"locale": (None, "de")}})) == {"changes": {"locale": [None, "de"]}}


def test_a_lone_surrogate_survives() -> None:
    """No UTF-8 knows it, JSON does."""
    assert Entry(1, encode({"name": "a\ud800b"})).envelope == {"name": "a\ud800b"}


def test_secrets_are_redacted_and_result_is_json() -> None:
    envelope = {"detail": 'password="hunter22hunter22"', "n": {"x": ["token=abcdefabcdef"]}}
    data = encode(envelope)
    assert b"hunter22" not in data
    assert b"abcdef" not in data
    json.loads(data)


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}, b"x"])
def test_value_unknown_to_json_is_an_error(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode({"value": value})


@pytest.mark.parametrize("name", ["", "A", "1a", "a b", "a:b", "a/b", "é", "x" * 65, "a\n", "*"])
def test_invalid_topic_name_is_rejected(name: str) -> None:
    assert not is_topic(name)


def test_event_topics_are_valid_topic_names() -> None:
    assert all(is_topic(event.topic) for event in events.BY_TYPE.values())
