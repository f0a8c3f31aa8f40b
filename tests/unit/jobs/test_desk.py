"""Jobs from a terminal: whoever runs them, the answer is the same."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from botctl.core.audit import line
from botctl.core.errors import Held, Unreachable, UsageError
from botctl.core.jobs import Jobs, Result
from botctl.jobs.desk import JobDesk
from botctl.stores.lease import COLLECTION, MongoLeases
from tests.support.jobs import Rig, make
from tests.support.mongo_memory import MemoryDatabase
from tests.support.services import LoopClock

pytestmark = pytest.mark.looptime


async def well() -> None:
    await asyncio.sleep(3)


async def ill() -> None:
    raise ValueError


class Desk(JobDesk):
    """A desk, and the rig behind it."""

    def __init__(self, leases: MongoLeases, rig: Rig) -> None:
        jobs = Jobs([make(well, name="well"), make(ill, name="ill")])
        super().__init__(jobs, leases, rig.runner, rig.auditor, rig.clock, 6.0)
        object.__setattr__(self, "rig", rig)

    @property
    def told(self) -> list[str]:
        return [json.loads(line(entry))["action"] for entry in self.auditor.entries]


@pytest.fixture
def desk() -> Desk:
    clock = LoopClock()
    database = MemoryDatabase()
    return Desk(MongoLeases(database[COLLECTION], clock.monotonic), Rig(database, clock))


async def test_where_nobody_schedules_it_is_run_here(desk):
    answer = await desk.run("well")
    assert (answer.result, answer.here, answer.took_ms) == (Result.OK, True, 3000)
    assert desk.told == ["job.request", "job.run"]
    assert await desk.holder() is None, "the lease was let go"
    failed = await desk.run("ill")
    assert failed.result is Result.FAILED
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
    assert (answer.result, answer.here) == (Result.OK, False)
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
    assert (answer.result, answer.here) == (Result.OK, True)
    assert 6 <= asyncio.get_running_loop().time() - began < 12
    await lease.__aexit__(None, None, None)


async def test_a_run_whose_process_dies_is_lost(desk):
    job = desk.jobs.named("well")
    asking = asyncio.create_task(desk.run("well"))
    async with desk.leases.lease("jobs", ttl_s=6) as lease:
        running = asyncio.create_task(desk.rig.runner.attempt(job, lease))
        await asyncio.sleep(1)
        await desk.runner.book.seal(job, lease.fence + 1, desk.clock.now())
        assert (await asking).result is Result.LOST
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
    (entry, _) = (json.loads(line(entry)) for entry in desk.auditor.entries)
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
