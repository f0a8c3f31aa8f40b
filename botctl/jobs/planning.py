"""Decide whether a job is to run now. Pure functions: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from botctl.core.contracts.jobs import Job, JobRecord, MissedPolicy
from botctl.core.contracts.schedule import Schedule

GRACE: Final = timedelta(seconds=5)
"""A run that would start later than this after its due time was missed."""
CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""The clocks of two hosts of a bot may differ by this much, without a stored due time being replaced."""
SET_BACK: Final = timedelta(hours=1)
"""A clock may be set back by this much, or be behind that of another host, without a due time being run twice."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What to do about a job now.

    ``due``: run the job for this due time; None: only store ``next_due``. ``skipped``: number of due times that get no
    run. ``requested``: the id of the run, if an operator asked for it.
    """

    due: datetime | None
    next_due: datetime
    skipped: int = 0
    requested: str | None = None


def plan_run(job: Job, record: JobRecord, now: datetime) -> RunPlan | None:
    """The plan for ``job``; None: there is nothing to do yet.

    A run that an operator requested takes place even if the job is paused, and in addition to the scheduled runs. A
    stored due time that is later than the schedule allows comes from a clock that was ahead, and is replaced. No due
    time up to that of the last run comes again, unless that is ahead by more than `SET_BACK`.
    """
    if record.run is not None:
        return None
    if record.requested is not None:
        return RunPlan(now, record.next_due, requested=record.requested)
    if record.paused:
        return None
    if record.next_due > now:
        is_possible = record.next_due <= next_due_after(job.schedule, record, now + CLOCK_TOLERANCE)
        return None if is_possible else RunPlan(None, next_due_after(job.schedule, record, now))
    latest, count = job.schedule.count_due(record.next_due, now)
    next_due = job.schedule.next_after(now)
    if job.missed is MissedPolicy.SKIP and now - latest > GRACE:
        return RunPlan(None, next_due, skipped=count)
    return RunPlan(latest, next_due, skipped=count - 1)


def next_due_after(schedule: Schedule, record: JobRecord, now: datetime) -> datetime:
    """The first due time of ``schedule`` after ``now`` and after the job's last run, unless its clock was far ahead."""
    last_due = record.last_due
    if last_due is None or last_due - now > SET_BACK:
        return schedule.next_after(now)
    return schedule.next_after(max(now, last_due))
