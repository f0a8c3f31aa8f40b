"""The service that schedules: in every process with the role, and at work in the one that holds the lease.

APScheduler says when a due time has come; what is then to be done, the job's record says. So it does not matter how
often anybody looks, and each second the records are looked at besides: for runs that people ask for, and for what a
failure of the store left undone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from pymongo.asynchronous.database import AsyncDatabase

from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.jobs import LEASE, Job, JobRecord, Jobs
from botctl.core.contracts.lease import Lease, Leases
from botctl.core.contracts.protocols import Auditor
from botctl.core.errors import Unreachable
from botctl.core.services.registry import Backoff, Services, Tasks
from botctl.jobs.planning import step
from botctl.jobs.runner import Runner
from botctl.jobs.store import COLLECTION, MongoJobStore

LOOK_S: Final = 1.0
END_S: Final = 3.0  # how long a cancelled run may take to end
_log = logging.getLogger(__name__)
for _name in ("apscheduler.scheduler", "apscheduler.executors"):  # two lines for each due time, which say nothing new
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(eq=False)
class Scheduler:
    """Runs ``jobs`` while it holds the lease; waits for it otherwise.

    ``complete``: those are all there are, so that a job which is not among them was removed.
    """

    jobs: Jobs
    leases: Leases
    runner: Runner
    lease_s: float
    complete: bool = True
    lease: Lease | None = None
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _draining: bool = field(default=False, init=False)

    async def lead(self) -> None:
        """Hold the lease and schedule; when it is lost, wait for it again. Never returns.

        Raises:
            Unreachable: MongoDB does not answer.
        """
        while True:
            async with self.leases.lease(LEASE, ttl_s=self.lease_s) as lease:
                self.lease = lease
                try:
                    await self._term(lease)
                finally:
                    self.lease = None
                    await self._cancel()
            _log.warning("the lease of the jobs was lost: %s; another process may schedule them now", lease.lost_reason)

    async def drain(self, limit_s: float) -> None:
        """Start no more runs, and let those under way go on for at most ``limit_s``."""
        self._draining = True
        if self._running and limit_s > 0:
            await asyncio.wait(tuple(self._running.values()), timeout=limit_s)

    async def ping(self) -> str:
        """For people: whether this process schedules."""
        if self.lease is None or not self.lease.held:
            return "another process schedules, or will shortly"
        return f"schedules {len(self.jobs)} jobs, fence {self.lease.fence}"

    async def _term(self, lease: Lease) -> None:
        """Schedule until the lease is lost."""
        for job in self.jobs:
            await self.runner.seal(job, lease)
        with self._on_time(lease):
            while not lease.lost.is_set():
                await self._look(lease)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await lease.lost.wait()

    async def _look(self, lease: Lease) -> None:
        """Wake the jobs that have something to do."""
        try:
            records = {record.name: record for record in await self.runner.book.all()}
        except Unreachable:
            _log.debug("the jobs cannot be looked at now", exc_info=True)
            return
        now = self.runner.clock.now()
        await self._remove(records, lease)
        for job in self.jobs:
            record = records.get(job.name)
            # A run that is noted is this process's, and goes on, or it was left behind: the runner knows.
            if record is None or record.run is not None or step(job, record, now) is not None:
                self._wake(job, lease)

    async def _remove(self, records: Mapping[str, JobRecord], lease: Lease) -> None:
        """Note which jobs there are no more, so that their last outcome does not trouble anybody for ever."""
        names = {job.name for job in self.jobs}
        for name, record in records.items():
            if self.complete and name not in names and record.removed is None:
                try:
                    await self.runner.remove(record, lease)
                except Unreachable:
                    _log.debug("that job %s was removed cannot be noted now", name, exc_info=True)

    @contextmanager
    def _on_time(self, lease: Lease) -> Iterator[None]:
        """Wake each job at its due times."""
        alarm = AsyncIOScheduler(timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None})

        async def due(job: Job) -> None:
            self._wake(job, lease)

        for job in self.jobs:
            alarm.add_job(due, job.schedule.trigger, args=[job], id=job.name)
        alarm.start()
        try:
            yield
        finally:
            alarm.shutdown(wait=False)

    def _wake(self, job: Job, lease: Lease) -> None:
        """Do what is to be done about ``job``, in its one task."""
        if job.name not in self._running and self._at_work(lease):
            task = asyncio.create_task(self._work(job, lease), name=f"job {job.name}")
            self._running[job.name] = task
            task.add_done_callback(lambda _: self._running.pop(job.name, None))

    async def _work(self, job: Job, lease: Lease) -> None:
        try:
            while self._at_work(lease) and await self.runner.attempt(job, lease):
                pass
        except Unreachable as error:
            _log.warning("job %s: %s", job.name, error)
        except Exception:  # noqa: BLE001  one job must not stop the others
            _log.exception("job %s cannot be run", job.name)

    def _at_work(self, lease: Lease) -> bool:
        return self.lease is lease and lease.held and not self._draining

    async def _cancel(self) -> None:
        """End what runs: from now on another process may run it."""
        running = dict(self._running)
        for task in running.values():
            task.cancel()
        if running:
            _, left = await asyncio.wait(running.values(), timeout=END_S)
            for name in (name for name, task in running.items() if task in left):
                _log.error("job %s does not heed its cancellation and goes on", name)


@asynccontextmanager
async def job_scheduler(
    *,
    jobs: Jobs,
    database: AsyncDatabase[dict[str, Any]],
    leases: Leases,
    services: Services,
    bus: Bus,
    auditor: Auditor,
    clock: Clock,
    settings: Settings,
    tasks: Tasks,
    complete: bool,
) -> AsyncIterator[Scheduler]:
    """Factory of the service: ready at once, with or without the lease. ``complete``: see `Scheduler`."""
    runner = Runner(MongoJobStore(database[COLLECTION]), services, bus.publish, auditor, clock)
    scheduler = Scheduler(jobs, leases, runner, settings.jobs.lease_s, complete)
    tasks.spawn(scheduler.lead, name="lead", restart=Backoff())
    try:
        yield scheduler
    finally:
        await scheduler.drain(0)  # who stops it has drained it; here it only starts nothing any more
        await tasks.cancel()
