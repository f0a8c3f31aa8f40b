"""The records of the jobs in MongoDB.

Collection ``botctl_jobs``, one document per job: the fields of `JobRecord`, with ``_id`` for its name, ``rev`` for its
revision and ``stubborn`` for ``unresponsive``. Times are ISO 8601 text. Every change is a compare-and-swap on ``rev``.
A new holder of the lease writes its fencing token (``fence``) into every document first, so all later writes of earlier
holders fail. The write that claims a run also sets the next ``next_due``, so there is at most one run per due time; a
``next_due`` that is replaced is later than ``last_due``, unless that is more than an hour ahead of the clock (see
`planning.next_due_after`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from botctl.core.clock import iso_ms
from botctl.core.contracts.jobs import Job, JobRecord, JobRun, JobStore, MissedPolicy, RunResult, SchedulableJob
from botctl.core.contracts.malformed import FAULTS, Malformed, describe_fault, malformed_error, value_of
from botctl.core.driver_errors.mongo import reaching_mongo
from botctl.core.errors import Held
from botctl.core.escape import safe
from botctl.core.redact import redact
from botctl.jobs.planning import RunPlan, next_due_after
from botctl.stores.journal import journaled

COLLECTION: Final = "botctl_jobs"
MAX_ATTEMPTS: Final = 20  # each failed one means that another process changed the record
_COUNTERS: Final = ("fence", "runs", "skipped", "lost")
_TIMES: Final = ("next_due", "last_due", "last_run", "last_end", "removed")
_UNRESPONSIVE: Final = "stubborn"  # the stored name of `JobRecord.unresponsive`
_NO_RUN: Final[Mapping[str, Any]] = {"run": None, _UNRESPONSIVE: False}
_reaching_mongo: Final = reaching_mongo("The jobs cannot be read: MongoDB fails.")


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended."""

    result: RunResult
    took_ms: float
    at: datetime  # of the end
    error_id: str | None = None  # as in the log
    error_type: str | None = None  # the class of the exception
    detail: str | None = None  # one sentence for the operator


@dataclass(frozen=True, eq=False)
class MongoJobStore:
    """Reads and changes the records. Every method raises Unreachable when MongoDB does not answer.

    Those for one job raise IntegrityError if its document is malformed. ``malformed``: those that `all` left out.
    """

    collection: AsyncCollection[dict[str, Any]]
    malformed: Malformed = field(default_factory=lambda: Malformed(COLLECTION), init=False)

    @classmethod
    def of(cls, database: AsyncDatabase[dict[str, Any]]) -> Self:
        """The records in ``database``. The claim of a run survives a power failure, or the job would run twice."""
        return cls(journaled(database[COLLECTION]))

    async def all(self) -> list[JobRecord]:
        """Every record, sorted by name."""
        with _reaching_mongo:
            documents = await self.collection.find().to_list()
        return sorted(self.malformed.read(documents, _parse_record), key=lambda record: record.name)

    async def get(self, job: SchedulableJob, now: datetime) -> JobRecord:
        """The record of ``job``. A job without one gets a new record, due after ``now``."""
        with _reaching_mongo:
            while (document := await self.collection.find_one({"_id": job.name})) is None:
                with suppress(DuplicateKeyError):
                    await self.collection.insert_one(_new_document(job, now))
        return _require_record(document)

    async def take_over(self, job: Job, fence: int, now: datetime) -> JobRecord | None:
        """Take the job over for the holder with ``fence``. Return the record before that; None: a later holder has it.

        A run under way in that record is lost. If the code has a new schedule, it counts from ``now``.
        """
        while True:
            record = await self.get(job, now)
            if record.fence > fence:
                return None
            changes: dict[str, Any] = {"schedule": job.schedule.text, "missed": job.missed, "removed": None}
            if record.schedule != job.schedule.text:
                changes["next_due"] = iso_ms(next_due_after(job.schedule, record, now))
            counters: dict[str, int] = {}
            if record.run is not None:
                changes |= _lost_changes(record.run, now)
                counters = {"lost": 1}
            if await self._compare_and_swap(record, changes, counters, fence):
                return record

    async def mark_removed(self, record: JobRecord, fence: int, now: datetime) -> bool:
        """Record that the holder with ``fence`` has no such job. False: the record changed, or has a later fence."""
        lost = {} if record.run is None else _lost_changes(record.run, now)
        return await self._compare_and_swap(
            record, {**lost, "removed": iso_ms(now)}, {"lost": 1} if lost else {}, fence
        )

    async def mark_lost(self, record: JobRecord, fence: int, now: datetime) -> bool:
        """Record that the run under way in ``record`` is lost. False: the record changed."""
        assert record.run is not None  # noqa: S101  the caller has checked
        return await self._compare_and_swap(record, _lost_changes(record.run, now), {"lost": 1}, fence)

    async def claim(self, record: JobRecord, plan: RunPlan, run: JobRun, now: datetime) -> bool:
        """Start ``run``. False: another process changed the record, or holds the lease now."""
        changes = {
            "run": run.id,
            "last_id": run.id,
            "last_due": iso_ms(run.due),
            "last_run": iso_ms(now),
            "last_end": None,
            "outcome": None,
            "error_id": None,
            "took_ms": None,
            _UNRESPONSIVE: False,
            "detail": None,
            "next_due": iso_ms(plan.next_due),
        }
        if plan.requested is not None:
            changes["requested"] = None
        return await self._compare_and_swap(record, changes, {"runs": 1, "skipped": plan.skipped}, run.fence)

    async def skip(self, record: JobRecord, plan: RunPlan, fence: int) -> bool:
        """Skip due times. False as for `claim`."""
        return await self._compare_and_swap(
            record, {"next_due": iso_ms(plan.next_due)}, {"skipped": plan.skipped}, fence
        )

    async def finish(self, run: JobRun, outcome: RunOutcome) -> bool:
        """Record how ``run`` ended. False: another process holds the lease and recorded the run as lost.

        After Unreachable, call it again with the same ``outcome``: it returns True if that is recorded already.
        """
        changes = {
            **_NO_RUN,
            "last_end": iso_ms(outcome.at),
            "outcome": outcome.result,
            "error_id": outcome.error_id,
            "took_ms": round(outcome.took_ms),
            "detail": redact(outcome.detail) if outcome.detail else None,
        }
        if run.requested:
            changes |= {"answered": run.id, "answer": outcome.result}
        with _reaching_mongo:
            condition = {"_id": run.job, "run": run.id, "fence": run.fence}
            result = await self.collection.update_one(condition, {"$set": changes, "$inc": {"rev": 1}})
            if result.matched_count == 1:
                return True
            document = await self.collection.find_one({"_id": run.job})
        recorded = document and (document["run"], document["last_id"], document["outcome"], document["last_end"])
        return bool(recorded == (None, run.id, outcome.result, iso_ms(outcome.at)))

    async def mark_unresponsive(self, run: JobRun, detail: str) -> None:
        """Record that ``run`` goes on after its cancellation, if it is still under way."""
        condition = {"_id": run.job, "run": run.id, "fence": run.fence}
        with _reaching_mongo:
            update = {"$set": {_UNRESPONSIVE: True, "detail": redact(detail)}, "$inc": {"rev": 1}}
            await self.collection.update_one(condition, update)

    async def add_detail(self, run: JobRun, detail: str) -> None:
        """Add ``detail``, which only the run's own process knows. Another process has recorded ``run`` as lost."""
        condition = {"_id": run.job, "last_id": run.id, "outcome": RunResult.LOST}
        with _reaching_mongo:
            await self.collection.update_one(condition, {"$set": {"detail": redact(detail)}, "$inc": {"rev": 1}})

    async def set_paused(self, job: SchedulableJob, now: datetime, *, paused: bool) -> bool:
        """Pause or resume ``job``; a pause skips due times. Return whether it changed. Raises Held as `request`."""
        for _ in range(MAX_ATTEMPTS):
            record = await self.get(job, now)
            if record.paused == paused:
                return False
            changes: dict[str, Any] = {"paused": paused}
            if not paused:
                changes["next_due"] = iso_ms(next_due_after(job.schedule, record, now))
            if await self._compare_and_swap(record, changes):
                return True
        raise _contention(job.name)

    async def request(self, job: SchedulableJob, run_id: str, now: datetime) -> str:
        """Ask for a run. Return its id, or that of an open request. Raises Held after `MAX_ATTEMPTS` conflicts."""
        for _ in range(MAX_ATTEMPTS):
            record = await self.get(job, now)
            if record.requested is not None:
                return record.requested
            if await self._compare_and_swap(record, {"requested": run_id}):
                return run_id
        raise _contention(job.name)

    async def _compare_and_swap(
        self,
        record: JobRecord,
        changes: Mapping[str, Any],
        counters: Mapping[str, int] | None = None,
        fence: int | None = None,
    ) -> bool:
        """Change ``record`` if it is as it was read and has no later ``fence``. ``counters``: what to add to fields."""
        condition: dict[str, Any] = {"_id": record.name, "rev": record.revision}
        changes = dict(changes)
        if fence is not None:
            condition["fence"] = {"$lte": fence}
            changes["fence"] = fence
        with _reaching_mongo:
            update = {"$set": changes, "$inc": {"rev": 1, **(counters or {})}}
            result = await self.collection.update_one(condition, update)
        return result.matched_count == 1


@asynccontextmanager
async def job_store(database: AsyncDatabase[dict[str, Any]]) -> AsyncIterator[JobStore]:
    """Factory of the service, for readers."""
    yield MongoJobStore.of(database)


def _new_document(job: SchedulableJob, now: datetime) -> dict[str, Any]:
    return {
        "_id": job.name,
        "rev": 0,
        "schedule": job.schedule.text,
        "missed": job.missed,
        "next_due": iso_ms(job.schedule.next_after(now)),
        "fence": 0,
        "paused": False,
        **dict.fromkeys(("run", "last_id", *_TIMES[1:], "outcome", "error_id", "took_ms")),
        **dict.fromkeys(("runs", "skipped", "lost"), 0),
        **dict.fromkeys(("requested", "answered", "answer", "detail")),
        _UNRESPONSIVE: False,
    }


def _lost_changes(run_id: str, now: datetime) -> dict[str, Any]:
    """The changes to a record whose run was lost."""
    return {
        **_NO_RUN,
        "detail": None,
        "last_end": iso_ms(now),
        "outcome": RunResult.LOST,
        "error_id": None,
        "took_ms": None,
        "answered": run_id,
        "answer": RunResult.LOST,
    }


def _parse_record(document: Mapping[str, Any]) -> JobRecord:
    """The record in ``document``. Raises one of `FAULTS` if it is malformed."""
    fields: dict[str, Any] = {name: document.get(name) for name in JobRecord.__dataclass_fields__ if name in document}
    outcome, answer = document.get("outcome"), document.get("answer")
    return JobRecord(
        **fields
        | {
            "name": value_of(document, "_id", str),
            "revision": value_of(document, "rev", int),
            "schedule": value_of(document, "schedule", str),
            **{name: value_of(document, name, int) for name in _COUNTERS if name in document},
            "missed": MissedPolicy(document["missed"]),
            "paused": bool(document["paused"]),  # the embedded store returns numbers
            "unresponsive": bool(document.get(_UNRESPONSIVE)),
            "outcome": None if outcome is None else RunResult(outcome),
            "answer": None if answer is None else RunResult(answer),
            **{name: datetime.fromisoformat(document[name]) for name in _TIMES if document.get(name)},
            "next_due": datetime.fromisoformat(value_of(document, "next_due", str)),
        }
    )


def _require_record(document: Mapping[str, Any]) -> JobRecord:
    """The record in ``document``. Raises IntegrityError, which names it, if it is malformed."""
    try:
        return _parse_record(document)
    except FAULTS as error:
        raise malformed_error(COLLECTION, {safe(document["_id"], 80): describe_fault(error)}) from error


def _contention(name: str) -> Held:
    """The error after `MAX_ATTEMPTS` conflicts."""
    return Held(f"Other processes change the job {name} all the time.", hint="Run the command again.")
