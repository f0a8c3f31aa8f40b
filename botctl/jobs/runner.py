"""One run of a job: claimed, begun, limited in time, and told."""

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
from botctl.core.errors import ANYTHING, Unreachable
from botctl.core.ids import error_id, event_id
from botctl.core.services.registry import Services
from botctl.core.signatures import parameters_of
from botctl.jobs.planning import Step, step
from botctl.jobs.store import End, MongoJobStore

AGAIN_S: Final = 0.5  # until MongoDB is asked again to note something
LAST_S: Final = 2.0  # to note an end, when the process stops
GRACE_S: Final = 5.0  # how long a run that was cancelled at its time limit may take to end
_SUCCESS: Final = {
    RunResult.OK: AuditOutcome.SUCCESS,
    RunResult.CANCELLED: AuditOutcome.UNKNOWN,
    RunResult.LOST: AuditOutcome.UNKNOWN,
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs jobs for whoever holds the lease."""

    book: MongoJobStore
    services: Services
    publish: Callable[[Event], None]
    auditor: Auditor
    clock: Clock
    _now_running: set[str] = field(default_factory=set, init=False)

    async def seal(self, job: Job, lease: Lease) -> None:
        """Take ``job`` over from whoever had the lease before, and tell of the run that it leaves behind.

        Raises:
            Unreachable: MongoDB does not answer.
        """
        before = await self.book.seal(job, lease.fence, self.clock.now())
        if before is not None and before.run is not None:
            _log.warning("job %s: its run %s is lost: its process died, or lost its lease", job.name, before.run)
            self._tell_lost(before.run, before)

    async def remove(self, record: JobRecord, lease: Lease) -> None:
        """Note that there is no such job any more, as far as this holder knows; what still ran of it is lost.

        Raises:
            Unreachable: MongoDB does not answer.
        """
        if not lease.held or not await self.book.remove(record, lease.fence, self.clock.now()):
            return
        _log.info("job %s is in no file any more; its record stays, and counts for nothing", record.name)
        if record.run is not None:
            self._tell_lost(record.run, record)

    async def attempt(self, job: Job, lease: Lease) -> bool:
        """Do what is to be done about ``job`` now; whether there was something, so that there may be more.

        A job that still runs in this process is left alone. A run of this holder's that does not run here is one whose
        claim was written and not confirmed: it was never begun, and is lost.

        Raises:
            Unreachable: MongoDB does not answer.
        """
        if job.name in self._now_running or not lease.held:
            return False
        now = self.clock.now()
        record = await self.book.get(job, now)
        if job.name in self._now_running:  # begun while the record was read
            return False
        if record.run is not None and record.fence == lease.fence:
            return await self._lose(record.run, record, lease)
        todo = step(job, record, now)
        if todo is None or record.fence > lease.fence:
            return False
        if todo.due is None:
            if await self.book.skip(record, todo, lease.fence):
                _log.info("job %s: %d due times were missed and are skipped", job.name, todo.skipped)
            return True
        await self._begin(job, record, todo, lease)
        return True

    async def _lose(self, run_id: str, record: JobRecord, lease: Lease) -> bool:
        if not await self.book.lose(record, lease.fence, self.clock.now()):
            return False
        _log.warning("job %s: its run %s is lost: its claim was not confirmed", record.name, run_id)
        self._tell_lost(run_id, record)
        return True

    async def _begin(self, job: Job, record: JobRecord, todo: Step, lease: Lease) -> None:
        """Run it, if it can be claimed. When the claim is not confirmed nothing is run: at most once."""
        assert todo.due is not None  # noqa: S101  a step without is a skip
        requested = todo.requested is not None
        run = JobRun(todo.requested or event_id(), job.name, todo.due, lease.fence, requested)
        self._now_running.add(job.name)  # before the claim is written: from then on it is not one left behind
        try:
            if not await self.book.claim(record, todo, run, self.clock.now()) or not lease.held:
                return
            self.publish(
                JobStarted(job=job.name, run=run.id, due=iso_ms(run.due), fence=run.fence, requested=requested)
            )
            end = await self._call(job, run)
            if not lease.held:
                await lease.lost.wait()  # then it is known why
                end = replace(
                    end, detail=f"its process lost the lease: {lease.lost_reason}" if lease.lost_reason else None
                )
            await self._noted(self._finish(run, end, todo.skipped, lease))
        finally:
            self._now_running.discard(job.name)

    async def _noted(self, finish: Coroutine[Any, Any, None]) -> None:
        """Do ``finish``; who is cancelled meanwhile (with the lease, say) still has a moment to note how it ended."""
        noting = asyncio.create_task(finish, name="end of a run")
        try:
            await asyncio.shield(noting)
        except asyncio.CancelledError:
            await asyncio.wait({noting}, timeout=LAST_S)
            noting.cancel()
            raise

    async def _call(self, job: Job, run: JobRun) -> End:
        """Call the job's function; raises nothing, whatever it does. Being cancelled is an end like others."""
        began_s = self.clock.monotonic()
        error: BaseException | None = None
        timer = asyncio.timeout(job.timeout_s)
        result = RunResult.OK
        minding = asyncio.create_task(self._mind(job, run), name=f"limit of job {job.name}")
        try:
            async with timer:
                await job.function(**self._arguments(job, run))
        except asyncio.CancelledError:
            result = RunResult.CANCELLED
        except ANYTHING as raised:  # an author's function
            error, result = raised, RunResult.TIMEOUT if timer.expired() else RunResult.FAILED
        finally:
            minding.cancel()
        took_ms = (self.clock.monotonic() - began_s) * 1000
        return self._end(job, result, error, took_ms)

    async def _mind(self, job: Job, run: JobRun) -> None:
        """Tell of a run that goes on after it was cancelled at its time limit. Cancelled when the run has ended."""
        await asyncio.sleep(job.timeout_s + GRACE_S)
        detail = f"it was cancelled after {job.timeout_s:g} s, does not heed that and goes on"
        _log.warning("job %s: run %s: %s; until it ends the job is not run again", job.name, run.id, detail)
        while True:
            with suppress(Unreachable):
                return await self.book.stubborn(run, detail)
            await asyncio.sleep(AGAIN_S)

    def _end(self, job: Job, result: RunResult, error: BaseException | None, took_ms: float) -> End:
        number = None if error is None else error_id()
        if result is RunResult.TIMEOUT:
            _log.error("job %s took longer than %g s [%s]", job.name, job.timeout_s, number, extra={"error_id": number})
        elif error is not None:
            _log.error("job %s failed [%s]", job.name, number, exc_info=error, extra={"error_id": number})
        kind = None if error is None else type(error).__name__
        return End(result, took_ms, self.clock.now(), number, kind)

    async def _finish(self, run: JobRun, end: End, skipped: int, lease: Lease) -> None:
        """Note the end, as long as this process holds the lease; later it is another's business, and lost there."""
        while True:
            try:
                if await self.book.finish(run, end):
                    self._tell(run, end, skipped)
                else:
                    detail = f"{end.detail or 'it was taken for lost'}; then it ended ({end.result})"
                    _log.warning("job %s: run %s was taken for lost: %s", run.job, run.id, detail)
                    await self.book.explain(run, detail)
            except Unreachable:
                if lease.held and end.result is not RunResult.CANCELLED:
                    await asyncio.sleep(AGAIN_S)
                    continue
                _log.warning("job %s: the end of run %s (%s) could not be noted", run.job, run.id, end.result)
            return

    def _tell_lost(self, run_id: str, record: JobRecord) -> None:
        run = JobRun(run_id, record.name, record.last_due or record.next_due, record.fence)
        self._tell(run, End(RunResult.LOST, 0, self.clock.now()), 0)

    def _tell(self, run: JobRun, end: End, skipped: int) -> None:
        took_ms = None if end.result is RunResult.LOST else round(end.took_ms, 3)
        self.publish(
            JobFinished(
                job=run.job,
                run=run.id,
                due=iso_ms(run.due),
                fence=run.fence,
                result=end.result,
                requested=run.requested,
                took_ms=took_ms,
                skipped=skipped,
                error_id=end.error_id,
                error_type=end.error_type,
            )
        )
        self.auditor.record(
            make_entry(
                "job.run",
                Principal("job", run.job),
                at=end.at,
                iface="system",
                target=Target("job", run.job),
                outcome=_SUCCESS.get(end.result, AuditOutcome.ERROR),
                reason=end.error_type or (None if end.result is RunResult.OK else end.result),
                ms=took_ms,
                error=end.error_id,
                op=run.id,
                stage=Stage.END,
            )
        )

    def _arguments(self, job: Job, run: JobRun) -> dict[str, Any]:
        own = {p.name: run for p in parameters_of(job.function) if p.key is JobRun}
        return own | self.services.resolve(partial(job.function, **own))
