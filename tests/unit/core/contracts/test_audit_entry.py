"""The audit entry and its canonical line."""

import hashlib
import json
import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts import audit_entry
from botctl.core.contracts.audit_entry import (
    MAX_LINE_BYTES,
    AuditEntry,
    AuditOutcome,
    Change,
    Principal,
    Stage,
    Target,
    _caller_before,
    action_of,
    current_operator,
    encode_line,
    entry_for,
    make_entry,
    via,
)
from botctl.core.contracts.invocation import Actor, Invocation, Kind, Outcome, Result

AT = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)


def entry(**fields):
    return AuditEntry(
        **({"id": "e1", "at": AT, "action": "test.done", "actor": Principal("user", "9", "ann")} | fields)
    )


def test_a_full_entry_has_exactly_the_agreed_fields():
    """The names that queries, exports and later versions rely on."""
    full = entry(
        op="o", via=via("cli", "botctl x"), target=Target("guild", "7", "g"), guild="7", shard=0, reason="because",
        changes=(Change("locale", None, "de"),), ms=3, error="abcd2345", req="r",
    )  # fmt: skip
    names = "action actor at changes error guild id ms op outcome reason req shard stage target v via"
    assert " ".join(sorted(json.loads(encode_line(full)))) == names


def test_encoded_line_is_canonical():
    """Sorted keys, no spaces, times with milliseconds, absent fields absent; the same bytes in any process."""
    assert encode_line(entry(changes=(Change("n", None, {"b": 1, "a": {"y", "x"}}),))) == (
        b'{"action":"test.done","actor":{"id":"9","name":"ann","type":"user"},"at":"2026-01-02T03:04:05.678Z",'
        b'"changes":[{"k":"n","new":{"a":["x","y"],"b":1},"old":null}],"id":"e1","outcome":"success","stage":"point",'
        b'"v":1}'
    )


def _leaves(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(_values, _values)
def test_encoded_values_have_no_floats_or_big_integers(old, new):
    decoded = json.loads(encode_line(entry(changes=(Change("x", old, new),))))
    for value in _leaves(decoded):
        assert not isinstance(value, float)
        assert not isinstance(value, int) or abs(value) < 2**53


_words = st.none() | st.text(max_size=40) | st.sampled_from(["token=abcdefgh1234", '"', "\\", "\ud800", "é😀"])


@given(_words, _words, _words, st.integers(0, 2**60), st.booleans())
def test_fast_and_slow_encoding_are_identical(reason, name, guild, shard, cli):
    """Whatever stands in the fields, secrets and lone surrogates too."""
    made = entry(
        reason=reason, guild=guild, shard=shard, actor=Principal("user", "9", name), ms=3,
        target=Target("guild", guild or "", name),
        via=via("cli", "botctl x") if cli else None,
    )  # fmt: skip
    assert encode_line(made) == audit_entry._encode_slow(made)


@given(st.lists(st.text(alphabet="ab\x00é😀", max_size=200).map(lambda t: t * 60), max_size=30))
def test_no_line_is_longer_than_the_cap(values):
    changes = tuple(Change(f"k{n}", None, value) for n, value in enumerate(values))
    whole = encode_line(entry(changes=changes, reason="r" * 9000, guild="g" * 9000))
    assert len(whole) <= MAX_LINE_BYTES
    assert json.loads(whole)["id"] == "e1"


def test_a_long_value_keeps_its_beginning_length_and_hash():
    value = "é" * 20_000
    (change,) = json.loads(encode_line(entry(changes=(Change("text", "short", value),))))["changes"]
    assert change["old"] == "short"
    assert change["new"] == {
        "cut": "é" * 2048,
        "len": 40_000,
        "sha256": hashlib.sha256(value.encode()).hexdigest(),
    }


def test_too_many_changes_are_kept_as_one_hash():
    changes = tuple(Change(f"key-{n}", n, n + 1) for n in range(5000))
    whole = encode_line(entry(changes=changes))
    assert len(whole) <= MAX_LINE_BYTES
    assert set(json.loads(whole)["changes"]) == {"cut", "len", "sha256"}


def test_values_with_secret_names_are_not_written():
    whole = encode_line(
        entry(changes=(Change("discord.token", "s3cr3t-old", "s3cr3t-new"), Change("x", {"api_key": "s3cr3t"}, None)))
    )
    assert b"s3cr3t" not in whole
    assert whole.count(b"[redacted]") == 3


def invocation(kind=Kind.SLASH, name="ops status"):
    return Invocation("100", kind, name, Actor("9", "ann"), AT, 0.0, guild="7", channel="8", shard=2)


@pytest.mark.parametrize(
    ("result", "success"),
    [
        (Result.OK, AuditOutcome.SUCCESS),
        (Result.DENIED, AuditOutcome.DENIED),
        (Result.THROTTLED, AuditOutcome.DENIED),
        (Result.INVALID, AuditOutcome.ERROR),
        (Result.FAILED, AuditOutcome.ERROR),
        (Result.CANCELLED, AuditOutcome.UNKNOWN),
    ],
)
def test_invocation_becomes_an_entry(result, success):
    """Pure: the same invocation gives the same entry, with an id that follows from the interaction's."""
    outcome = Outcome(result, 12.6, error_id="abcd2345", error_type="KeyError")
    made = entry_for(invocation(), outcome)
    assert made == entry_for(invocation(), outcome)
    assert (made.id, made.op, made.stage, made.outcome) == ("100.end", "100", Stage.END, success)
    assert (made.guild, made.shard, made.ms, made.error, made.reason) == ("7", 2, 13, "abcd2345", "KeyError")
    assert made.target == Target("channel", "8")


@pytest.mark.parametrize(
    ("kind", "name", "action"),
    [
        (Kind.SLASH, "ops status", "command.ops.status"),
        (Kind.USER, "whois", "command.whois"),
        (Kind.COMPONENT, "poll:vote", "component.poll:vote"),
        (Kind.MODAL, "feedback", "modal.feedback"),
    ],
)
def test_actions_are_dotted(kind, name, action):
    assert action_of(invocation(kind, name)) == action


def test_action_outside_discord_becomes_an_entry():
    """The person at the terminal is the owner of this process; fields that say nothing are not written."""
    what = make_entry("ratelimit.reset", current_operator(), at=AT, iface="cli", target=Target("user", "9"), ms=1.6)
    fields = json.loads(encode_line(what))
    assert (fields["actor"]["type"], fields["actor"]["id"]) == ("cli", f"uid:{os.getuid()}")
    assert (fields["via"]["iface"], fields["stage"], fields["ms"]) == ("cli", "point", 2)
    assert not {"changes", "reason", "guild", "op"} & set(fields)


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({}, None),
        ({"SUDO_USER": "ann", "SUDO_UID": "1000"}, "sudo:ann"),
        ({"DOAS_USER": "ann"}, "doas:ann"),
        ({"PKEXEC_UID": "4294967000"}, "pkexec:uid:4294967000"),
        ({"PKEXEC_UID": "0"}, None),  # root from root
        ({"SUDO_USER": "root"}, None),
        ({"SUDO_USER": ""}, None),
        ({"PKEXEC_UID": "x" * 9}, "pkexec:xxxxxxxxx"),
        ({"PKEXEC_UID": "9" * 99}, "pkexec:uid:" + "9" * 99),
    ],
)
def test_caller_of_sudo_is_kept(variables, kept):
    assert _caller_before(variables, "root") == kept


def test_entry_of_a_command_line_actor_has_its_caller(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "ann\udcff")
    entry = make_entry("ratelimit.reset", current_operator(), at=AT, iface="cli", target=Target("user", "9"))
    assert json.loads(encode_line(entry))["actor"]["auth"] == "sudo:ann?"
