"""One run of a job: its outcomes, and what is recorded and published for each."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress

import pytest
from pymongo.errors import AutoReconnect
from redis.exceptions import ConnectionError as RedisConnectionError

from botctl.core.contracts.audit_entry import encode_line
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.jobs import JobRun, RunResult
from botctl.core.errors import Unreachable
from botctl.jobs.planning import plan_run
from botctl.jobs.store import MongoJobStore
from tests.support.jobs import FakeLease, Rig, make_due, make_job
from tests.support.raised import NO_EXCEPTIONS
from tests.support.services import LoopClock
from tests.support.waiting import until

pytestmark = pytest.mark.looptime


@pytest.fixture
def rig() -> Rig:
    return Rig(clock=LoopClock())


async def nothing() -> None: ...


async def test_successful_run_is_recorded_published_and_audited(rig):
    seen = []

    async def function(run: JobRun, bus: Bus) -> None:
        seen.append((run, type(bus)))
        await asyncio.sleep(2)

    job = make_job(function)
    before = await make_due(rig.store, job, rig.clock)
    assert await rig.runner.run_due(job, FakeLease(fence=7))
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
    assert not await rig.runner.run_due(job, FakeLease(fence=7))


async def test_exception_has_one_error_id_in_log_and_record(rig, caplog):
    async def function() -> None:
        raise ValueError("no luck")

    job = make_job(function)
    await make_due(rig.store, job, rig.clock)
    assert await rig.runner.run_due(job, FakeLease())
    record = await rig.record(job)
    assert record.outcome is RunResult.FAILED
    assert record.error_id
    assert (rig.events[-1].error_id, rig.events[-1].error_type) == (record.error_id, "ValueError")
    (logged,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert logged.error_id == record.error_id
    assert "no luck" in str(logged.exc_info[1])
    assert rig.auditor.entries[0].error == record.error_id


async def test_outage_in_a_job_is_logged_without_traceback(rig, caplog):
    async def function() -> None:
        raise RedisConnectionError("Error 111 connecting to 10.0.0.1")

    job = make_job(function)
    await make_due(rig.store, job, rig.clock)
    assert await rig.runner.run_due(job, FakeLease())
    record = await rig.record(job)
    (logged,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert logged.getMessage() == f"job tidy failed [{record.error_id}]: Redis fails (ConnectionError)"
    assert (record.outcome, logged.exc_info) == (RunResult.FAILED, None)


@pytest.mark.parametrize(
    "error", [*NO_EXCEPTIONS, asyncio.CancelledError(), TimeoutError(), ExceptionGroup("two", [ValueError()])], ids=repr
)
async def test_any_exception_of_job_is_a_failure(rig, error):
    """A cancellation that the job raises by itself, too. The job is not taken for lost."""

    async def function() -> None:
        raise error

    job = make_job(function)
    await make_due(rig.store, job, rig.clock)
    await rig.runner.run_due(job, FakeLease())
    assert (await rig.record(job)).outcome is RunResult.FAILED
    assert (rig.events[-1].result, rig.events[-1].error_type) == ("failed", type(error).__name__)


async def test_run_is_cancelled_at_its_time_limit(rig):
    async def function() -> None:
        await asyncio.sleep(1000)

    job = make_job(function)
    await make_due(rig.store, job, rig.clock)
    await rig.runner.run_due(job, FakeLease())
    record = await rig.record(job)
    assert (record.outcome, record.took_ms) == (RunResult.TIMEOUT, 30_000)
    assert record.error_id


async def test_run_is_cancelled_when_its_process_stops(rig):
    async def function() -> None:
        await asyncio.sleep(20)

    job = make_job(function)
    await make_due(rig.store, job, rig.clock)
    task = asyncio.create_task(rig.runner.run_due(job, FakeLease()))
    await until(lambda: bool(rig.started))
    task.cancel()
    await asyncio.wait({task})
    assert (await rig.record(job)).outcome is RunResult.CANCELLED


async def test_job_never_overlaps_itself(rig):
    inside = 0

    async def function() -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        await asyncio.sleep(20)
        inside -= 1

    job = make_job(function, "every 1s")
    await make_due(rig.store, job, rig.clock)
    lease = FakeLease()
    for _ in range(3):
        await asyncio.gather(*(rig.runner.run_due(job, lease) for _ in range(5)))
        await asyncio.sleep(1)
    assert rig.results == ["ok", "ok", "ok"]


async def test_only_one_of_two_processes_runs_the_job(rig):
    """Both believe that they hold the lease, as after a pause. The record decides."""
    other = Rig(clock=rig.clock)
    other.store = rig.store
    object.__setattr__(other.runner, "store", rig.store)
    calls = []

    async def function(run: JobRun) -> None:
        calls.append(run.id)

    job = make_job(function)
    await make_due(rig.store, job, rig.clock)
    await asyncio.gather(rig.runner.run_due(job, FakeLease(1)), other.runner.run_due(job, FakeLease(1)))
    assert len(calls) == 1


async def test_replaced_lease_holder_cannot_run_the_job(rig):
    job = make_job(nothing)
    await make_due(rig.store, job, rig.clock)
    await rig.runner.take_over(job, FakeLease(2))
    assert not await rig.runner.run_due(job, FakeLease(1))
    assert await rig.store.take_over(job, 1, rig.clock.now()) is None
    assert rig.events == []
    assert await rig.runner.run_due(job, FakeLease(2))


async def test_abandoned_run_is_lost_and_not_repeated(rig, caplog):
    release = asyncio.Event()

    async def function() -> None:
        await release.wait()

    job = make_job(function)
    await make_due(rig.store, job, rig.clock)
    stale = asyncio.create_task(rig.runner.run_due(job, FakeLease(1)))
    await until(lambda: bool(rig.started))
    next_one = Rig(clock=rig.clock)
    object.__setattr__(next_one.runner, "store", rig.store)
    await next_one.runner.take_over(job, FakeLease(2))
    assert next_one.results == ["lost"]
    assert next_one.events[0].run == rig.started[0]
    record = await rig.record(job)
    assert (record.outcome, record.lost, record.run) == (RunResult.LOST, 1, None)
    assert not await next_one.runner.run_due(job, FakeLease(2))
    release.set()  # the process was only paused, and its end comes too late
    await stale
    assert (await rig.record(job)).outcome is RunResult.LOST
    assert rig.results == []
    assert "taken for lost" in caplog.text


async def test_missed_due_times_are_skipped_and_counted(rig):
    job = make_job(nothing, missed="skip")
    await rig.store.get(job, rig.clock.now())
    await asyncio.sleep(310)
    assert await rig.runner.run_due(job, FakeLease())
    record = await rig.record(job)
    assert (record.runs, record.skipped) == (0, 5)
    assert record.next_due > rig.clock.now()


@pytest.mark.parametrize("requested", [False, True])
async def test_unconfirmed_claim_loses_only_one_run(rig, requested):
    """The claim may have been written, so at most once means that this run is lost. The next one runs."""
    calls = []

    async def function() -> None:
        calls.append(1)

    job = make_job(function)
    await make_due(rig.store, job, rig.clock)
    if requested:
        await rig.store.request(job, "wanted", rig.clock.now())
    collection = rig.store.collection
    update_one = collection.update_one

    async def unsure(*args):
        await update_one(*args)
        raise AutoReconnect("the connection broke after the write")

    collection.update_one = unsure
    with pytest.raises(Unreachable):
        await rig.runner.run_due(job, FakeLease())
    assert calls == []
    collection.update_one = update_one
    left = await rig.record(job)
    assert await rig.runner.run_due(job, FakeLease())
    record = await rig.record(job)
    assert (rig.results, rig.events[0].run, rig.auditor.entries[0].op) == (["lost"], left.run, left.run)
    assert (record.outcome, record.run, record.lost, calls) == (RunResult.LOST, None, 1, [])
    assert (record.answered, record.answer) == (left.run, RunResult.LOST), "the requester gets an answer"
    await asyncio.sleep(60)
    assert await rig.runner.run_due(job, FakeLease())
    assert (rig.results, calls) == (["lost", "ok"], [1])


async def test_end_is_published_when_its_write_had_no_answer(rig, caplog):
    job = make_job(nothing)
    await make_due(rig.store, job, rig.clock)
    collection = rig.store.collection
    update_one, calls = collection.update_one, 0

    async def unsure(*args):
        nonlocal calls
        calls += 1
        result = await update_one(*args)
        if calls == 2:
            raise AutoReconnect("the connection broke after the write")
        return result

    collection.update_one = unsure
    await rig.runner.run_due(job, FakeLease())
    assert calls == 3
    assert (rig.results, len(rig.auditor.entries)) == (["ok"], 1)
    assert "taken for lost" not in caplog.text


async def test_end_is_recorded_when_store_is_back(rig):
    job = make_job(nothing)
    await make_due(rig.store, job, rig.clock)
    collection = rig.store.collection
    update_one, calls = collection.update_one, 0

    async def sometimes(*args):
        nonlocal calls
        calls += 1
        if 1 < calls < 5:
            raise AutoReconnect("away")
        return await update_one(*args)

    collection.update_one = sometimes
    await rig.runner.run_due(job, FakeLease())
    assert rig.results == ["ok"]
    assert (await rig.record(job)).outcome is RunResult.OK


async def test_lost_lease_starts_no_run(rig):
    job = make_job(nothing)
    await make_due(rig.store, job, rig.clock)
    lease = FakeLease()
    lease.lost.set()
    assert not await rig.runner.run_due(job, lease)
    assert rig.events == []


async def unresponsive() -> None:
    """Go on for 60 s in spite of a cancellation."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    await asyncio.sleep(30)


async def test_run_that_ignores_cancellation_is_marked_unresponsive(rig, caplog):
    """The time limit is 30 s. After 5 s of grace the log and the record say so, until the run ends."""
    job = make_job(unresponsive)
    await make_due(rig.store, job, rig.clock)
    task = asyncio.create_task(rig.runner.run_due(job, FakeLease()))
    await asyncio.sleep(34)
    assert not (await rig.record(job)).unresponsive
    await asyncio.sleep(2)
    record = await rig.record(job)
    assert (record.unresponsive, record.outcome) == (True, None)
    assert record.detail == "it was cancelled after 30 s, ignores that and goes on"
    assert record.detail in caplog.text
    await task
    record = await rig.record(job)
    assert (record.unresponsive, record.run, record.detail) == (False, None, None)
    assert record.took_ms == 60_000


async def test_unresponsive_run_is_marked_when_store_is_back(rig):
    job = make_job(unresponsive)
    await make_due(rig.store, job, rig.clock)
    original, away = MongoJobStore.mark_unresponsive, 3

    async def sometimes(*args):
        nonlocal away
        away -= 1
        if away > 0:
            raise Unreachable("away")
        await original(rig.store, *args)

    object.__setattr__(rig.store, "mark_unresponsive", sometimes)
    task = asyncio.create_task(rig.runner.run_due(job, FakeLease()))
    await asyncio.sleep(38)
    assert (await rig.record(job)).unresponsive
    await task


async def test_run_that_blocked_the_loop_ends_with_a_detail(rig):
    lease = FakeLease()

    async def blocks() -> None:
        lease.lost_reason = "something blocked the event loop for 20 s or more"
        lease.lost.set()

    job = make_job(blocks)
    await make_due(rig.store, job, rig.clock)
    await rig.runner.run_due(job, lease)
    record = await rig.record(job)
    assert record.outcome is RunResult.OK
    assert record.detail == "its process lost the lease: something blocked the event loop for 20 s or more"


async def test_lost_run_that_still_ends_adds_a_detail(rig, caplog):
    lease = FakeLease(1)
    job = make_job(nothing)

    async def blocks() -> None:
        lease.lost_reason = "something blocked the event loop for 20 s or more"
        lease.lost.set()
        await rig.store.take_over(job, 2, rig.clock.now())

    blocking = make_job(blocks)
    await make_due(rig.store, blocking, rig.clock)
    await rig.runner.run_due(blocking, lease)
    record = await rig.record(job)
    assert record.outcome is RunResult.LOST
    why = "its process lost the lease: something blocked the event loop for 20 s or more"
    assert record.detail == f"{why}; then it ended (ok)"
    assert f"was taken for lost: {record.detail}" in caplog.text


async def test_cancellation_while_recording_end_still_records_it(rig):
    job = make_job(nothing)
    await make_due(rig.store, job, rig.clock)
    finish = MongoJobStore.finish

    async def slow(*args):
        await asyncio.sleep(1)
        return await finish(rig.store, *args)

    object.__setattr__(rig.store, "finish", slow)
    task = asyncio.create_task(rig.runner.run_due(job, FakeLease()))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert (await rig.record(job)).outcome is RunResult.OK


async def test_removed_job_is_marked_and_its_run_lost(rig):
    job = make_job(nothing)
    await make_due(rig.store, job, rig.clock)
    record = await rig.record(job)
    plan = plan_run(job, record, rig.clock.now())
    run = JobRun("run1", job.name, plan.due, 1)
    assert await rig.store.claim(record, plan, run, rig.clock.now())
    await rig.runner.mark_removed(await rig.record(job), FakeLease(2))
    record = await rig.record(job)
    assert (record.removed, record.outcome, record.run) == (rig.clock.now(), RunResult.LOST, None)
    assert rig.results == ["lost"]
    await rig.runner.take_over(job, FakeLease(3))
    assert (await rig.record(job)).removed is None, "it is there again"
    await rig.runner.mark_removed(await rig.record(job), FakeLease(2))
    assert (await rig.record(job)).removed is None, "an earlier holder cannot change it"
