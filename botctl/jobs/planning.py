"""What is to be done about a job now. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from botctl.core.contracts.jobs import Job, JobRecord, MissedPolicy

GRACE: Final = timedelta(seconds=5)
"""A due time that passed longer ago than this is missed; up to here, its run is only late."""


@dataclass(frozen=True, slots=True)
class Step:
    """Run the job for ``due`` (None: only go on to ``next_due``). ``skipped``: due times that pass without a run.

    ``requested``: the id that who asked for the run has given it.
    """

    due: datetime | None
    next_due: datetime
    skipped: int = 0
    requested: str | None = None


def step(job: Job, record: JobRecord, now: datetime) -> Step | None:
    """What is to be done; None: nothing yet.

    A request is served whether or not the job is paused, and takes nothing from the due times.
    """
    if record.run is not None:
        return None
    if record.requested is not None:
        return Step(now, record.next_due, requested=record.requested)
    if record.paused or record.next_due > now:
        return None
    latest, count = job.schedule.count_due(record.next_due, now)
    next_due = job.schedule.next_after(now)
    if job.missed is MissedPolicy.SKIP and now - latest > GRACE:
        return Step(None, next_due, skipped=count)
    return Step(latest, next_due, skipped=count - 1)
