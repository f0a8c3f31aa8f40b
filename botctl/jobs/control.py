"""Jobs from elsewhere than the terminal: ask for a run, pause, resume. The code of the jobs is not needed for it."""

from __future__ import annotations

from dataclasses import dataclass

from botctl.core.clock import Clock
from botctl.core.contracts.audit_entry import Principal, Target, make_entry
from botctl.core.contracts.jobs import LEASE, JobRecord, StoredJob
from botctl.core.contracts.lease import Leases
from botctl.core.contracts.malformed import describe_fault, malformed_error
from botctl.core.contracts.protocols import Auditor
from botctl.core.errors import Held, NotFound
from botctl.core.escape import safe
from botctl.core.ids import event_id
from botctl.jobs.store import COLLECTION, MongoJobStore


@dataclass(frozen=True, eq=False)
class StoredJobControl:
    """`JobControl` (see there for the methods) over the records of the jobs."""

    store: MongoJobStore
    leases: Leases
    auditor: Auditor
    clock: Clock

    async def request_run(self, name: str, *, actor: Principal, reason: str) -> str:
        record = await self._require(name)
        holder = await self.leases.holder(LEASE)
        if holder is None or holder.expired:
            raise Held("no process schedules jobs now.", hint="Start one with `botctl run`.")
        run_id = await self.store.request(_stored_job(record), event_id(), self.clock.now())
        self._record("job.request", name, actor, reason, op=run_id)
        return run_id

    async def set_paused(self, name: str, *, paused: bool, actor: Principal, reason: str) -> bool:
        record = await self._require(name)
        changed = await self.store.set_paused(_stored_job(record), self.clock.now(), paused=paused)
        if changed:
            self._record("job.pause" if paused else "job.resume", name, actor, reason)
        return changed

    async def _require(self, name: str) -> JobRecord:
        records = {record.name: record for record in await self.store.all() if record.removed is None}
        if name in records:
            return records[name]
        if (fault := self.store.malformed.faults.get(name)) is not None:
            raise malformed_error(COLLECTION, {name: fault})
        known = ", ".join(records) or "none was ever scheduled"
        raise NotFound(f"there is no job {safe(name, 40)!r}; known are: {known}.")

    def _record(self, action: str, name: str, actor: Principal, reason: str, *, op: str | None = None) -> None:
        target = Target("job", name)
        entry = make_entry(action, actor, at=self.clock.now(), iface="api", target=target, reason=reason, op=op)
        self.auditor.record(entry)


def _stored_job(record: JobRecord) -> StoredJob:
    """The job of ``record``. Raises IntegrityError if its schedule cannot be read."""
    try:
        return record.stored_job
    except ValueError as error:
        raise malformed_error(COLLECTION, {record.name: describe_fault(error)}) from error
