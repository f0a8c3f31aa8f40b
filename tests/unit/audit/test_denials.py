"""Denials are counted per user, policy and minute."""

import json
from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from botctl.audit.denials import OTHERS, DenialAggregator
from botctl.core.contracts.audit_entry import AuditEntry, AuditOutcome, Principal, Stage, encode_line, entry_for
from botctl.core.contracts.invocation import Actor, Invocation, Kind, Outcome, Result
from tests.support.clock import ManualClock

START = ManualClock().now()


def denied(user="9", name="roll", reason="5/10s per user", after_s=0.0):
    at = START + timedelta(seconds=after_s)
    invocation = Invocation(f"i{user}-{after_s}", Kind.SLASH, name, Actor(user, user), at, 0.0, guild="7")
    return entry_for(invocation, Outcome(Result.THROTTLED, 0.0, reason=reason))


def times(entry):
    return json.loads(encode_line(entry))["changes"][0]["new"]


def test_flood_is_one_entry_after_its_minute():
    denials = DenialAggregator()
    for _ in range(1000):
        denials.add(denied())
    assert denials.take(START + timedelta(seconds=59.9)) == []
    (entry,) = denials.take(START + timedelta(seconds=60))
    assert (entry.actor.id, entry.reason, times(entry)) == ("9", "5/10s per user", 1000)
    assert len(denials) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["roll", "poll"]), st.sampled_from("xy"), st.integers(0, 200))
    )
)
def test_each_denial_is_counted_once(calls):
    """There is one entry for each user, policy and minute, and the counts add up."""
    denials, entries = DenialAggregator(), []
    for user, name, reason, after_s in sorted(calls, key=lambda call: call[3]):
        entries += denials.take(START + timedelta(seconds=after_s))
        denials.add(denied(user, name, reason, after_s))
    entries += denials.take()
    counted = {(e.actor.id, e.action, e.reason, int(e.at.timestamp()) // 60): times(e) for e in entries}
    assert len(counted) == len(entries)
    start = int(START.timestamp())
    assert counted == Counter((u, f"command.{n}", r, (start + s) // 60) for u, n, r, s in calls)


def test_subjects_beyond_the_limit_are_counted_together():
    denials = DenialAggregator(max_subjects=2)
    for n in range(100):
        denials.add(denied(f"{n}"))
    denials.add(denied("0"))
    assert {e.actor.id: times(e) for e in denials.take()} == {"0": 2, "1": 1, OTHERS: 98}


def test_only_end_of_denied_action_is_counted():
    plain = AuditEntry(
        id="e", at=START, action="guild.settings.set", actor=Principal("user", "9"), outcome=AuditOutcome.DENIED
    )
    assert plain.stage is Stage.POINT
    assert not DenialAggregator.counts(plain)
    assert DenialAggregator.counts(denied())


def test_due_time_is_end_of_oldest_minute():
    denials = DenialAggregator()
    assert denials.due_s(START) is None
    denials.add(denied(after_s=10))
    assert denials.due_s(START + timedelta(seconds=15)) == 45
    assert denials.due_s(START + timedelta(seconds=100)) == 0


def test_denial_from_a_clock_ahead_is_written_at_once():
    """The clock is set back: the minute that was counted would be over in a day only."""
    denials = DenialAggregator()
    denials.add(denied(after_s=86_400))
    assert denials.due_s(START) == 0
    assert [entry.at for entry in denials.take(START)] == [START + timedelta(days=1)]
    assert denials.due_s(START) is None
