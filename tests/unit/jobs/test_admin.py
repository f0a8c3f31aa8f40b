"""Jobs from a terminal: whoever runs them, the answer is the same."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import timedelta

import pytest

from botctl.core.contracts.audit_entry import encode_line
from botctl.core.contracts.jobs import Jobs, RunResult
from botctl.core.errors import Held, MigrationFaults, Unreachable, UsageError
from botctl.jobs.admin import JobAdmin
from botctl.stores.leases import COLLECTION, MongoLeases
from tests.support.jobs import Rig, make
from tests.support.mongo_memory import MemoryDatabase
from tests.support.services import LoopClock

pytestmark = pytest.mark.looptime


async def well() -> None:
    await asyncio.sleep(3)


async def ill() -> None:
    raise ValueError


class Desk(JobAdmin):
    """A desk, and the rig behind it."""

    def __init__(self, leases: MongoLeases, rig: Rig) -> None:
        jobs = Jobs([make(well, name="well"), make(ill, name="ill")])
        super().__init__(jobs, leases, rig.runner, rig.auditor, rig.clock, 6.0)
        object.__setattr__(self, "rig", rig)

    @property
    def told(self) -> list[str]:
        return [json.loads(encode_line(entry))["action"] for entry in self.auditor.entries]


@pytest.fixture
def desk() -> Desk:
    clock = LoopClock()
    database = MemoryDatabase()
    return Desk(MongoLeases(database[COLLECTION], clock.monotonic), Rig(database, clock))


async def test_where_nobody_schedules_it_is_run_here(desk):
    answer = await desk.run("well")
    assert (answer.result, answer.here, answer.took_ms) == (RunResult.OK, True, 3000)
    assert desk.told == ["job.request", "job.run"]
    assert await desk.holder() is None, "the lease was let go"
    failed = await desk.run("ill")
    assert failed.result is RunResult.FAILED
    assert failed.error_id


async def test_whoever_holds_the_lease_runs_it(desk):
    async def holder(lease) -> None:
        while True:
            await desk.rig.runner.attempt(desk.jobs.named("well"), lease)
            await asyncio.sleep(1)

    async with desk.leases.lease("jobs", ttl_s=6) as lease:
        holding = asyncio.create_task(holder(lease))
        answer = await desk.run("well")
        holding.cancel()
    assert (answer.result, answer.here) == (RunResult.OK, False)
    assert len(desk.rig.started) == 1


async def test_a_holder_that_died_is_waited_for_and_replaced(desk):
    """It may be only slow: so it takes one lease until somebody else may run the job."""
    await desk.runner.book.seal(desk.jobs.named("well"), 1, desk.clock.now())
    lease = desk.leases.lease("jobs", ttl_s=6)
    taken = await lease.__aenter__()
    taken.lost.set()
    for task in [task for task in asyncio.all_tasks() if task.get_name() == "lease jobs"]:
        task.cancel()
    began = asyncio.get_running_loop().time()
    answer = await desk.run("well")
    assert (answer.result, answer.here) == (RunResult.OK, True)
    assert 6 <= asyncio.get_running_loop().time() - began < 12
    await lease.__aexit__(None, None, None)


async def test_a_run_whose_process_dies_is_lost(desk):
    job = desk.jobs.named("well")
    asking = asyncio.create_task(desk.run("well"))
    async with desk.leases.lease("jobs", ttl_s=6) as lease:
        running = asyncio.create_task(desk.rig.runner.attempt(job, lease))
        await asyncio.sleep(1)
        await desk.runner.book.seal(job, lease.fence + 1, desk.clock.now())
        assert (await asking).result is RunResult.LOST
        running.cancel()


async def test_a_run_that_others_overtook_is_lost_sight_of(desk):
    job = desk.jobs.named("well")
    async with desk.leases.lease("jobs"):
        asking = asyncio.create_task(desk.run("well"))
        await asyncio.sleep(1)
        record = await desk.rig.record(job)
        await desk.runner.book._swap(record, {"requested": None})
        with pytest.raises(Held, match="lost sight of"):
            await asking


async def test_pausing_and_resuming_is_told_once(desk):
    assert await desk.pause("well", paused=True)
    assert not await desk.pause("well", paused=True)
    assert await desk.pause("well", paused=False)
    assert desk.told == ["job.pause", "job.resume"]
    (entry, _) = (json.loads(encode_line(entry)) for entry in desk.auditor.entries)
    assert entry["actor"]["type"] == "cli"
    assert entry["target"] == {"type": "job", "id": "well"}


async def test_every_job_is_listed_known_or_not(desk):
    await desk.runner.book.get(make(well, name="old"), desk.clock.now() - timedelta(days=1))
    await desk.pause("ill", paused=True)
    lines = await desk.lines()
    assert [(line.name, line.job is not None, line.record is not None) for line in lines] == [
        ("ill", True, True),
        ("old", False, True),
        ("well", True, False),
    ]


async def test_there_must_be_such_a_job(desk):
    with pytest.raises(UsageError, match="no job 'x'"):
        await desk.run("x")
    assert desk.told == []


async def test_without_a_store_nothing_is_promised(desk):
    class Away:
        def __getattr__(self, name):
            from pymongo.errors import AutoReconnect

            raise AutoReconnect("away")

    object.__setattr__(desk.runner.book, "collection", Away())
    with pytest.raises(Unreachable):
        await desk.run("well")


async def test_what_is_only_in_the_store_is_paused_too(desk):
    """Its file may be faulty at this moment, or be another process's."""
    elsewhere = make(well, "every 1h", name="elsewhere")
    await desk.runner.book.get(elsewhere, desk.clock.now())
    assert await desk.pause("elsewhere", paused=True)
    assert (await desk.rig.record(elsewhere)).paused
    assert await desk.pause("elsewhere", paused=False)
    with pytest.raises(UsageError) as caught:
        await desk.pause("nothing", paused=True)
    assert caught.value.hint == "Choose from: elsewhere, ill, well."


async def test_where_no_job_can_be_run_one_is_asked_for_only_if_somebody_schedules(desk):
    """A faulty migration, say. If who schedules goes meanwhile, that is said: nobody waits for ever."""
    object.__setattr__(desk, "hindrance", MigrationFaults(["migrations/0003_x.py:1: no"]))
    with pytest.raises(MigrationFaults):
        await desk.run("well")
    assert desk.told == []
    async with desk.leases.lease("jobs", ttl_s=6) as lease:
        asking = asyncio.create_task(desk.run("well"))
        await asyncio.sleep(1)
        await desk.rig.runner.attempt(desk.jobs.named("well"), lease)
        answer = await asking
        assert (answer.result, answer.here) == (RunResult.OK, False)
        asking = asyncio.create_task(desk.run("well"))
        await asyncio.sleep(1)
    with pytest.raises(MigrationFaults):
        await asking


@pytest.mark.parametrize("here", [True, False])
async def test_a_run_that_does_not_heed_its_cancellation_is_not_waited_for(desk, here):
    async def stubborn() -> None:
        while desk.clock.monotonic() < 200:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(10)

    job = make(stubborn, name="stubborn")
    object.__setattr__(desk, "jobs", Jobs([job]))
    if here:
        answer = await desk.run("stubborn")
    else:
        async with desk.leases.lease("jobs", ttl_s=6) as lease:
            asking = asyncio.create_task(desk.run("stubborn"))
            await asyncio.sleep(1)
            running = asyncio.create_task(desk.rig.runner.attempt(job, lease))
            answer = await asking
            await running
    assert (answer.result, answer.stubborn, answer.here) == (RunResult.TIMEOUT, True, here)
    assert answer.detail == "it was cancelled after 30 s, does not heed that and goes on"
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


async def test_a_wait_is_told_after_a_moment(desk):
    """For whom, and how long at most; nothing where it begins at once."""
    told: list[str] = []
    await desk.run("well", told.append)
    assert told == []
    async with desk.leases.lease("jobs", ttl_s=6) as lease:
        asking = asyncio.create_task(desk.run("well", told.append))
        await asyncio.sleep(3)
        ((sentence,),) = (told,)
        assert "schedules, and has not begun it. If it has died, which is known in" in sentence
        running = asyncio.create_task(desk.rig.runner.attempt(desk.jobs.named("well"), lease))
        await asyncio.sleep(1)
        again = asyncio.create_task(desk.run("well", told.append))
        await asyncio.gather(asking, running)
        assert told[1:] == ["well runs already; it is run again after that."]
        await desk.rig.runner.attempt(desk.jobs.named("well"), lease)
        await again
