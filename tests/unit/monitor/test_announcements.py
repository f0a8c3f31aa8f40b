"""Which changes of the verdict are announced, and where."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.health import Diagnosis, Health
from botctl.monitor.announcements import NEVER, Announced, Announcement, Look, announcement, parse_announced

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def announced(*verdicts: str, before: Announced = NEVER) -> list[Announcement]:
    """What is announced when looks find ``verdicts``, one after the other."""
    changes: list[Announcement] = []
    older = None
    for number, verdict in enumerate(verdicts):
        found = Diagnosis(verdict=Health(verdict), why=f"it is {verdict}", action="wait", proc="vm:1", shard=2)
        newer = Look(found=found, at=AT + timedelta(seconds=2 * number))
        if change := announcement(before, older, newer):
            changes.append(change)
            before = change.after
        older = newer
    return changes


def audited(*verdicts: str) -> list[tuple[str, str]]:
    changes = announced(*verdicts)
    return [(str(each.before.settled), str(each.after.settled)) for each in changes if each.is_settled]


def test_change_is_announced_when_two_looks_agree() -> None:
    (change,) = announced("healthy", "deaf", "deaf", "deaf", before=Announced(verdict=Health.HEALTHY))
    event = change.event()
    assert (event.old, event.new, event.why, event.action) == ("healthy", "deaf", "it is deaf", "wait")
    assert (event.process, event.shard, event.topic) == ("vm:1", 2, "health")
    assert event.since == "2026-01-02T03:04:07.000Z"  # the first of the two looks
    assert change.sentence == "the bot is deaf (it was healthy): it is deaf; wait"


def test_verdict_that_changes_at_each_look_is_not_announced() -> None:
    assert announced(*["healthy", "degraded"] * 10) == []


def test_deploy_is_no_entry_of_the_audit_log() -> None:
    phases = [phase for word in ("draining", "starting", "waiting", "starting", "healthy") for phase in (word, word)]
    looks = ("healthy", "healthy", *phases)
    assert [change.event().new for change in announced(*looks)] == [
        "healthy",
        "draining",
        "starting",
        "waiting",
        "starting",
        "healthy",
    ]
    assert audited(*looks) == []
    assert {change.level for change in announced(*looks)} == {logging.INFO}


def test_end_of_a_failure_is_audited_after_the_restart_that_ended_it() -> None:
    looks = ("blocked", "blocked", "draining", "draining", "starting", "starting", "healthy", "healthy")
    assert audited(*looks) == [("healthy", "blocked"), ("blocked", "healthy")]


@pytest.mark.parametrize(
    ("looks", "levels"),
    [
        (("degraded", "degraded", "deaf", "deaf"), [logging.WARNING, logging.WARNING]),
        (("deaf", "deaf", "degraded", "degraded"), [logging.WARNING, logging.INFO]),
        (("starting", "starting", "healthy", "healthy"), [logging.INFO]),
    ],
)
def test_only_worse_is_a_warning(looks: tuple[str, ...], levels: list[int]) -> None:
    assert [change.level for change in announced(*looks)] == levels


@given(st.lists(st.sampled_from(list(Health)), max_size=30))
def test_announcements_are_a_chain(verdicts: list[Health]) -> None:
    """Each begins where the last one ended, and none says the same twice."""
    changes = announced(*verdicts)
    ends = [NEVER, *(change.after for change in changes)]
    assert [change.before for change in changes] == ends[:-1]
    assert all(change.event().old != change.event().new for change in changes)
    assert all(not change.after.settled.passes for change in changes)


@given(st.sampled_from(list(Health)), st.sampled_from(list(Health)), st.text())
def test_what_was_announced_is_read_again(verdict: Health, settled: Health, since: str) -> None:
    one = Announced(verdict=verdict, settled=settled, since=since)
    assert parse_announced(one.encode()) == one


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"7", b'{"verdict": "new", "settled": "healthy"}', b"\xff"])
def test_what_cannot_be_read_was_never_announced(text: bytes) -> None:
    assert parse_announced(text) is NEVER
