"""The records of jobs on every document store."""

import asyncio
from datetime import UTC, datetime, timedelta

from botctl.core.contracts.jobs import JobRun, RunResult
from botctl.core.ids import event_id
from botctl.jobs.planning import plan_run
from botctl.jobs.store import COLLECTION, MongoJobStore, RunOutcome
from tests.support.jobs import make_job

NOW = datetime(2026, 1, 5, 12, 0, 30, 250_000, tzinfo=UTC)
NEXT = datetime(2026, 1, 5, 12, 1, tzinfo=UTC)
DUE = NEXT + timedelta(seconds=1)


async def nothing() -> None: ...


JOB = make_job(nothing)


async def claim(store: MongoJobStore, fence: int, now: datetime = DUE) -> JobRun | None:
    record = await store.get(JOB, now)
    plan = plan_run(JOB, record, now)
    assert plan is not None
    run = JobRun(plan.requested or event_id(), JOB.name, plan.due, fence, plan.requested is not None)
    return run if await store.claim(record, plan, run, now) else None


async def test_record_is_read_back_as_written(documents):
    store = MongoJobStore(documents[COLLECTION])
    new = await store.get(JOB, NOW)
    assert (new.name, new.schedule, new.missed, new.next_due, new.paused) == ("tidy", "every 1m", "once", NEXT, False)
    assert (new.revision, new.runs, new.last_run, new.outcome) == (0, 0, None, None)
    run = await claim(store, 3)
    under_way = await store.get(JOB, NOW)
    assert (under_way.run, under_way.last_due, under_way.last_run) == (run.id, NEXT, DUE)
    assert (under_way.next_due, under_way.fence) == (NEXT + timedelta(minutes=1), 3)
    assert await store.finish(run, RunOutcome(RunResult.FAILED, 12.6, DUE, "abcd2345", "ValueError"))
    (ended,) = await store.all()
    assert ended.unresponsive is False
    assert (ended.outcome, ended.error_id, ended.took_ms, ended.last_end) == (RunResult.FAILED, "abcd2345", 13, DUE)
    assert not await store.finish(run, RunOutcome(RunResult.OK, 1, DUE)), "an end is recorded once"


async def test_due_time_is_claimed_once(documents):
    store = MongoJobStore(documents[COLLECTION])
    record = await store.get(JOB, NOW)
    plan = plan_run(JOB, record, DUE)
    runs = [JobRun(event_id(), JOB.name, NEXT, 1) for _ in range(6)]
    claimed = await asyncio.gather(*(store.claim(record, plan, run, DUE) for run in runs))
    assert sorted(claimed) == [False] * 5 + [True]


async def test_record_refuses_writes_with_smaller_fence(documents):
    store = MongoJobStore(documents[COLLECTION])
    stale = await store.get(JOB, NOW)
    assert await store.take_over(JOB, 5, NOW) is not None
    run = JobRun(event_id(), JOB.name, NEXT, 4)
    plan = plan_run(JOB, stale, DUE)
    assert not await store.claim(stale, plan, run, DUE)
    assert not await store.claim(await store.get(JOB, NOW), plan, run, DUE), "its fence is too small"
    assert not await store.skip(await store.get(JOB, NOW), plan, 4)
    assert await store.take_over(JOB, 4, NOW) is None
    assert await claim(store, 5) is not None


async def test_abandoned_run_is_lost_on_take_over(documents):
    store = MongoJobStore(documents[COLLECTION])
    await store.get(JOB, NOW)
    run = await claim(store, 1)
    before = await store.take_over(JOB, 2, DUE)
    assert before.run == run.id
    after = await store.get(JOB, DUE)
    assert (after.run, after.outcome, after.lost) == (None, RunResult.LOST, 1)
    assert not await store.finish(run, RunOutcome(RunResult.OK, 1, DUE))


async def test_new_schedule_counts_from_now(documents):
    store = MongoJobStore(documents[COLLECTION])
    await store.get(JOB, NOW)
    hourly = make_job(nothing, "every 1h")
    await store.take_over(hourly, 1, DUE)
    record = await store.get(hourly, DUE)
    assert (record.schedule, record.next_due) == ("every 1h", datetime(2026, 1, 5, 13, tzinfo=UTC))


async def test_resume_does_not_make_up_due_times(documents):
    store = MongoJobStore(documents[COLLECTION])
    assert await store.set_paused(JOB, NOW, paused=True)
    assert not await store.set_paused(JOB, NOW, paused=True)
    assert (await store.get(JOB, NOW)).paused is True
    later = NOW + timedelta(hours=1)
    assert plan_run(JOB, await store.get(JOB, NOW), later) is None
    assert await store.set_paused(JOB, later, paused=False)
    record = await store.get(JOB, NOW)
    assert record.paused is False
    assert record.next_due == JOB.schedule.next_after(later)


async def test_replaced_due_time_is_after_the_last_run(documents):
    """A resume, or a new schedule, on a clock that is six seconds behind the run's."""
    store = MongoJobStore(documents[COLLECTION])
    await store.get(JOB, NOW)
    await claim(store, 1)
    behind = DUE - timedelta(seconds=6)
    await store.set_paused(JOB, behind, paused=True)
    await store.set_paused(JOB, behind, paused=False)
    assert (await store.get(JOB, behind)).next_due == NEXT + timedelta(minutes=1)
    await store.take_over(make_job(nothing, "every 30s"), 2, behind)
    assert (await store.get(JOB, behind)).next_due == NEXT + timedelta(seconds=30)


async def test_request_is_answered_when_its_run_ends(documents):
    store = MongoJobStore(documents[COLLECTION])
    assert await store.request(JOB, "run1", NOW) == "run1"
    assert await store.request(JOB, "run2", NOW) == "run1", "two requests at once share a run"
    run = await claim(store, 1, NOW)
    assert (run.id, run.requested) == ("run1", True)
    assert (await store.get(JOB, NOW)).requested is None
    assert await store.request(JOB, "run3", NOW) == "run3", "the first one has started, so this is a new request"
    await store.finish(run, RunOutcome(RunResult.OK, 1, NOW))
    record = await store.get(JOB, NOW)
    assert (record.answered, record.answer, record.requested) == ("run1", RunResult.OK, "run3")
    await claim(store, 1, NOW)
    await store.take_over(JOB, 2, NOW)
    record = await store.get(JOB, NOW)
    assert (record.answered, record.answer) == ("run3", RunResult.LOST)


async def test_unresponsive_run_is_marked_until_it_ends(documents):
    store = MongoJobStore(documents[COLLECTION])
    await store.get(JOB, NOW)
    run = await claim(store, 1)
    await store.mark_unresponsive(run, "it goes on")
    record = await store.get(JOB, DUE)
    assert (record.unresponsive, record.detail, record.run) == (True, "it goes on", run.id)
    assert await store.finish(run, RunOutcome(RunResult.OK, 1, DUE))
    record = await store.get(JOB, DUE)
    assert (record.unresponsive, record.detail) == (False, None)
    await store.mark_unresponsive(run, "it goes on")
    assert (await store.get(JOB, DUE)).unresponsive is False, "it has ended"


async def test_removed_mark_is_cleared_on_take_over(documents):
    store = MongoJobStore(documents[COLLECTION])
    record = await store.get(JOB, NOW)
    assert await store.mark_removed(record, 2, DUE)
    assert not await store.mark_removed(record, 2, DUE), "the record has changed"
    assert (await store.get(JOB, NOW)).removed == DUE
    assert not await store.mark_removed(await store.get(JOB, NOW), 1, DUE), "a later holder has written"
    await store.take_over(JOB, 2, DUE)
    assert (await store.get(JOB, NOW)).removed is None


async def test_record_of_earlier_version_without_new_fields_is_read(documents):
    store = MongoJobStore(documents[COLLECTION])
    await store.get(JOB, NOW)
    old = await documents[COLLECTION].find_one({"_id": JOB.name})
    await documents[COLLECTION].delete_one({"_id": JOB.name})
    await documents[COLLECTION].insert_one({k: v for k, v in old.items() if k not in ("stubborn", "detail", "removed")})
    (record,) = await store.all()
    assert (record.unresponsive, record.detail, record.removed) == (False, None, None)
    assert await claim(store, 1) is not None
