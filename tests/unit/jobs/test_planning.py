"""Each due time is either run or skipped, exactly once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.jobs import Job, JobRecord, MissedPolicy
from botctl.core.contracts.schedule import parse
from botctl.jobs.planning import CLOCK_TOLERANCE, GRACE, SET_BACK, next_due_after, plan_run

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


async def nothing() -> None: ...


def minutely(missed: str) -> Job:
    return Job("tidy", nothing, parse("every 1m"), MissedPolicy(missed))


def record(**values) -> JobRecord:
    return replace(JobRecord(name="tidy", schedule="every 1m", missed=MissedPolicy.ONCE, next_due=NOON), **values)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_job_is_not_planned_before_its_due_time():
    assert plan_run(minutely("once"), record(), at(-0.001)) is None


def test_job_is_planned_at_its_due_time():
    for missed in MissedPolicy:
        plan = plan_run(minutely(missed), record(), at(0.01))
        assert (plan.due, plan.next_due, plan.skipped) == (NOON, at(60), 0)


def test_missed_once_runs_one_time_for_all_due_times():
    plan = plan_run(minutely("once"), record(), at(200))
    assert (plan.due, plan.next_due, plan.skipped) == (at(180), at(240), 3)


def test_missed_skip_waits_for_next_due_time():
    plan = plan_run(minutely("skip"), record(), at(200))
    assert (plan.due, plan.next_due, plan.skipped) == (None, at(240), 4)


def test_due_time_within_grace_is_not_missed():
    assert plan_run(minutely("skip"), record(), at(180) + GRACE).due == at(180)


def test_running_or_paused_job_is_not_planned():
    assert plan_run(minutely("once"), record(run="1"), at(200)) is None
    assert plan_run(minutely("once"), record(paused=True), at(200)) is None


def test_request_of_paused_job_runs_and_keeps_due_time():
    plan = plan_run(minutely("once"), record(paused=True, requested="7"), at(-10))
    assert (plan.due, plan.next_due, plan.requested, plan.skipped) == (at(-10), NOON, "7", 0)
    assert plan_run(minutely("once"), record(requested="7", run="6"), at(0)) is None


@given(
    st.sampled_from(list(MissedPolicy)),
    st.lists(st.floats(0, 600) | st.floats(55, 65) | st.sampled_from([60.0, 65.0]), max_size=20),
)
def test_each_due_time_is_run_or_skipped_once(missed, pauses_s):
    """Whenever the plan is asked for, runs and skipped due times together are all due times, without repetition."""
    job, known, now = minutely(missed), record(), NOON - timedelta(seconds=30)
    ran: list[datetime] = []
    skipped = 0
    for pause_s in pauses_s:
        now += timedelta(seconds=pause_s)
        plan = plan_run(job, known, now)
        if plan is not None:
            ran += [plan.due] if plan.due else []
            skipped += plan.skipped
            known = replace(known, next_due=plan.next_due)
            assert plan_run(job, known, now) is None
    assert len(ran) + skipped == (known.next_due - NOON) / timedelta(minutes=1)
    assert ran == sorted(set(ran))
    assert all(NOON <= due < known.next_due for due in ran)


@given(st.sampled_from(["every 1s", "every 1h", "0 4 * * *", "every 366d"]), st.integers(0, 40 * 86_400))
def test_due_time_from_a_clock_ahead_is_replaced(when, ahead_s):
    """One that the schedule allows is kept, also if the clock of another host is a little ahead."""
    job = Job("tidy", nothing, parse(when), MissedPolicy.SKIP)
    stored = job.schedule.next_after(at(ahead_s))
    plan = plan_run(job, record(next_due=stored), NOON)
    if stored <= job.schedule.next_after(NOON + CLOCK_TOLERANCE):
        assert plan is None
    else:
        assert (plan.due, plan.next_due, plan.skipped) == (None, job.schedule.next_after(NOON), 0)


@pytest.mark.parametrize("when", ["0 12 * * *", "every 1m", "every 1h"])
@pytest.mark.parametrize("back", [timedelta(seconds=6), timedelta(minutes=10), SET_BACK])
def test_due_time_is_not_run_again_after_a_small_step(when, back):
    """The clock is set back, or a host whose clock is behind takes over."""
    job = Job("tidy", nothing, parse(when))
    ran = record(next_due=job.schedule.next_after(NOON), last_due=NOON)
    assert plan_run(job, ran, NOON - back) is None


def test_job_goes_on_after_its_clock_was_far_ahead():
    job = minutely("once")
    ran = record(next_due=at(60), last_due=NOON)
    now = NOON - SET_BACK - timedelta(minutes=10)
    assert plan_run(job, ran, now).next_due == now + timedelta(minutes=1)


@given(st.sampled_from(list(MissedPolicy)), st.lists(st.floats(-300, 300) | st.floats(-10, 10), max_size=30))
def test_no_due_time_is_run_twice_whatever_the_clock_does(missed, steps_s):
    """It may go back again and again, by at most an hour in all, and the job may be paused and resumed."""
    job, known, now, latest = minutely(missed), record(), NOON, NOON
    ran: list[datetime] = []
    for step_s in steps_s:
        now = max(now + timedelta(seconds=step_s), latest - SET_BACK)
        latest = max(latest, now)
        plan = plan_run(job, known, now)
        if plan is not None:
            ran += [plan.due] if plan.due else []
            known = replace(known, next_due=plan.next_due, last_due=plan.due or known.last_due)
        if step_s > 200:
            known = replace(known, next_due=next_due_after(job.schedule, known, now))
    assert ran == sorted(set(ran))
