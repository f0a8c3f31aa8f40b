"""What is to be done about a job: every due time is either run for or passed over, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.jobs import Job, JobRecord, MissedPolicy
from botctl.core.contracts.schedule import parse
from botctl.jobs.planning import GRACE, step

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


async def nothing() -> None: ...


def minutely(missed: str) -> Job:
    return Job("tidy", nothing, parse("every 1m"), MissedPolicy(missed))


def record(**values) -> JobRecord:
    return replace(JobRecord(name="tidy", schedule="every 1m", missed=MissedPolicy.ONCE, next_due=NOON), **values)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_before_it_is_due_there_is_nothing_to_do():
    assert step(minutely("once"), record(), at(-0.001)) is None


def test_a_due_time_that_has_come_is_run_for():
    for missed in MissedPolicy:
        todo = step(minutely(missed), record(), at(0.01))
        assert (todo.due, todo.next_due, todo.skipped) == (NOON, at(60), 0)


def test_once_runs_one_time_for_all_that_passed():
    todo = step(minutely("once"), record(), at(200))
    assert (todo.due, todo.next_due, todo.skipped) == (at(180), at(240), 3)


def test_skip_waits_for_the_next_due_time():
    todo = step(minutely("skip"), record(), at(200))
    assert (todo.due, todo.next_due, todo.skipped) == (None, at(240), 4)


def test_a_little_late_is_not_missed():
    assert step(minutely("skip"), record(), at(180) + GRACE).due == at(180)


def test_what_runs_or_is_paused_is_left_alone():
    assert step(minutely("once"), record(run="1"), at(200)) is None
    assert step(minutely("once"), record(paused=True), at(200)) is None


def test_a_request_is_served_also_while_it_is_paused_and_takes_no_due_time():
    todo = step(minutely("once"), record(paused=True, requested="7"), at(-10))
    assert (todo.due, todo.next_due, todo.requested, todo.skipped) == (at(-10), NOON, "7", 0)
    assert step(minutely("once"), record(requested="7", run="6"), at(0)) is None


@given(
    st.sampled_from(list(MissedPolicy)),
    st.lists(st.floats(0, 600) | st.floats(55, 65) | st.sampled_from([60.0, 65.0]), max_size=20),
)
def test_every_due_time_is_accounted_for_once(missed, pauses_s):
    """Whenever anybody looks: runs and skipped ones are all there were, and no due time is run for twice."""
    job, known, now = minutely(missed), record(), NOON - timedelta(seconds=30)
    ran: list[datetime] = []
    skipped = 0
    for pause_s in pauses_s:
        now += timedelta(seconds=pause_s)
        todo = step(job, known, now)
        if todo is not None:
            ran += [todo.due] if todo.due else []
            skipped += todo.skipped
            known = replace(known, next_due=todo.next_due)
            assert step(job, known, now) is None
    assert len(ran) + skipped == (known.next_due - NOON) / timedelta(minutes=1)
    assert ran == sorted(set(ran))
    assert all(NOON <= due < known.next_due for due in ran)
