"""One run of a job: claim it (record its start), call the function, record and publish how it ended.

A run is *lost* if its process ended, or lost the lease, without recording the end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from botctl.core.clock import Clock, iso_ms
from botctl.core.contracts.audit_entry import AuditOutcome, Principal, Stage, Target, make_entry
from botctl.core.contracts.events import Event, JobFinished, JobStarted
from botctl.core.contracts.jobs import Job, JobRecord, JobRun, RunResult
from botctl.core.contracts.lease import Lease
from botctl.core.contracts.protocols import Auditor
from botctl.core.driver_errors.failing_store import failing_store
from botctl.core.errors import ANYTHING, STORE_FAULTS
from botctl.core.event_loop.tasks import create_watched_task, is_own_cancellation
from botctl.core.ids import error_id, event_id
from botctl.core.plural import counted
from botctl.core.services.registry import Services
from botctl.core.signatures import parameters_of
from botctl.jobs.planning import RunPlan, plan_run
from botctl.jobs.store import MongoJobStore, RunOutcome

RETRY_S: Final = 0.5  # until the next attempt to write to MongoDB
LAST_WRITE_S: Final = 2.0  # to record an end when the process stops
GRACE_S: Final = 5.0  # how long a run that was cancelled at its time limit may take to end
_OUTCOMES: Final = {
    RunResult.OK: AuditOutcome.SUCCESS,
    RunResult.CANCELLED: AuditOutcome.UNKNOWN,
    RunResult.LOST: AuditOutcome.UNKNOWN,
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs jobs for the holder of the lease. Every method raises Unreachable if MongoDB does not answer."""

    store: MongoJobStore
    services: Services
    publish: Callable[[Event], None]
    auditor: Auditor
    clock: Clock
    _running: set[str] = field(default_factory=set, init=False)  # names of the jobs that run in this process

    async def take_over(self, job: Job, lease: Lease) -> None:
        """Take ``job`` over from the last holder of the lease. If it left a run unfinished, publish that as lost."""
        before = await self.store.take_over(job, lease.fence, self.clock.now())
        if before is not None and before.run is not None:
            _log.warning("job %s: its run %s is lost: its process died, or lost its lease", job.name, before.run)
            self._publish_lost(before.run, before)

    async def mark_removed(self, record: JobRecord, lease: Lease) -> None:
        """Mark a job that no file contains any more as removed. If a run of it is under way, it is lost."""
        if not lease.held or not await self.store.mark_removed(record, lease.fence, self.clock.now()):
            return
        _log.info("job %s is in no file any more; its record is kept, marked as removed", record.name)
        if record.run is not None:
            self._publish_lost(record.run, record)

    async def run_due(self, job: Job, lease: Lease) -> bool:
        """Run or skip what is due for ``job``. Return whether there was something to do: then call this again.

        It does nothing while the job runs in this process. If the record has a run of this holder that does not run
        here, the claim was written without confirmation: the run never started, and is lost. If it has a run of an
        earlier holder, it could not be read when this one took over: it is taken over now.
        """
        if job.name in self._running or not lease.held:
            return False
        now = self.clock.now()
        record = await self.store.get(job, now)
        if job.name in self._running:  # started while the record was read
            return False
        if record.run is not None and record.fence <= lease.fence:
            return await self._mark_lost(job, record.run, record, lease)
        plan = plan_run(job, record, now)
        if plan is None or record.fence > lease.fence:
            return False
        if plan.due is None:
            if await self.store.skip(record, plan, lease.fence):
                _log.log(*_skip_message(job, record, plan))
            return True
        await self._claim_and_run(job, record, plan, lease)
        return True

    async def _mark_lost(self, job: Job, run_id: str, record: JobRecord, lease: Lease) -> bool:
        """Record and publish that the run is lost. False: another process changed the record."""
        if record.fence < lease.fence:
            await self.take_over(job, lease)
            return True
        if not await self.store.mark_lost(record, lease.fence, self.clock.now()):
            return False
        _log.warning("job %s: its run %s is lost: its claim was not confirmed", record.name, run_id)
        self._publish_lost(run_id, record)
        return True

    async def _claim_and_run(self, job: Job, record: JobRecord, plan: RunPlan, lease: Lease) -> None:
        """Run the job if the claim succeeds. Without a confirmed claim nothing runs, so no due time gets two runs."""
        assert plan.due is not None  # noqa: S101  `run_due` skips plans without a due time
        requested = plan.requested is not None
        run = JobRun(plan.requested or event_id(), job.name, plan.due, lease.fence, requested)
        self._running.add(job.name)  # before the claim is written, so that `run_due` does not record it as lost
        try:
            if not await self.store.claim(record, plan, run, self.clock.now()) or not lease.held:
                return
            self.publish(
                JobStarted(job=job.name, run=run.id, due=iso_ms(run.due), fence=run.fence, requested=requested)
            )
            outcome = await self._call(job, run)
            if not lease.held:
                await lease.lost.wait()  # `lost_reason` is set with it
                outcome = replace(
                    outcome, detail=f"its process lost the lease: {lease.lost_reason}" if lease.lost_reason else None
                )
            await self._shielded(self._record_end(run, outcome, plan.skipped, lease))
        finally:
            self._running.discard(job.name)

    async def _shielded(self, finish: Coroutine[Any, Any, None]) -> None:
        """Run ``finish``. If this is cancelled, for example with the lease, ``finish`` still gets `LAST_WRITE_S`."""
        task = create_watched_task(finish, name="end of a run")
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=LAST_WRITE_S)
            task.cancel()
            raise

    async def _call(self, job: Job, run: JobRun) -> RunOutcome:
        """Call the job's function. Raises nothing: an exception or a cancellation becomes the outcome."""
        started_s = self.clock.monotonic()
        error: BaseException | None = None
        timer = asyncio.timeout(job.timeout_s)
        result = RunResult.OK
        watching = create_watched_task(self._watch_cancellation(job, run), name=f"limit of job {job.name}")
        try:
            async with timer:
                await job.function(**self._arguments(job, run))
        except ANYTHING as raised:  # the author's function may raise anything, and a CancelledError by itself
            if is_own_cancellation(raised):
                result = RunResult.CANCELLED
            else:
                error, result = raised, RunResult.TIMEOUT if timer.expired() else RunResult.FAILED
        finally:
            watching.cancel()
        took_ms = (self.clock.monotonic() - started_s) * 1000
        return self._make_outcome(job, result, error, took_ms)

    async def _watch_cancellation(self, job: Job, run: JobRun) -> None:
        """Record that the run goes on after it was cancelled at its time limit. This is cancelled when the run ends."""
        await asyncio.sleep(job.timeout_s + GRACE_S)
        detail = f"it was cancelled after {job.timeout_s:g} s, ignores that and goes on"
        _log.warning("job %s: run %s: %s; the job is not run again until it ends", job.name, run.id, detail)
        while True:
            with suppress(*STORE_FAULTS):
                return await self.store.mark_unresponsive(run, detail)
            await asyncio.sleep(RETRY_S)

    def _make_outcome(self, job: Job, result: RunResult, error: BaseException | None, took_ms: float) -> RunOutcome:
        number = None if error is None else error_id()
        if result is RunResult.TIMEOUT:
            _log.error("job %s took longer than %g s [%s]", job.name, job.timeout_s, number, extra={"error_id": number})
        elif error is not None and (sentence := failing_store(error)):
            _log.error("job %s failed [%s]: %s", job.name, number, sentence, extra={"error_id": number})
        elif error is not None:
            _log.error("job %s failed [%s]", job.name, number, exc_info=error, extra={"error_id": number})
        kind = None if error is None else type(error).__name__
        return RunOutcome(result, took_ms, self.clock.now(), number, kind)

    async def _record_end(self, run: JobRun, outcome: RunOutcome, skipped: int, lease: Lease) -> None:
        """Record the end, as long as this process holds the lease. After that another process records it as lost."""
        while True:
            try:
                if await self.store.finish(run, outcome):
                    self._publish_end(run, outcome, skipped)
                else:
                    detail = f"{outcome.detail or 'it was taken for lost'}; then it ended ({outcome.result})"
                    _log.warning("job %s: run %s was taken for lost: %s", run.job, run.id, detail)
                    await self.store.add_detail(run, detail)
            except STORE_FAULTS:
                if lease.held and outcome.result is not RunResult.CANCELLED:
                    await asyncio.sleep(RETRY_S)
                    continue
                _log.warning("job %s: the end of run %s (%s) could not be recorded", run.job, run.id, outcome.result)
            return

    def _publish_lost(self, run_id: str, record: JobRecord) -> None:
        run = JobRun(run_id, record.name, record.last_due or record.next_due, record.fence)
        self._publish_end(run, RunOutcome(RunResult.LOST, 0, self.clock.now()), 0)

    def _publish_end(self, run: JobRun, outcome: RunOutcome, skipped: int) -> None:
        took_ms = None if outcome.result is RunResult.LOST else round(outcome.took_ms, 3)
        self.publish(
            JobFinished(
                job=run.job,
                run=run.id,
                due=iso_ms(run.due),
                fence=run.fence,
                result=outcome.result,
                requested=run.requested,
                took_ms=took_ms,
                skipped=skipped,
                error_id=outcome.error_id,
                error_type=outcome.error_type,
            )
        )
        self.auditor.record(
            make_entry(
                "job.run",
                Principal("job", run.job),
                at=outcome.at,
                iface="system",
                target=Target("job", run.job),
                outcome=_OUTCOMES.get(outcome.result, AuditOutcome.ERROR),
                reason=outcome.error_type or (None if outcome.result is RunResult.OK else outcome.result),
                ms=took_ms,
                error=outcome.error_id,
                op=run.id,
                stage=Stage.END,
            )
        )

    def _arguments(self, job: Job, run: JobRun) -> dict[str, Any]:
        own = {p.name: run for p in parameters_of(job.function) if p.key is JobRun}
        return own | self.services.resolve(partial(job.function, **own))


def _skip_message(job: Job, record: JobRecord, plan: RunPlan) -> tuple[Any, ...]:
    """The level, the text and the arguments of the log line for a plan without a run."""
    if plan.skipped:
        return logging.INFO, "job %s: missed and skipped: %s", job.name, counted(plan.skipped, "due time")
    sentence = "job %s: it was due at %s only, because a clock was ahead; now it is due at %s"
    return logging.WARNING, sentence, job.name, iso_ms(record.next_due), iso_ms(plan.next_due)
