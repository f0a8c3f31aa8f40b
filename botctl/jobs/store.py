"""The jobs' records in MongoDB.

Collection ``botctl_jobs``, one document per job, with the fields of `JobRecord`: ``_id`` is its name, ``rev`` its
revision, times are ISO 8601 text. Every change is a compare-and-swap on ``rev``, and those of the holder of the lease
name its fence too: the first thing that a holder does is to write its fence into every document, so whatever an earlier
one still sends is refused. That is how a due time is run for at most once: who claims it moves ``next_due`` on in the
same write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, PyMongoError

from botctl.core.clock import iso_ms
from botctl.core.contracts.jobs import Job, JobRecord, JobRun, JobStore, MissedPolicy, RunResult, SchedulableJob
from botctl.core.errors import Held, store_hint, translated
from botctl.jobs.planning import Step

COLLECTION: Final = "botctl_jobs"
TRIES: Final = 20  # each lost one means that somebody else's change got through
_TIMES: Final = ("next_due", "last_due", "last_run", "last_end", "removed")
_NO_RUN: Final[Mapping[str, Any]] = {"run": None, "stubborn": False}
_reaching_mongo: Final = translated(
    PyMongoError, sentence="The jobs cannot be looked up: MongoDB fails.", hint=store_hint("MongoDB")
)


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended."""

    result: RunResult
    took_ms: float
    at: datetime
    error_id: str | None = None
    error_type: str | None = None
    detail: str | None = None


@dataclass(frozen=True, eq=False)
class MongoJobStore:
    """Reads and changes the records. Every method raises Unreachable when MongoDB does not answer."""

    collection: AsyncCollection[dict[str, Any]]

    async def all(self) -> list[JobRecord]:
        """Every record, by name."""
        with _reaching_mongo:
            found = await self.collection.find().to_list()
        return sorted((_from(document) for document in found), key=lambda record: record.name)

    async def get(self, job: SchedulableJob, now: datetime) -> JobRecord:
        """The record of ``job``; it is made if there is none, and then due after ``now``."""
        with _reaching_mongo:
            while (found := await self.collection.find_one({"_id": job.name})) is None:
                with suppress(DuplicateKeyError):
                    await self.collection.insert_one(_new(job, now))
        return _from(found)

    async def seal(self, job: Job, fence: int, now: datetime) -> JobRecord | None:
        """Take the job over for the holder with ``fence``; returns what it was before, or None: a later one has.

        A run that is under way there is lost. Where the code has another schedule now, it counts from now on.
        """
        while True:
            record = await self.get(job, now)
            if record.fence > fence:
                return None
            changes: dict[str, Any] = {"schedule": job.schedule.text, "missed": job.missed, "removed": None}
            if record.schedule != job.schedule.text:
                changes["next_due"] = iso_ms(job.schedule.next_after(now))
            more: dict[str, int] = {}
            if record.run is not None:
                changes |= _lost(record.run, now)
                more = {"lost": 1}
            if await self._swap(record, changes, more, fence):
                return record

    async def remove(self, record: JobRecord, fence: int, now: datetime) -> bool:
        """Note that the holder with ``fence`` knows no such job; False: it is not as it was read, or of a later one."""
        lost = {} if record.run is None else _lost(record.run, now)
        return await self._swap(record, {**lost, "removed": iso_ms(now)}, {"lost": 1} if lost else {}, fence)

    async def lose(self, record: JobRecord, fence: int, now: datetime) -> bool:
        """Note that the run under way in ``record`` is lost; False: it is not as it was read."""
        assert record.run is not None  # noqa: S101  who asks has looked
        return await self._swap(record, _lost(record.run, now), {"lost": 1}, fence)

    async def claim(self, record: JobRecord, step: Step, run: JobRun, now: datetime) -> bool:
        """Begin ``run``; False: somebody was quicker, or holds the lease by now."""
        changes = {
            "run": run.id,
            "last_id": run.id,
            "last_due": iso_ms(run.due),
            "last_run": iso_ms(now),
            "last_end": None,
            "outcome": None,
            "error_id": None,
            "took_ms": None,
            "stubborn": False,
            "detail": None,
            "next_due": iso_ms(step.next_due),
        }
        if step.requested is not None:
            changes["requested"] = None
        return await self._swap(record, changes, {"runs": 1, "skipped": step.skipped}, run.fence)

    async def skip(self, record: JobRecord, step: Step, fence: int) -> bool:
        """Let due times pass; False as for `claim`."""
        return await self._swap(record, {"next_due": iso_ms(step.next_due)}, {"skipped": step.skipped}, fence)

    async def finish(self, run: JobRun, end: End) -> bool:
        """Note how ``run`` ended; False: it was taken for lost, since another process holds the lease.

        May be tried again with the same ``end`` when the answer did not come: that it is noted already is as good.
        """
        changes = {
            **_NO_RUN,
            "last_end": iso_ms(end.at),
            "outcome": end.result,
            "error_id": end.error_id,
            "took_ms": round(end.took_ms),
            "detail": end.detail,
        }
        if run.requested:
            changes |= {"answered": run.id, "answer": end.result}
        with _reaching_mongo:
            condition = {"_id": run.job, "run": run.id, "fence": run.fence}
            result = await self.collection.update_one(condition, {"$set": changes, "$inc": {"rev": 1}})
            if result.matched_count == 1:
                return True
            found = await self.collection.find_one({"_id": run.job})
        noted = found and (found["run"], found["last_id"], found["outcome"], found["last_end"])
        return bool(noted == (None, run.id, end.result, iso_ms(end.at)))

    async def stubborn(self, run: JobRun, detail: str) -> None:
        """Note that ``run`` goes on although it was cancelled, if it is under way still."""
        condition = {"_id": run.job, "run": run.id, "fence": run.fence}
        with _reaching_mongo:
            update = {"$set": {"stubborn": True, "detail": detail}, "$inc": {"rev": 1}}
            await self.collection.update_one(condition, update)

    async def explain(self, run: JobRun, detail: str) -> None:
        """Add to ``run``, which was taken for lost, what its own process knows of that."""
        condition = {"_id": run.job, "last_id": run.id, "outcome": RunResult.LOST}
        with _reaching_mongo:
            await self.collection.update_one(condition, {"$set": {"detail": detail}, "$inc": {"rev": 1}})

    async def pause(self, job: SchedulableJob, now: datetime, *, paused: bool) -> bool:
        """Let due times of ``job`` pass by, or not any more; those that have passed meanwhile are not made up.

        Returns whether that was a change.

        Raises:
            Held: others change it all the time.
        """
        for _ in range(TRIES):
            record = await self.get(job, now)
            if record.paused == paused:
                return False
            changes: dict[str, Any] = {"paused": paused}
            if not paused:
                changes["next_due"] = iso_ms(job.schedule.next_after(now))
            if await self._swap(record, changes):
                return True
        raise _busy(job.name)

    async def request(self, job: Job, run_id: str, now: datetime) -> str:
        """Ask for a run; returns its id, which is another one if somebody has asked already.

        Raises:
            Held: others change it all the time.
        """
        for _ in range(TRIES):
            record = await self.get(job, now)
            if record.requested is not None:
                return record.requested
            if await self._swap(record, {"requested": run_id}):
                return run_id
        raise _busy(job.name)

    async def _swap(
        self,
        record: JobRecord,
        changes: Mapping[str, Any],
        more: Mapping[str, int] | None = None,
        fence: int | None = None,
    ) -> bool:
        """Change ``record`` if it is as it was read; ``more`` is added to. With ``fence``, none has a later one."""
        condition: dict[str, Any] = {"_id": record.name, "rev": record.revision}
        changes = dict(changes)
        if fence is not None:
            condition["fence"] = {"$lte": fence}
            changes["fence"] = fence
        with _reaching_mongo:
            update = {"$set": changes, "$inc": {"rev": 1, **(more or {})}}
            result = await self.collection.update_one(condition, update)
        return result.matched_count == 1


@asynccontextmanager
async def job_store(database: AsyncDatabase[dict[str, Any]]) -> AsyncIterator[JobStore]:
    """Factory of the service: for those who look."""
    yield MongoJobStore(database[COLLECTION])


def _new(job: SchedulableJob, now: datetime) -> dict[str, Any]:
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
        "stubborn": False,
    }


def _lost(run_id: str, now: datetime) -> dict[str, Any]:
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


def _from(document: Mapping[str, Any]) -> JobRecord:
    known: dict[str, Any] = {name: document.get(name) for name in JobRecord.__dataclass_fields__ if name in document}
    outcome, answer = document.get("outcome"), document.get("answer")
    return JobRecord(
        **known
        | {
            "name": document["_id"],
            "revision": document["rev"],
            "missed": MissedPolicy(document["missed"]),
            "paused": bool(document["paused"]),  # the embedded store makes numbers of them
            "unresponsive": bool(document.get("stubborn")),
            "outcome": None if outcome is None else RunResult(outcome),
            "answer": None if answer is None else RunResult(answer),
            **{name: datetime.fromisoformat(document[name]) for name in _TIMES if document.get(name)},
        }
    )


def _busy(name: str) -> Held:
    return Held(f"Others are changing the job {name} all the time.", hint="Try again.")
