"""Jobs from the terminal: list, pause and run them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase

from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import Target, current_operator, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.jobs import LEASE, Job, JobRecord, Jobs, RunResult, SchedulableJob
from botctl.core.contracts.lease import LeaseHolder, Leases
from botctl.core.contracts.malformed import Malformed, describe_fault, malformed_error
from botctl.core.contracts.protocols import Auditor
from botctl.core.errors import BotctlError, Held, NotFound, Unreachable
from botctl.core.escape import safe
from botctl.core.event_loop.tasks import create_watched_task
from botctl.core.ids import event_id
from botctl.core.services.registry import Services
from botctl.jobs.runner import Runner
from botctl.jobs.store import COLLECTION, MongoJobStore

POLL_S: Final = 0.1
HOLDER_POLL_S: Final = 1.0  # between two checks which process runs the scheduler
NOTIFY_AFTER_S: Final = 2.0  # the scheduler polls each second; after this the operator learns why the run waits
CANCEL_S: Final = 3.0  # how long a cancelled run may take to end
_REPLACED_HINT: Final = "`botctl jobs list` shows the last run, `botctl audit log` all of them."
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """``job``: as a file defines it, or None. ``record``: its state in the store; None if it was never scheduled."""

    name: str
    job: Job | None
    record: JobRecord | None


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a requested run ended."""

    run: str  # its id
    result: RunResult
    here: bool  # this process ran it, because no scheduler runs
    took_ms: int | None = None
    error_id: str | None = None  # as in the log
    unresponsive: bool = False  # it goes on after its cancellation; the JSON key is ``stubborn``
    detail: str | None = None  # one sentence for the operator

    def as_json(self) -> dict[str, Any]:
        """The report under its public keys."""
        values = asdict(self)
        values["stubborn"] = values.pop("unresponsive")
        return values


@dataclass(frozen=True, eq=False)
class JobAdmin:
    """What an operator does with jobs. Every method raises Unreachable when MongoDB does not answer."""

    jobs: Jobs
    leases: Leases
    runner: Runner
    auditor: Auditor
    clock: Clock
    lease_s: float  # how long the lease lasts without a renewal
    blocked_by: BotctlError | None = None  # why no job can run in this process; None: it can

    async def statuses(self) -> list[JobStatus]:
        """Every job, sorted by name, except those whose documents are `malformed`."""
        records = {record.name: record for record in await self.runner.store.all()}
        jobs = {job.name: job for job in self.jobs}
        names = {*jobs, *records} - self.malformed.faults.keys()
        return [JobStatus(name, jobs.get(name), records.get(name)) for name in sorted(names)]

    @property
    def malformed(self) -> Malformed:
        """The documents of jobs that could not be read the last time."""
        return self.runner.store.malformed

    async def holder(self) -> LeaseHolder | None:
        """The process that runs the scheduler, by its lease in the store; None: no process does."""
        return await self.leases.holder(LEASE)

    async def set_paused(self, name: str, *, paused: bool, reason: str = "") -> bool:
        """Pause or resume a job of the code or the store. Return whether that was a change.

        Raises NotFound if there is no such job, Held if other processes changed the record at each attempt.
        """
        changed = await self.runner.store.set_paused(await self._find_job(name), self.clock.now(), paused=paused)
        if changed:
            self._record("job.pause" if paused else "job.resume", name, reason)
        return changed

    async def run(self, name: str, notify: Callable[[str], None] = _log.info, *, reason: str = "") -> RunReport:
        """Run a job now, in the process that schedules, or here when there is none. Wait for the end.

        It does not wait for a run that ignores its cancellation. ``notify`` gets a sentence when the run has to wait.

        Raises:
            NotFound: there is no such job.
            Held: other processes changed the record at each attempt, or another request replaced this one.
            BotctlError: no process schedules, and the job cannot run here (`blocked_by`).
        """
        job = self.jobs.named(name)
        if self.blocked_by is not None:
            await self._require_scheduler(self.blocked_by)
        run_id = await self.runner.store.request(job, event_id(), self.clock.now())
        self._record("job.request", name, reason, op=run_id)
        started = asyncio.Event()
        here = asyncio.create_task(self._run_here(job, started), name="run here")
        notifying = create_watched_task(self._notify_wait(job, run_id, notify), name="notify of a wait")
        try:
            record = await self._wait_for_end(job, run_id, here)
            if started.is_set() and not record.unresponsive:
                await here  # it releases the lease
        finally:
            notifying.cancel()
            here.cancel()
            await asyncio.wait({here, notifying}, timeout=CANCEL_S)
        return _report(run_id, record, here=started.is_set())

    async def _find_job(self, name: str) -> SchedulableJob:
        records = {record.name: record for record in await self.runner.store.all()}
        jobs = {job.name: job for job in self.jobs}
        if name in jobs:
            return jobs[name]
        if name not in records:
            known = ", ".join(sorted({*jobs, *records}))
            raise NotFound(f"there is no job {name[:40]!r}.", hint=f"Choose from: {known}.")
        try:
            return records[name].stored_job
        except ValueError as error:
            raise malformed_error(COLLECTION, {name: describe_fault(error)}) from error

    async def _require_scheduler(self, blocked_by: BotctlError) -> None:
        holder = await self.holder()
        if holder is None or holder.expired:
            raise blocked_by

    async def _run_here(self, job: Job, started: asyncio.Event) -> None:
        """Take the lease when no other process has it, run the job and release the lease."""
        while self.blocked_by is not None:
            await self._require_scheduler(self.blocked_by)
            await asyncio.sleep(HOLDER_POLL_S)
        async with self.leases.lease(LEASE, ttl_s=self.lease_s) as lease:
            started.set()
            await self.runner.take_over(job, lease)
            await self.runner.run_due(job, lease)

    async def _notify_wait(self, job: Job, run_id: str, notify: Callable[[str], None]) -> None:
        """Tell ``notify`` what the run waits for, if it has not started after `NOTIFY_AFTER_S`."""
        await asyncio.sleep(NOTIFY_AFTER_S)
        try:
            record = await self.runner.store.get(job, self.clock.now())
            holder = await self.holder()
        except Unreachable:  # `_wait_for_end` raises it
            return
        if record.requested != run_id or holder is None:
            return
        if record.run is not None:
            notify(f"{job.name} is running; it is run again when that run has ended.")
            return
        left_s = max(0.0, holder.ttl_s - holder.silent_s) + HOLDER_POLL_S
        notify(
            f"{safe(holder.process)} schedules, and has not started the job. If that process has died, the job is run "
            f"here in {left_s:.0f} s at most."
        )

    async def _wait_for_end(self, job: Job, run_id: str, here: asyncio.Task[None]) -> JobRecord:
        """Return the record when the run has ended or ignores its cancellation. Raise what the task ``here`` raises."""
        while True:
            record = await self.runner.store.get(job, self.clock.now())
            if record.answered == run_id or (record.run == run_id and record.unresponsive):
                return record
            if run_id not in (record.requested, record.run):
                raise Held(
                    f"The run {run_id} of {job.name} cannot be followed: another request replaced this one.",
                    hint=_REPLACED_HINT,
                )
            if here.done():
                here.result()
            await asyncio.sleep(POLL_S)

    def _record(self, action: str, name: str, reason: str, *, op: str | None = None) -> None:
        entry = make_entry(
            action,
            current_operator(),
            at=self.clock.now(),
            iface="cli",
            target=Target("job", name),
            reason=reason or None,
            op=op,
        )
        self.auditor.record(entry)


@asynccontextmanager
async def job_admin(
    *,
    jobs: Jobs,
    database: AsyncDatabase[dict[str, Any]],
    leases: Leases,
    services: Services,
    bus: Bus,
    auditor: Auditor,
    clock: Clock,
    settings: Settings,
    blocked_by: BotctlError | None,
) -> AsyncIterator[JobAdmin]:
    """Factory of the service. ``blocked_by``: see `JobAdmin`."""
    runner = Runner(MongoJobStore.of(database), services, bus.publish, auditor, clock)
    yield JobAdmin(jobs, leases, runner, auditor, clock, settings.jobs.lease_s, blocked_by)


def _report(run_id: str, record: JobRecord, *, here: bool) -> RunReport:
    is_last = record.last_id == run_id
    if record.unresponsive and record.run == run_id:
        return RunReport(run_id, RunResult.TIMEOUT, here, unresponsive=True, detail=record.detail)
    assert record.answer is not None  # noqa: S101  `_wait_for_end` waits for it
    return RunReport(
        run_id,
        record.answer,
        here,
        took_ms=record.took_ms if is_last else None,
        error_id=record.error_id if is_last else None,
        detail=record.detail if is_last else None,
    )
