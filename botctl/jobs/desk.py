"""Jobs from a terminal: looked at, paused, asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase

from botctl.core.audit import Target, happened, operator
from botctl.core.bus import Bus
from botctl.core.clock import Clock
from botctl.core.errors import Held
from botctl.core.ids import event_id
from botctl.core.jobs import LEASE, Job, JobRecord, Jobs, Result
from botctl.core.protocols import Auditor, Leases
from botctl.core.registry import Services
from botctl.core.settings import Settings
from botctl.jobs.book import COLLECTION, MongoJobBook
from botctl.jobs.runner import Runner

LOOK_S: Final = 0.1
_LOST: Final = "`botctl jobs list` shows the last one, `botctl audit log` all of them."


@dataclass(frozen=True, slots=True)
class Line:
    """A job as it stands in the code (None: no more) and in the store (None: never scheduled yet)."""

    name: str
    job: Job | None
    record: JobRecord | None


@dataclass(frozen=True, slots=True)
class Answer:
    """How a run that was asked for came out. ``here``: this process ran it, since nobody else was there to."""

    run: str
    result: Result
    here: bool
    took_ms: int | None = None
    error_id: str | None = None


@dataclass(frozen=True, eq=False)
class JobDesk:
    """What a person does with jobs. Every method raises Unreachable when MongoDB does not answer."""

    jobs: Jobs
    leases: Leases
    runner: Runner
    auditor: Auditor
    clock: Clock
    lease_s: float

    async def lines(self) -> list[Line]:
        """Every job, by name."""
        records = {record.name: record for record in await self.runner.book.all()}
        jobs = {job.name: job for job in self.jobs}
        return [Line(name, jobs.get(name), records.get(name)) for name in sorted({*jobs, *records})]

    async def holder(self) -> str | None:
        """``host:pid`` of the process that schedules; None when none does."""
        return await self.leases.holder(LEASE)

    async def pause(self, name: str, *, paused: bool) -> bool:
        """Let the due times of a job pass by, or not any more; whether that was a change.

        Raises:
            UsageError: there is no such job.
            Held: others change it all the time.
        """
        changed = await self.runner.book.pause(self.jobs.named(name), self.clock.now(), paused=paused)
        if changed:
            self._record("job.pause" if paused else "job.resume", name)
        return changed

    async def run(self, name: str) -> Answer:
        """Have a job run now: by the process that schedules, or here when there is none. Waits for the end.

        Raises:
            UsageError: there is no such job.
            Held: others change it all the time; or another run was asked for meanwhile, and this one is lost sight of.
        """
        job = self.jobs.named(name)
        run_id = await self.runner.book.request(job, event_id(), self.clock.now())
        self._record("job.request", name, op=run_id)
        began = asyncio.Event()
        here = asyncio.create_task(self._serve(job, began), name="run here")
        try:
            record = await self._watch(job, run_id, here)
            if began.is_set():
                await here  # it lets the lease go
        finally:
            here.cancel()
            await asyncio.wait({here})
        assert record.answer is not None  # noqa: S101  what `_watch` waits for
        same = record.last_id == run_id
        return Answer(
            run_id,
            record.answer,
            here=began.is_set(),
            took_ms=record.took_ms if same else None,
            error_id=record.error_id if same else None,
        )

    async def _serve(self, job: Job, began: asyncio.Event) -> None:
        """Be the one who schedules, as soon as nobody else is, for as long as the request takes."""
        async with self.leases.lease(LEASE, ttl_s=self.lease_s) as lease:
            began.set()
            await self.runner.seal(job, lease)
            await self.runner.attempt(job, lease)

    async def _watch(self, job: Job, run_id: str, here: asyncio.Task[None]) -> JobRecord:
        """Wait until the run has ended, or ``here`` failed."""
        while True:
            record = await self.runner.book.get(job, self.clock.now())
            if record.answered == run_id:
                return record
            if run_id not in (record.requested, record.run):
                raise Held(f"The run {run_id} of {job.name} is lost sight of: others ask for it too.", hint=_LOST)
            if here.done():
                here.result()
            await asyncio.sleep(LOOK_S)

    def _record(self, action: str, name: str, *, op: str | None = None) -> None:
        entry = happened(action, operator(), at=self.clock.now(), iface="cli", target=Target("job", name), op=op)
        self.auditor.record(entry)


@asynccontextmanager
async def job_desk(
    *,
    jobs: Jobs,
    database: AsyncDatabase[dict[str, Any]],
    leases: Leases,
    services: Services,
    bus: Bus,
    auditor: Auditor,
    clock: Clock,
    settings: Settings,
) -> AsyncIterator[JobDesk]:
    """Factory of the service."""
    runner = Runner(MongoJobBook(database[COLLECTION]), services, bus.publish, auditor, clock)
    yield JobDesk(jobs, leases, runner, auditor, clock, settings.jobs.lease_s)
