"""Jobs from a terminal: looked at, paused, asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase

from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import Target, current_operator, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.jobs import LEASE, Job, JobRecord, Jobs, RunResult, SchedulableJob
from botctl.core.contracts.lease import LeaseHolder, Leases
from botctl.core.contracts.protocols import Auditor
from botctl.core.errors import BotctlError, Held, Unreachable, UsageError
from botctl.core.escape import safe
from botctl.core.ids import event_id
from botctl.core.services.registry import Services
from botctl.jobs.runner import Runner
from botctl.jobs.store import COLLECTION, MongoJobStore

LOOK_S: Final = 0.1
ASK_S: Final = 1.0  # between two looks at who schedules
TOLD_S: Final = 2.0  # who schedules looks each second; who waits longer is told for whom
END_S: Final = 3.0  # how long a run here may take to end when it is cancelled
_LOST: Final = "`botctl jobs list` shows the last one, `botctl audit log` all of them."
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as it stands in the code (None: no more) and in the store (None: never scheduled yet)."""

    name: str
    job: Job | None
    record: JobRecord | None


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run that was asked for came out. ``here``: this process ran it, since nobody else was there to.

    ``stubborn``: it goes on, although it was cancelled. ``detail``: more of it, a sentence for people.
    """

    run: str
    result: RunResult
    here: bool
    took_ms: int | None = None
    error_id: str | None = None
    stubborn: bool = False
    detail: str | None = None


@dataclass(frozen=True, eq=False)
class JobAdmin:
    """What a person does with jobs. Every method raises Unreachable when MongoDB does not answer.

    ``hindrance``: why no job can be run here; one that another process schedules can be asked for all the same.
    """

    jobs: Jobs
    leases: Leases
    runner: Runner
    auditor: Auditor
    clock: Clock
    lease_s: float
    hindrance: BotctlError | None = None

    async def lines(self) -> list[JobStatus]:
        """Every job, by name."""
        records = {record.name: record for record in await self.runner.book.all()}
        jobs = {job.name: job for job in self.jobs}
        return [JobStatus(name, jobs.get(name), records.get(name)) for name in sorted({*jobs, *records})]

    async def holder(self) -> LeaseHolder | None:
        """The process that schedules, as far as the store knows; None when none does."""
        return await self.leases.holder(LEASE)

    async def pause(self, name: str, *, paused: bool) -> bool:
        """Let the due times of a job pass by, or not any more; whether that was a change.

        A job that the store knows need not be among those whose code could be loaded.

        Raises:
            UsageError: there is no such job.
            Held: others change it all the time.
        """
        changed = await self.runner.book.pause(await self._planned(name), self.clock.now(), paused=paused)
        if changed:
            self._record("job.pause" if paused else "job.resume", name)
        return changed

    async def run(self, name: str, tell: Callable[[str], None] = _log.info) -> RunReport:
        """Have a job run now: by the process that schedules, or here when there is none. Waits for the end.

        It does not wait for a run that does not heed its cancellation. ``tell`` hears for whom it waits, if it does.

        Raises:
            UsageError: there is no such job.
            Held: others change it all the time; or another run was asked for meanwhile, and this one is lost sight of.
            BotctlError: nobody schedules, and the job cannot be run here (`hindrance`).
        """
        job = self.jobs.named(name)
        if self.hindrance is not None:
            await self._require_scheduler(self.hindrance)
        run_id = await self.runner.book.request(job, event_id(), self.clock.now())
        self._record("job.request", name, op=run_id)
        began = asyncio.Event()
        here = asyncio.create_task(self._serve(job, began), name="run here")
        telling = asyncio.create_task(self._tell(job, run_id, tell), name="tell of a wait")
        try:
            record = await self._watch(job, run_id, here)
            if began.is_set() and not record.unresponsive:
                await here  # it lets the lease go
        finally:
            telling.cancel()
            here.cancel()
            await asyncio.wait({here, telling}, timeout=END_S)
        return _answer(run_id, record, here=began.is_set())

    async def _planned(self, name: str) -> SchedulableJob:
        known: dict[str, SchedulableJob] = {record.name: record.stored_job for record in await self.runner.book.all()}
        known |= {job.name: job for job in self.jobs}
        if name not in known:
            raise UsageError(f"there is no job {name[:40]!r}.", hint=f"Choose from: {', '.join(sorted(known))}.")
        return known[name]

    async def _require_scheduler(self, hindrance: BotctlError) -> None:
        holder = await self.holder()
        if holder is None or holder.expired:
            raise hindrance

    async def _serve(self, job: Job, began: asyncio.Event) -> None:
        """Be the one who schedules, as soon as nobody else is, for as long as the request takes."""
        while self.hindrance is not None:
            await self._require_scheduler(self.hindrance)
            await asyncio.sleep(ASK_S)
        async with self.leases.lease(LEASE, ttl_s=self.lease_s) as lease:
            began.set()
            await self.runner.seal(job, lease)
            await self.runner.attempt(job, lease)

    async def _tell(self, job: Job, run_id: str, tell: Callable[[str], None]) -> None:
        """Say for whom the run waits, if it has not begun after a moment."""
        await asyncio.sleep(TOLD_S)
        try:
            record = await self.runner.book.get(job, self.clock.now())
            holder = await self.holder()
        except Unreachable:  # that is told by who waits for the end
            return
        if record.requested != run_id or holder is None:
            return
        if record.run is not None:
            tell(f"{job.name} runs already; it is run again after that.")
            return
        left_s = max(0.0, holder.ttl_s - holder.silent_s) + ASK_S
        tell(
            f"{safe(holder.process)} schedules, and has not begun it. If it has died, which is known in {left_s:.0f} s "
            "at most, the job is run here."
        )

    async def _watch(self, job: Job, run_id: str, here: asyncio.Task[None]) -> JobRecord:
        """Wait until the run has ended or does not heed its cancellation, or ``here`` failed."""
        while True:
            record = await self.runner.book.get(job, self.clock.now())
            if record.answered == run_id or (record.run == run_id and record.unresponsive):
                return record
            if run_id not in (record.requested, record.run):
                raise Held(f"The run {run_id} of {job.name} is lost sight of: others ask for it too.", hint=_LOST)
            if here.done():
                here.result()
            await asyncio.sleep(LOOK_S)

    def _record(self, action: str, name: str, *, op: str | None = None) -> None:
        entry = make_entry(
            action, current_operator(), at=self.clock.now(), iface="cli", target=Target("job", name), op=op
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
    hindrance: BotctlError | None,
) -> AsyncIterator[JobAdmin]:
    """Factory of the service. ``hindrance``: see `JobAdmin`."""
    runner = Runner(MongoJobStore(database[COLLECTION]), services, bus.publish, auditor, clock)
    yield JobAdmin(jobs, leases, runner, auditor, clock, settings.jobs.lease_s, hindrance)


def _answer(run_id: str, record: JobRecord, *, here: bool) -> RunReport:
    same = record.last_id == run_id
    if record.unresponsive and record.run == run_id:
        return RunReport(run_id, RunResult.TIMEOUT, here, stubborn=True, detail=record.detail)
    assert record.answer is not None  # noqa: S101  what `_watch` waits for
    return RunReport(
        run_id,
        record.answer,
        here,
        took_ms=record.took_ms if same else None,
        error_id=record.error_id if same else None,
        detail=record.detail if same else None,
    )
