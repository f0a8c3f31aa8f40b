"""One run of a job: how it may come out, and that it is told; for the holder of the lease only."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress

import pytest
from pymongo.errors import AutoReconnect

from botctl.core.contracts.audit_entry import encode_line
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.jobs import JobRun, RunResult
from botctl.core.errors import Unreachable
from botctl.jobs.planning import step
from botctl.jobs.store import MongoJobStore
from tests.support.jobs import FakeLease, Rig, due, make
from tests.support.services import LoopClock
from tests.support.waiting import until

pytestmark = pytest.mark.looptime


@pytest.fixture
def rig() -> Rig:
    return Rig(clock=LoopClock())


async def nothing() -> None: ...


async def test_a_run_that_comes_out_well(rig):
    """It gets its services and is told of itself; the record, an event before and after, and an audit entry say so."""
    seen = []

    async def body(run: JobRun, bus: Bus) -> None:
        seen.append((run, type(bus)))
        await asyncio.sleep(2)

    job = make(body)
    before = await due(rig.book, job, rig.clock)
    assert await rig.runner.attempt(job, FakeLease(fence=7))
    ((run, kind),) = seen
    assert (run.job, run.due, run.fence, run.requested, kind) == ("tidy", before.next_due, 7, False, Bus)
    after = await rig.record(job)
    assert (after.outcome, after.run, after.last_id, after.runs, after.fence) == (RunResult.OK, None, run.id, 1, 7)
    assert (after.last_due, after.took_ms) == (before.next_due, 2000)
    assert after.next_due > rig.clock.now()
    started, finished = rig.events
    assert (started.type, started.job, started.run) == ("job.started", "tidy", run.id)
    assert (finished.type, finished.result, finished.took_ms) == ("job.finished", "ok", 2000)
    entry = json.loads(encode_line(rig.auditor.entries[0]))
    assert (entry["action"], entry["actor"], entry["outcome"]) == ("job.run", {"type": "job", "id": "tidy"}, "success")
    assert (entry["op"], entry["ms"], entry["target"]) == (run.id, 2000, {"type": "job", "id": "tidy"})
    assert not await rig.runner.attempt(job, FakeLease(fence=7))


async def test_an_exception_is_logged_and_told_under_one_id(rig, caplog):
    async def body() -> None:
        raise ValueError("no luck")

    job = make(body)
    await due(rig.book, job, rig.clock)
    assert await rig.runner.attempt(job, FakeLease())
    record = await rig.record(job)
    assert record.outcome is RunResult.FAILED
    assert record.error_id
    assert (rig.events[-1].error_id, rig.events[-1].error_type) == (record.error_id, "ValueError")
    (logged,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert logged.error_id == record.error_id
    assert "no luck" in str(logged.exc_info[1])
    assert rig.auditor.entries[0].error == record.error_id


@pytest.mark.parametrize("error", [SystemExit(3), TimeoutError(), ExceptionGroup("two", [ValueError()])])
async def test_whatever_a_body_raises_is_a_failure(rig, error):
    async def body() -> None:
        raise error

    job = make(body)
    await due(rig.book, job, rig.clock)
    await rig.runner.attempt(job, FakeLease())
    assert (await rig.record(job)).outcome is RunResult.FAILED


async def test_a_run_has_a_time_limit(rig):
    async def body() -> None:
        await asyncio.sleep(1000)

    job = make(body)
    await due(rig.book, job, rig.clock)
    await rig.runner.attempt(job, FakeLease())
    record = await rig.record(job)
    assert (record.outcome, record.took_ms) == (RunResult.TIMEOUT, 30_000)
    assert record.error_id


async def test_a_run_that_is_stopped_with_its_process_is_cancelled(rig):
    async def body() -> None:
        await asyncio.sleep(20)

    job = make(body)
    await due(rig.book, job, rig.clock)
    task = asyncio.create_task(rig.runner.attempt(job, FakeLease()))
    await until(lambda: bool(rig.started))
    task.cancel()
    await asyncio.wait({task})
    assert (await rig.record(job)).outcome is RunResult.CANCELLED


async def test_a_job_never_overlaps_itself(rig):
    inside = 0

    async def body() -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        await asyncio.sleep(20)
        inside -= 1

    job = make(body, "every 1s")
    await due(rig.book, job, rig.clock)
    lease = FakeLease()
    for _ in range(3):
        await asyncio.gather(*(rig.runner.attempt(job, lease) for _ in range(5)))
        await asyncio.sleep(1)
    assert rig.results == ["ok", "ok", "ok"]


async def test_of_two_processes_one_runs_it(rig):
    """Both believe that they hold the lease, as after a pause: the record decides."""
    other = Rig(clock=rig.clock)
    other.book = rig.book
    object.__setattr__(other.runner, "book", rig.book)
    calls = []

    async def body(run: JobRun) -> None:
        calls.append(run.id)

    job = make(body)
    await due(rig.book, job, rig.clock)
    await asyncio.gather(rig.runner.attempt(job, FakeLease(1)), other.runner.attempt(job, FakeLease(1)))
    assert len(calls) == 1


async def test_a_holder_that_was_succeeded_is_refused(rig):
    job = make(nothing)
    await due(rig.book, job, rig.clock)
    await rig.runner.seal(job, FakeLease(2))
    assert not await rig.runner.attempt(job, FakeLease(1))
    assert await rig.book.seal(job, 1, rig.clock.now()) is None
    assert rig.events == []
    assert await rig.runner.attempt(job, FakeLease(2))


async def test_a_run_that_its_process_left_behind_is_lost_and_not_repeated(rig, caplog):
    release = asyncio.Event()

    async def body() -> None:
        await release.wait()

    job = make(body)
    await due(rig.book, job, rig.clock)
    stale = asyncio.create_task(rig.runner.attempt(job, FakeLease(1)))
    await until(lambda: bool(rig.started))
    next_one = Rig(clock=rig.clock)
    object.__setattr__(next_one.runner, "book", rig.book)
    await next_one.runner.seal(job, FakeLease(2))
    assert next_one.results == ["lost"]
    assert next_one.events[0].run == rig.started[0]
    record = await rig.record(job)
    assert (record.outcome, record.lost, record.run) == (RunResult.LOST, 1, None)
    assert not await next_one.runner.attempt(job, FakeLease(2))
    release.set()  # the process was only paused: what it says now comes too late
    await stale
    assert (await rig.record(job)).outcome is RunResult.LOST
    assert rig.results == []
    assert "taken for lost" in caplog.text


async def test_missed_due_times_are_skipped_and_counted(rig):
    job = make(nothing, missed="skip")
    await rig.book.get(job, rig.clock.now())
    await asyncio.sleep(310)
    assert await rig.runner.attempt(job, FakeLease())
    record = await rig.record(job)
    assert (record.runs, record.skipped) == (0, 5)
    assert record.next_due > rig.clock.now()


@pytest.mark.parametrize("requested", [False, True])
async def test_a_claim_that_is_not_confirmed_costs_one_run_only(rig, requested):
    """It may have been written: at most once means that it is not begun. It is told as lost, and the next one runs."""
    calls = []

    async def body() -> None:
        calls.append(1)

    job = make(body)
    await due(rig.book, job, rig.clock)
    if requested:
        await rig.book.request(job, "wanted", rig.clock.now())
    collection = rig.book.collection
    update_one = collection.update_one

    async def unsure(*args):
        await update_one(*args)
        raise AutoReconnect("the connection broke after the write")

    collection.update_one = unsure
    with pytest.raises(Unreachable):
        await rig.runner.attempt(job, FakeLease())
    assert calls == []
    collection.update_one = update_one
    left = await rig.record(job)
    assert await rig.runner.attempt(job, FakeLease())
    record = await rig.record(job)
    assert (rig.results, rig.events[0].run, rig.auditor.entries[0].op) == (["lost"], left.run, left.run)
    assert (record.outcome, record.run, record.lost, calls) == (RunResult.LOST, None, 1, [])
    assert (record.answered, record.answer) == (left.run, RunResult.LOST), "who asked for it hears of it"
    await asyncio.sleep(60)
    assert await rig.runner.attempt(job, FakeLease())
    assert (rig.results, calls) == (["lost", "ok"], [1])


async def test_an_end_that_was_noted_without_an_answer_is_told(rig, caplog):
    job = make(nothing)
    await due(rig.book, job, rig.clock)
    collection = rig.book.collection
    update_one, calls = collection.update_one, 0

    async def unsure(*args):
        nonlocal calls
        calls += 1
        result = await update_one(*args)
        if calls == 2:
            raise AutoReconnect("the connection broke after the write")
        return result

    collection.update_one = unsure
    await rig.runner.attempt(job, FakeLease())
    assert calls == 3
    assert (rig.results, len(rig.auditor.entries)) == (["ok"], 1)
    assert "taken for lost" not in caplog.text


async def test_an_end_is_noted_as_soon_as_the_store_is_back(rig):
    job = make(nothing)
    await due(rig.book, job, rig.clock)
    collection = rig.book.collection
    update_one, calls = collection.update_one, 0

    async def sometimes(*args):
        nonlocal calls
        calls += 1
        if 1 < calls < 5:
            raise AutoReconnect("away")
        return await update_one(*args)

    collection.update_one = sometimes
    await rig.runner.attempt(job, FakeLease())
    assert rig.results == ["ok"]
    assert (await rig.record(job)).outcome is RunResult.OK


async def test_a_lost_lease_begins_nothing(rig):
    job = make(nothing)
    await due(rig.book, job, rig.clock)
    lease = FakeLease()
    lease.lost.set()
    assert not await rig.runner.attempt(job, lease)
    assert rig.events == []


async def stubborn() -> None:
    """Goes on for 60 s, whatever it is told."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    await asyncio.sleep(30)


async def test_a_run_that_does_not_heed_its_cancellation_is_told(rig, caplog):
    """Its limit is 30 s: after a grace of 5 s the log and the record say so, until it ends."""
    job = make(stubborn)
    await due(rig.book, job, rig.clock)
    task = asyncio.create_task(rig.runner.attempt(job, FakeLease()))
    await asyncio.sleep(34)
    assert not (await rig.record(job)).unresponsive
    await asyncio.sleep(2)
    record = await rig.record(job)
    assert (record.unresponsive, record.outcome) == (True, None)
    assert record.detail == "it was cancelled after 30 s, does not heed that and goes on"
    assert record.detail in caplog.text
    await task
    record = await rig.record(job)
    assert (record.unresponsive, record.run, record.detail) == (False, None, None)
    assert record.took_ms == 60_000


async def test_that_a_run_is_stubborn_is_noted_as_soon_as_the_store_is_back(rig):
    job = make(stubborn)
    await due(rig.book, job, rig.clock)
    noted, away = MongoJobStore.stubborn, 3

    async def sometimes(*args):
        nonlocal away
        away -= 1
        if away > 0:
            raise Unreachable("away")
        await noted(rig.book, *args)

    object.__setattr__(rig.book, "stubborn", sometimes)
    task = asyncio.create_task(rig.runner.attempt(job, FakeLease()))
    await asyncio.sleep(38)
    assert (await rig.record(job)).unresponsive
    await task


async def test_a_run_that_blocks_until_the_lease_is_lost_says_so(rig):
    """It came to its end, and nobody has taken over: that is noted, and what happened."""
    lease = FakeLease()

    async def blocks() -> None:
        lease.lost_reason = "something blocked the event loop for 20 s or more"
        lease.lost.set()

    job = make(blocks)
    await due(rig.book, job, rig.clock)
    await rig.runner.attempt(job, lease)
    record = await rig.record(job)
    assert record.outcome is RunResult.OK
    assert record.detail == "its process lost the lease: something blocked the event loop for 20 s or more"


async def test_whoever_was_taken_for_lost_and_lives_explains_it(rig, caplog):
    """Another process took over meanwhile; it could not know that this one lives."""
    lease = FakeLease(1)
    job = make(nothing)

    async def blocks() -> None:
        lease.lost_reason = "something blocked the event loop for 20 s or more"
        lease.lost.set()
        await rig.book.seal(job, 2, rig.clock.now())

    blocking = make(blocks)
    await due(rig.book, blocking, rig.clock)
    await rig.runner.attempt(blocking, lease)
    record = await rig.record(job)
    assert record.outcome is RunResult.LOST
    why = "its process lost the lease: something blocked the event loop for 20 s or more"
    assert record.detail == f"{why}; then it ended (ok)"
    assert f"was taken for lost: {record.detail}" in caplog.text


async def test_who_is_cancelled_while_an_end_is_noted_notes_it(rig):
    """As when the lease is lost in that moment: what is known is not to be called lost."""
    job = make(nothing)
    await due(rig.book, job, rig.clock)
    finish = MongoJobStore.finish

    async def slow(*args):
        await asyncio.sleep(1)
        return await finish(rig.book, *args)

    object.__setattr__(rig.book, "finish", slow)
    task = asyncio.create_task(rig.runner.attempt(job, FakeLease()))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert (await rig.record(job)).outcome is RunResult.OK


async def test_a_job_that_is_gone_is_noted_as_removed_and_its_run_as_lost(rig):
    job = make(nothing)
    await due(rig.book, job, rig.clock)
    record = await rig.record(job)
    todo = step(job, record, rig.clock.now())
    run = JobRun("run1", job.name, todo.due, 1)
    assert await rig.book.claim(record, todo, run, rig.clock.now())
    await rig.runner.remove(await rig.record(job), FakeLease(2))
    record = await rig.record(job)
    assert (record.removed, record.outcome, record.run) == (rig.clock.now(), RunResult.LOST, None)
    assert rig.results == ["lost"]
    await rig.runner.seal(job, FakeLease(3))
    assert (await rig.record(job)).removed is None, "it is there again"
    await rig.runner.remove(await rig.record(job), FakeLease(2))
    assert (await rig.record(job)).removed is None, "who held the lease before has no say"
