"""The event vocabulary and the envelope."""

import json
import re
import types
import typing
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts import events
from botctl.core.contracts.events import (
    BY_TYPE,
    Event,
    GatewayChanged,
    GuildSettingsChanged,
    Source,
    envelope,
    from_envelope,
)

DEFINED = [c for c in vars(events).values() if isinstance(c, type) and issubclass(c, Event) and c is not Event]
SOURCE = Source(bot="ops", proc="host:1")
READY = GatewayChanged(shard=0, state="ready", guild="81")
numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.none() | st.booleans() | st.integers() | numbers | st.text()


def values(annotation):
    """A strategy for values of a field."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        found = plain | st.lists(plain, max_size=2).map(tuple)
    elif origin is types.UnionType:
        found = st.one_of(*map(values, arguments))
    elif origin is dict:
        found = st.dictionaries(*map(values, arguments), max_size=3)
    elif origin is tuple and arguments[-1] is ...:
        found = st.lists(values(arguments[0]), max_size=3).map(tuple)
    elif origin is tuple:
        found = st.tuples(*map(values, arguments))
    else:
        found = numbers if annotation is float else st.from_type(annotation)
    return found


def any_event():
    return st.one_of(*(st.builds(c, **{k: values(v) for k, v in hints_of(c).items()}) for c in DEFINED))


def hints_of(cls):
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


@given(any_event())
def test_every_event_survives_envelope_and_json(event):
    wrapped = envelope(event, SOURCE)
    assert from_envelope(wrapped) == event
    assert from_envelope(json.loads(json.dumps(wrapped))) == event


def test_envelope_has_the_documented_fields():
    wrapped = envelope(READY, SOURCE, at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))
    assert re.fullmatch("[0-9a-f]{28}", wrapped.pop("id"))
    assert wrapped == {
        "v": 1,
        "type": "gateway.changed",
        "at": "2026-01-02T03:04:05.678Z",
        "bot": "ops",
        "proc": "host:1",
        "guild": "81",
        "data": {"shard": 0, "state": "ready", "latency_ms": None, "code": None, "reason": ""},
    }


def test_envelope_has_no_guild_if_the_event_has_none():
    wrapped = envelope(GatewayChanged(shard=0, state="ready"), SOURCE)
    assert "guild" not in wrapped
    assert from_envelope(wrapped).guild is None


def test_unknown_field_is_ignored():
    wrapped = envelope(READY, SOURCE)
    wrapped["data"]["colour"] = "red"
    wrapped["also"] = 3
    assert from_envelope(wrapped) == READY


def test_field_with_a_default_may_be_missing():
    wrapped = envelope(READY, SOURCE)
    del wrapped["data"]["latency_ms"]
    assert from_envelope(wrapped) == READY


def test_json_lists_become_tuples():
    changed = GuildSettingsChanged(actor="1", changes={"disabled": (("a",), ("a", "b"))}, guild="81")
    assert from_envelope(json.loads(json.dumps(envelope(changed, SOURCE)))) == changed


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"v": 2}, "version 2 is not 1"),
        ({"v": None}, "version None is not 1"),
        ({"type": "no.such"}, "unknown event type 'no.such'"),
        ({"type": None}, "unknown event type None"),
        ({"type": "event"}, "unknown event type 'event'"),
        ({"data": {}}, "gateway.changed: .*missing"),
    ],
)
def test_invalid_envelope_is_a_value_error(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_envelope(envelope(READY, SOURCE) | wrong)


def test_an_empty_envelope_is_a_value_error():
    with pytest.raises(ValueError, match="version None"):
        from_envelope({})


def test_type_name_identifies_its_class():
    assert len({cls.type for cls in DEFINED}) == len(DEFINED) > 5
    for cls in DEFINED:
        assert BY_TYPE[cls.type] is cls
        assert re.fullmatch(r"[a-z]+(\.[a-z]+)+", cls.type)


def test_event_type_is_derived_from_class_name():
    try:

        @dataclass(frozen=True, slots=True, kw_only=True)
        class KeyRotatedOnce(Event):
            key: str

        assert KeyRotatedOnce.type == "key.rotated.once"
        assert from_envelope(envelope(KeyRotatedOnce(key="a"), SOURCE)) == KeyRotatedOnce(key="a")
    finally:
        BY_TYPE.pop("key.rotated.once", None)


@pytest.mark.parametrize("cls", DEFINED, ids=lambda cls: cls.type)
def test_every_event_is_a_documented_frozen_dataclass_with_a_topic(cls):
    assert is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")
    assert re.fullmatch("[a-z]+", cls.topic)


def test_an_event_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        READY.shard = 1  # type: ignore[misc]


def test_source_names_process_by_host_and_pid():
    assert re.fullmatch(r".+:\d+", Source(bot="ops").proc)
