"""The service that schedules jobs. Each process with the role ``jobs`` has it; one holds the lease and does the work.

APScheduler wakes a job at its due times, and the job's record decides what to do. So an extra wake-up does no harm. The
records are also read each second, for runs that operators ask for and for work that a failing store delayed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
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
from botctl.core.contracts.lease import Lease, Leases, LeaseWait
from botctl.core.contracts.protocols import Auditor
from botctl.core.errors import ANYTHING, STORE_FAULTS, IntegrityError
from botctl.core.event_loop.tasks import create_watched_task, is_own_cancellation
from botctl.core.plural import counted
from botctl.core.repeats import Repeats
from botctl.core.services.registry import Backoff, Services, Tasks
from botctl.jobs.planning import plan_run
from botctl.jobs.runner import Runner
from botctl.jobs.store import MongoJobStore

POLL_S: Final = 1.0
CLOCK_STEP_S: Final = 2.0  # a smaller change of the clock's offset is a correction of its speed
CANCEL_S: Final = 3.0  # how long a cancelled run may take to end
_log = logging.getLogger(__name__)
for _name in ("apscheduler.scheduler", "apscheduler.executors"):  # two useless lines for each due time
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(eq=False)
class Scheduler:
    """Runs ``jobs`` while it holds the lease, and waits for the lease otherwise."""

    jobs: Jobs
    leases: Leases
    runner: Runner
    lease_s: float
    complete: bool = True  # no file was left out, so a stored job that is not in `jobs` was removed from the files
    on_lease: Callable[[], object] = bool  # called when this process gets the lease
    lease: Lease | None = None  # while this process holds it
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _ended_holder: tuple[str, float] | None = field(default=None, init=False)  # and when its lease ends
    _draining: bool = field(default=False, init=False)
    _repeats: Repeats = field(default_factory=Repeats, init=False)

    async def lead(self) -> None:
        """Schedule while holding the lease, for ever. Raises Unreachable if MongoDB does not answer."""
        while True:
            async with self.leases.lease(LEASE, ttl_s=self.lease_s, on_wait=self._note_wait) as lease:
                self.lease, self._ended_holder = lease, None
                self.on_lease()
                try:
                    await self._schedule(lease)
                finally:
                    self.lease = None
                    await self._cancel_runs()
            _log.warning("the lease of the jobs was lost: %s; another process may schedule them now", lease.lost_reason)

    async def drain(self, limit_s: float) -> None:
        """Start no more runs, and give those under way at most ``limit_s`` to end."""
        self._draining = True
        if self._running and limit_s > 0:
            await asyncio.wait(tuple(self._running.values()), timeout=limit_s)

    async def ping(self) -> str:
        """Return whether this process schedules, as a text for the service registry."""
        if self.lease is None or not self.lease.held:
            return self._describe_wait()
        return f"schedules {counted(len(self.jobs), 'job')}, fence {self.lease.fence}"

    def _note_wait(self, wait: LeaseWait) -> None:
        if wait.has_ended:
            self._ended_holder = wait.holder, self.runner.clock.monotonic() + wait.left_s

    def _describe_wait(self) -> str:
        holder, until_s = self._ended_holder or ("", 0.0)
        left_s = until_s - self.runner.clock.monotonic()
        if not holder or left_s < 0:
            return "another process schedules, or will shortly"
        return f"waits for the lease of {holder}, which has ended: {left_s:.0f} s at most"

    async def _schedule(self, lease: Lease) -> None:
        for job in self.jobs:
            try:
                await self.runner.take_over(job, lease)
            except IntegrityError as error:  # one job must not stop the others
                self._repeats.level(logging.ERROR, job.name, str(error))
                _log.error("job %s is not scheduled: %s", job.name, error)
        while not lease.lost.is_set():
            with self._due_times(lease):
                await self._poll_until_clock_is_set(lease)

    async def _poll_until_clock_is_set(self, lease: Lease) -> None:
        """Poll until the lease is lost or the wall clock is set: then APScheduler's next due times are wrong."""
        began_s = self._clock_offset_s()
        while not lease.lost.is_set() and abs(self._clock_offset_s() - began_s) < CLOCK_STEP_S:
            await self._poll(lease)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await lease.lost.wait()

    def _clock_offset_s(self) -> float:
        return self.runner.clock.now().timestamp() - self.runner.clock.monotonic()

    async def _poll(self, lease: Lease) -> None:
        """Wake the jobs that have something to do."""
        try:
            records = {record.name: record for record in await self.runner.store.all()}
        except STORE_FAULTS:
            _log.debug("the jobs cannot be read now", exc_info=True)
            return
        now = self.runner.clock.now()
        await self._mark_removed(records, lease)
        for job in self.jobs:
            if job.name in self.runner.store.malformed.faults:
                continue
            record = records.get(job.name)
            # A run in the record is under way here, or its process died: the runner finds out which.
            if record is None or record.run is not None or plan_run(job, record, now) is not None:
                self._wake(job, lease)

    async def _mark_removed(self, records: Mapping[str, JobRecord], lease: Lease) -> None:
        """Mark stored jobs that no file contains any more as removed: the monitor no longer warns about them."""
        names = {job.name for job in self.jobs}
        for name, record in records.items():
            if self.complete and name not in names and record.removed is None:
                try:
                    await self.runner.mark_removed(record, lease)
                except STORE_FAULTS:
                    _log.debug("job %s cannot be marked as removed now", name, exc_info=True)

    @contextmanager
    def _due_times(self, lease: Lease) -> Iterator[None]:
        """Let APScheduler wake each job at its due times while the block runs."""
        apscheduler = AsyncIOScheduler(timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None})

        async def wake(job: Job) -> None:
            self._wake(job, lease)

        for job in self.jobs:
            apscheduler.add_job(wake, job.schedule.trigger, args=[job], id=job.name)
        apscheduler.start()
        try:
            yield
        finally:
            apscheduler.shutdown(wait=False)

    def _wake(self, job: Job, lease: Lease) -> None:
        """Start the one task of ``job``, unless it is under way."""
        if job.name not in self._running and self._may_run(lease):
            task = create_watched_task(self._run_until_idle(job, lease), name=f"job {job.name}")
            self._running[job.name] = task
            task.add_done_callback(lambda _: self._running.pop(job.name, None))

    async def _run_until_idle(self, job: Job, lease: Lease) -> None:
        """Run ``job`` again and again while something is due."""
        try:
            while self._may_run(lease) and await self.runner.run_due(job, lease):
                pass
            self._repeats.end(job.name)
        except (*STORE_FAULTS, IntegrityError) as error:
            _log.log(self._repeats.level(logging.WARNING, job.name, str(error)), "job %s: %s", job.name, error)
        except ANYTHING as error:  # one job must not stop the others
            if is_own_cancellation(error):
                raise
            _log.exception("job %s cannot be run", job.name)

    def _may_run(self, lease: Lease) -> bool:
        return self.lease is lease and lease.held and not self._draining

    async def _cancel_runs(self) -> None:
        # Another process may run these jobs from now on.
        running = dict(self._running)
        for task in running.values():
            task.cancel()
        if running:
            _, pending = await asyncio.wait(running.values(), timeout=CANCEL_S)
            for name in (name for name, task in running.items() if task in pending):
                _log.error("job %s ignores its cancellation and goes on", name)


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
    """Factory of the service. It is ready at once, with or without the lease. ``complete``: see `Scheduler`."""
    runner = Runner(MongoJobStore.of(database), services, bus.publish, auditor, clock)
    lease_s = settings.jobs.lease_s
    scheduler = Scheduler(jobs, leases, runner, lease_s, complete, tasks.recovered)
    # To wait for a lease takes as long as it lives. Only then may MongoDB turn out to take no write.
    tasks.spawn(scheduler.lead, name="lead", restart=Backoff(limit_s=5.0, healthy_s=2 * lease_s + 10))
    try:
        yield scheduler
    finally:
        await scheduler.drain(0)  # it is drained already; this only prevents new runs
        await tasks.cancel()
