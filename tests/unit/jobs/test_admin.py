"""Jobs from the terminal: the answer is the same whichever process runs them."""

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
from tests.support.jobs import Rig, make_job
from tests.support.mongo_memory import MemoryDatabase
from tests.support.services import LoopClock

pytestmark = pytest.mark.looptime


async def succeed() -> None:
    await asyncio.sleep(3)


async def fail() -> None:
    raise ValueError


class AdminRig(JobAdmin):
    """A `JobAdmin` with the rig behind it."""

    def __init__(self, leases: MongoLeases, rig: Rig) -> None:
        jobs = Jobs([make_job(succeed, name="well"), make_job(fail, name="ill")])
        super().__init__(jobs, leases, rig.runner, rig.auditor, rig.clock, 6.0)
        object.__setattr__(self, "rig", rig)

    @property
    def actions(self) -> list[str]:
        return [json.loads(encode_line(entry))["action"] for entry in self.auditor.entries]


@pytest.fixture
def admin() -> AdminRig:
    clock = LoopClock()
    database = MemoryDatabase()
    return AdminRig(MongoLeases(database[COLLECTION], clock.monotonic), Rig(database, clock))


async def test_job_runs_here_when_no_process_schedules(admin):
    answer = await admin.run("well")
    assert (answer.result, answer.here, answer.took_ms) == (RunResult.OK, True, 3000)
    assert admin.actions == ["job.request", "job.run"]
    assert await admin.holder() is None, "the lease was released"
    failed = await admin.run("ill")
    assert failed.result is RunResult.FAILED
    assert failed.error_id


async def test_lease_holder_runs_the_requested_job(admin):
    async def holder(lease) -> None:
        while True:
            await admin.rig.runner.run_due(admin.jobs.named("well"), lease)
            await asyncio.sleep(1)

    async with admin.leases.lease("jobs", ttl_s=6) as lease:
        holding = asyncio.create_task(holder(lease))
        answer = await admin.run("well")
        holding.cancel()
    assert (answer.result, answer.here) == (RunResult.OK, False)
    assert len(admin.rig.started) == 1


async def test_dead_lease_holder_is_replaced_after_ttl(admin):
    """The holder may only be slow, so another process takes over after the length of the lease."""
    await admin.runner.store.take_over(admin.jobs.named("well"), 1, admin.clock.now())
    lease = admin.leases.lease("jobs", ttl_s=6)
    taken = await lease.__aenter__()
    taken.lost.set()
    for task in [task for task in asyncio.all_tasks() if task.get_name() == "lease jobs"]:
        task.cancel()
    began = asyncio.get_running_loop().time()
    answer = await admin.run("well")
    assert (answer.result, answer.here) == (RunResult.OK, True)
    assert 6 <= asyncio.get_running_loop().time() - began < 12
    await lease.__aexit__(None, None, None)


async def test_run_is_lost_when_its_process_dies(admin):
    job = admin.jobs.named("well")
    asking = asyncio.create_task(admin.run("well"))
    async with admin.leases.lease("jobs", ttl_s=6) as lease:
        running = asyncio.create_task(admin.rig.runner.run_due(job, lease))
        await asyncio.sleep(1)
        await admin.runner.store.take_over(job, lease.fence + 1, admin.clock.now())
        assert (await asking).result is RunResult.LOST
        running.cancel()


async def test_replaced_request_raises_held(admin):
    job = admin.jobs.named("well")
    async with admin.leases.lease("jobs"):
        asking = asyncio.create_task(admin.run("well"))
        await asyncio.sleep(1)
        record = await admin.rig.record(job)
        await admin.runner.store._compare_and_swap(record, {"requested": None})
        with pytest.raises(Held, match="cannot be followed: another request replaced"):
            await asking


async def test_pause_and_resume_are_audited_once(admin):
    assert await admin.set_paused("well", paused=True, reason="too noisy")
    assert not await admin.set_paused("well", paused=True)
    assert await admin.set_paused("well", paused=False)
    assert admin.actions == ["job.pause", "job.resume"]
    (entry, resumed) = (json.loads(encode_line(entry)) for entry in admin.auditor.entries)
    assert entry["actor"]["type"] == "cli"
    assert (entry["reason"], "reason" in resumed) == ("too noisy", False)
    assert entry["target"] == {"type": "job", "id": "well"}


async def test_statuses_contain_jobs_of_files_and_store(admin):
    await admin.runner.store.get(make_job(succeed, name="old"), admin.clock.now() - timedelta(days=1))
    await admin.set_paused("ill", paused=True)
    lines = await admin.statuses()
    assert [(line.name, line.job is not None, line.record is not None) for line in lines] == [
        ("ill", True, True),
        ("old", False, True),
        ("well", True, False),
    ]


async def test_unknown_job_raises_usage_error(admin):
    with pytest.raises(UsageError, match="no job 'x'"):
        await admin.run("x")
    assert admin.actions == []


async def test_run_raises_unreachable_without_store(admin):
    class Away:
        def __getattr__(self, name):
            from pymongo.errors import AutoReconnect

            raise AutoReconnect("away")

    object.__setattr__(admin.runner.store, "collection", Away())
    with pytest.raises(Unreachable):
        await admin.run("well")


async def test_job_that_only_the_store_knows_can_be_paused(admin):
    """The job's file may be faulty now, or belong to another process."""
    elsewhere = make_job(succeed, "every 1h", name="elsewhere")
    await admin.runner.store.get(elsewhere, admin.clock.now())
    assert await admin.set_paused("elsewhere", paused=True)
    assert (await admin.rig.record(elsewhere)).paused
    assert await admin.set_paused("elsewhere", paused=False)
    with pytest.raises(UsageError) as caught:
        await admin.set_paused("nothing", paused=True)
    assert caught.value.hint == "Choose from: elsewhere, ill, well."


async def test_blocked_run_needs_another_scheduler(admin):
    """A faulty migration blocks runs here, so a run needs another process that schedules until it ends."""
    object.__setattr__(admin, "blocked_by", MigrationFaults(["migrations/0003_x.py:1: no"]))
    with pytest.raises(MigrationFaults):
        await admin.run("well")
    assert admin.actions == []
    async with admin.leases.lease("jobs", ttl_s=6) as lease:
        asking = asyncio.create_task(admin.run("well"))
        await asyncio.sleep(1)
        await admin.rig.runner.run_due(admin.jobs.named("well"), lease)
        answer = await asking
        assert (answer.result, answer.here) == (RunResult.OK, False)
        asking = asyncio.create_task(admin.run("well"))
        await asyncio.sleep(1)
    with pytest.raises(MigrationFaults):
        await asking


@pytest.mark.parametrize("here", [True, False])
async def test_unresponsive_run_is_not_waited_for(admin, here):
    async def unresponsive() -> None:
        while admin.clock.monotonic() < 200:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(10)

    job = make_job(unresponsive, name="unresponsive")
    object.__setattr__(admin, "jobs", Jobs([job]))
    if here:
        answer = await admin.run("unresponsive")
    else:
        async with admin.leases.lease("jobs", ttl_s=6) as lease:
            asking = asyncio.create_task(admin.run("unresponsive"))
            await asyncio.sleep(1)
            running = asyncio.create_task(admin.rig.runner.run_due(job, lease))
            answer = await asking
            await running
    assert (answer.result, answer.unresponsive, answer.here) == (RunResult.TIMEOUT, True, here)
    assert answer.detail == "it was cancelled after 30 s, ignores that and goes on"
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


async def test_notice_names_scheduler_after_two_seconds(admin):
    notices: list[str] = []
    await admin.run("well", notices.append)
    assert notices == []
    async with admin.leases.lease("jobs", ttl_s=6) as lease:
        asking = asyncio.create_task(admin.run("well", notices.append))
        await asyncio.sleep(3)
        ((sentence,),) = (notices,)
        assert "schedules, and has not started the job. If that process has died, the job is run here in" in sentence
        running = asyncio.create_task(admin.rig.runner.run_due(admin.jobs.named("well"), lease))
        await asyncio.sleep(1)
        again = asyncio.create_task(admin.run("well", notices.append))
        await asyncio.gather(asking, running)
        assert notices[1:] == ["well is running; it is run again when that run has ended."]
        await admin.rig.runner.run_due(admin.jobs.named("well"), lease)
        await again
