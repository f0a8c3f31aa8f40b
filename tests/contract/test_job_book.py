"""The jobs' records on every document store."""

import asyncio
from datetime import UTC, datetime, timedelta

from botctl.core.contracts.jobs import JobRun, RunResult
from botctl.core.ids import event_id
from botctl.jobs.planning import step
from botctl.jobs.store import COLLECTION, End, MongoJobStore
from tests.support.jobs import make

NOW = datetime(2026, 1, 5, 12, 0, 30, 250_000, tzinfo=UTC)
NEXT = datetime(2026, 1, 5, 12, 1, tzinfo=UTC)
DUE = NEXT + timedelta(seconds=1)


async def nothing() -> None: ...


JOB = make(nothing)


async def claim(book: MongoJobStore, fence: int, now: datetime = DUE) -> JobRun | None:
    record = await book.get(JOB, now)
    todo = step(JOB, record, now)
    assert todo is not None
    run = JobRun(todo.requested or event_id(), JOB.name, todo.due, fence, todo.requested is not None)
    return run if await book.claim(record, todo, run, now) else None


async def test_a_record_comes_back_as_it_was_written(documents):
    book = MongoJobStore(documents[COLLECTION])
    new = await book.get(JOB, NOW)
    assert (new.name, new.schedule, new.missed, new.next_due, new.paused) == ("tidy", "every 1m", "once", NEXT, False)
    assert (new.revision, new.runs, new.last_run, new.outcome) == (0, 0, None, None)
    run = await claim(book, 3)
    under_way = await book.get(JOB, NOW)
    assert (under_way.run, under_way.last_due, under_way.last_run) == (run.id, NEXT, DUE)
    assert (under_way.next_due, under_way.fence) == (NEXT + timedelta(minutes=1), 3)
    assert await book.finish(run, End(RunResult.FAILED, 12.6, DUE, "abcd2345", "ValueError"))
    (ended,) = await book.all()
    assert ended.unresponsive is False
    assert (ended.outcome, ended.error_id, ended.took_ms, ended.last_end) == (RunResult.FAILED, "abcd2345", 13, DUE)
    assert not await book.finish(run, End(RunResult.OK, 1, DUE)), "an end is noted once"


async def test_a_due_time_is_claimed_once(documents):
    book = MongoJobStore(documents[COLLECTION])
    record = await book.get(JOB, NOW)
    todo = step(JOB, record, DUE)
    runs = [JobRun(event_id(), JOB.name, NEXT, 1) for _ in range(6)]
    claimed = await asyncio.gather(*(book.claim(record, todo, run, DUE) for run in runs))
    assert sorted(claimed) == [False] * 5 + [True]


async def test_a_sealed_record_refuses_whoever_came_before(documents):
    book = MongoJobStore(documents[COLLECTION])
    stale = await book.get(JOB, NOW)
    assert await book.seal(JOB, 5, NOW) is not None
    run = JobRun(event_id(), JOB.name, NEXT, 4)
    todo = step(JOB, stale, DUE)
    assert not await book.claim(stale, todo, run, DUE)
    assert not await book.claim(await book.get(JOB, NOW), todo, run, DUE), "its fence alone tells"
    assert not await book.skip(await book.get(JOB, NOW), todo, 4)
    assert await book.seal(JOB, 4, NOW) is None
    assert await claim(book, 5) is not None


async def test_a_run_left_behind_is_lost(documents):
    book = MongoJobStore(documents[COLLECTION])
    await book.get(JOB, NOW)
    run = await claim(book, 1)
    before = await book.seal(JOB, 2, DUE)
    assert before.run == run.id
    after = await book.get(JOB, DUE)
    assert (after.run, after.outcome, after.lost) == (None, RunResult.LOST, 1)
    assert not await book.finish(run, End(RunResult.OK, 1, DUE))


async def test_another_schedule_counts_from_now_on(documents):
    book = MongoJobStore(documents[COLLECTION])
    await book.get(JOB, NOW)
    hourly = make(nothing, "every 1h")
    await book.seal(hourly, 1, DUE)
    record = await book.get(hourly, DUE)
    assert (record.schedule, record.next_due) == ("every 1h", datetime(2026, 1, 5, 13, tzinfo=UTC))


async def test_a_pause_ends_without_making_up(documents):
    book = MongoJobStore(documents[COLLECTION])
    assert await book.pause(JOB, NOW, paused=True)
    assert not await book.pause(JOB, NOW, paused=True)
    assert (await book.get(JOB, NOW)).paused is True
    later = NOW + timedelta(hours=1)
    assert step(JOB, await book.get(JOB, NOW), later) is None
    assert await book.pause(JOB, later, paused=False)
    record = await book.get(JOB, NOW)
    assert record.paused is False
    assert record.next_due == JOB.schedule.next_after(later)


async def test_a_request_is_answered(documents):
    book = MongoJobStore(documents[COLLECTION])
    assert await book.request(JOB, "run1", NOW) == "run1"
    assert await book.request(JOB, "run2", NOW) == "run1", "two who ask at once share a run"
    run = await claim(book, 1, NOW)
    assert (run.id, run.requested) == ("run1", True)
    assert (await book.get(JOB, NOW)).requested is None
    assert await book.request(JOB, "run3", NOW) == "run3", "that one has begun already: this is another"
    await book.finish(run, End(RunResult.OK, 1, NOW))
    record = await book.get(JOB, NOW)
    assert (record.answered, record.answer, record.requested) == ("run1", RunResult.OK, "run3")
    await claim(book, 1, NOW)
    await book.seal(JOB, 2, NOW)
    record = await book.get(JOB, NOW)
    assert (record.answered, record.answer) == ("run3", RunResult.LOST)


async def test_a_stubborn_run_is_noted_until_it_ends(documents):
    book = MongoJobStore(documents[COLLECTION])
    await book.get(JOB, NOW)
    run = await claim(book, 1)
    await book.stubborn(run, "it goes on")
    record = await book.get(JOB, DUE)
    assert (record.unresponsive, record.detail, record.run) == (True, "it goes on", run.id)
    assert await book.finish(run, End(RunResult.OK, 1, DUE))
    record = await book.get(JOB, DUE)
    assert (record.unresponsive, record.detail) == (False, None)
    await book.stubborn(run, "it goes on")
    assert (await book.get(JOB, DUE)).unresponsive is False, "it has ended"


async def test_what_is_removed_stays_known_until_it_is_there_again(documents):
    book = MongoJobStore(documents[COLLECTION])
    record = await book.get(JOB, NOW)
    assert await book.remove(record, 2, DUE)
    assert not await book.remove(record, 2, DUE), "it is not as it was read"
    assert (await book.get(JOB, NOW)).removed == DUE
    assert not await book.remove(await book.get(JOB, NOW), 1, DUE), "a later holder has written"
    await book.seal(JOB, 2, DUE)
    assert (await book.get(JOB, NOW)).removed is None


async def test_a_record_of_an_earlier_version_is_read(documents):
    """Without the fields that came later."""
    book = MongoJobStore(documents[COLLECTION])
    await book.get(JOB, NOW)
    old = await documents[COLLECTION].find_one({"_id": JOB.name})
    await documents[COLLECTION].delete_one({"_id": JOB.name})
    await documents[COLLECTION].insert_one({k: v for k, v in old.items() if k not in ("stubborn", "detail", "removed")})
    (record,) = await book.all()
    assert (record.unresponsive, record.detail, record.removed) == (False, None, None)
    assert await claim(book, 1) is not None
