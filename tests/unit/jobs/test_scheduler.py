"""The scheduler works only while it holds the lease; no run outlives the lease."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from pymongo.errors import AutoReconnect

from botctl.core.clock import SystemClock
from botctl.core.contracts.jobs import Jobs, RunResult
from botctl.core.contracts.lease import LeaseWait, OnWait
from botctl.jobs.scheduler import Scheduler
from tests.support.jobs import FakeLease, Rig, make_job
from tests.support.services import SetClock
from tests.support.stores import tasks_for
from tests.support.waiting import until


class FakeLeases:
    """Grants a lease as soon as the test allows it. Each has a greater fence."""

    def __init__(self) -> None:
        self.allowed = asyncio.Event()
        self.held: FakeLease | None = None
        self.on_wait: OnWait | None = None
        self.fence = 0

    @asynccontextmanager
    async def lease(
        self, name: str, *, ttl_s: float = 15, wait_s: float | None = None, on_wait: OnWait | None = None
    ) -> AsyncIterator[FakeLease]:
        self.on_wait = on_wait
        await self.allowed.wait()
        self.fence += 1
        self.held = FakeLease(self.fence)
        try:
            yield self.held
        finally:
            self.held.lost.set()
            self.held = None

    def lose(self) -> None:
        self.allowed.clear()
        assert self.held is not None
        self.held.lost.set()


class SchedulerRig:
    """A scheduler with one due job, whose function waits for the test."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.calls = 0
        self.rig = Rig(clock=SystemClock())
        self.leases = FakeLeases()
        self.job = make_job(self._function, "every 1w")  # not due while the test runs
        self.scheduler = Scheduler(Jobs([self.job]), self.leases, self.rig.runner, 5.0)

    async def _function(self) -> None:
        self.calls += 1
        await self.release.wait()

    async def outcome(self) -> RunResult | None:
        return (await self.rig.record(self.job)).outcome


@pytest.fixture
async def scheduling() -> AsyncIterator[SchedulerRig]:
    scheduling = SchedulerRig()
    await scheduling.rig.store.get(scheduling.job, scheduling.rig.clock.now() - timedelta(days=8))
    async with tasks_for("jobs") as (tasks, watcher):
        tasks.spawn(scheduling.scheduler.lead, name="lead")
        yield scheduling
        assert watcher.failures == []


async def test_nothing_runs_without_the_lease(scheduling):
    for _ in range(5):
        await asyncio.sleep(0)
    assert scheduling.calls == 0
    assert await scheduling.scheduler.ping() == "another process schedules, or will shortly"


async def test_lease_of_a_process_that_has_ended_is_awaited_by_name(scheduling):
    await until(lambda: scheduling.leases.on_wait is not None)
    scheduling.leases.on_wait(LeaseWait("process 12 on vps", 14.0, has_ended=False))
    assert await scheduling.scheduler.ping() == "another process schedules, or will shortly"
    scheduling.leases.on_wait(LeaseWait("process 12 on vps", 14.3, has_ended=True))
    said = await scheduling.scheduler.ping()
    assert said == "waits for the lease of process 12 on vps, which has ended: 14 s at most"
    scheduling.leases.on_wait(LeaseWait("process 12 on vps", -1.0, has_ended=True))
    assert await scheduling.scheduler.ping() == "another process schedules, or will shortly", "it took the lease"


async def test_due_job_runs_as_soon_as_lease_is_held(scheduling):
    scheduling.leases.allowed.set()
    await until(lambda: scheduling.calls == 1)
    assert await scheduling.scheduler.ping() == "schedules 1 job, fence 1"
    scheduling.release.set()
    await until(lambda: scheduling.rig.results == ["ok"])


async def test_lease_ends_the_report_of_an_outage(scheduling):
    gained = asyncio.Event()
    scheduling.scheduler.on_lease = gained.set
    scheduling.leases.allowed.set()
    await until(gained.is_set)


async def test_run_is_cancelled_when_lease_is_lost(scheduling):
    scheduling.leases.allowed.set()
    await until(lambda: scheduling.calls == 1)
    scheduling.leases.lose()
    await until(lambda: scheduling.rig.results == ["cancelled"])
    assert await scheduling.outcome() is RunResult.CANCELLED


async def test_drain_waits_for_runs_and_starts_none(scheduling):
    scheduling.leases.allowed.set()
    await until(lambda: scheduling.calls == 1)
    draining = asyncio.create_task(scheduling.scheduler.drain(10))
    await asyncio.sleep(0)
    assert not draining.done()
    scheduling.release.set()
    await draining
    assert scheduling.rig.results == ["ok"]
    await scheduling.rig.store.request(scheduling.job, "run1", scheduling.rig.clock.now())
    await scheduling.scheduler._poll(scheduling.leases.held)
    assert scheduling.scheduler._running == {}


async def test_drain_stops_waiting_at_its_limit(scheduling):
    scheduling.leases.allowed.set()
    await until(lambda: scheduling.calls == 1)
    await scheduling.scheduler.drain(0.01)
    assert scheduling.rig.results == []


async def test_requested_run_is_started(scheduling):
    scheduling.release.set()
    scheduling.leases.allowed.set()
    await until(lambda: scheduling.rig.results == ["ok"])
    await scheduling.rig.store.request(scheduling.job, "run1", scheduling.rig.clock.now())
    await until(lambda: scheduling.rig.results == ["ok", "ok"])
    assert scheduling.rig.started[-1] == "run1"


async def test_scheduling_continues_after_store_outage(scheduling):
    collection = scheduling.rig.store.collection
    find, find_one = collection.find, collection.find_one

    def broken(*_):
        raise AutoReconnect("away")

    scheduling.release.set()
    scheduling.leases.allowed.set()
    await until(lambda: scheduling.rig.results == ["ok"])
    collection.find = collection.find_one = broken
    await scheduling.scheduler._poll(scheduling.leases.held)
    collection.find, collection.find_one = find, find_one
    await scheduling.rig.store.request(scheduling.job, "run1", scheduling.rig.clock.now())
    await until(lambda: len(scheduling.rig.results) == 2)


async def test_job_starts_at_its_due_time(scheduling):
    """Due times of APScheduler wake the job, not only the poll."""
    scheduling.release.set()
    secondly = make_job(scheduling._function, "every 1s", name="secondly")
    scheduling.scheduler.jobs = Jobs([secondly])
    scheduling.leases.allowed.set()
    await until(lambda: len(scheduling.rig.events) >= 4)
    assert scheduling.rig.results[:2] == ["ok", "ok"]


async def test_job_whose_record_was_corrected_runs_again(scheduling):
    """Its record has a run of the last holder, and could not be read when this process took the jobs over."""
    collection, key = scheduling.rig.store.collection, {"_id": scheduling.job.name}
    await collection.update_one(key, {"$set": {"run": "run0", "outcome": "fine"}})
    scheduling.leases.allowed.set()
    await until(lambda: bool(scheduling.rig.store.malformed.faults))
    assert scheduling.calls == 0
    await collection.update_one(key, {"$set": {"outcome": None}})
    scheduling.release.set()
    await until(lambda: scheduling.rig.results == ["lost", "ok"])
    assert scheduling.rig.events[0].run == "run0"


async def test_malformed_record_is_reported_once(scheduling, caplog):
    """However often its job is due."""
    collection, key = scheduling.rig.store.collection, {"_id": scheduling.job.name}
    await collection.update_one(key, {"$set": {"missed": "sometimes"}})
    scheduling.leases.allowed.set()
    await until(lambda: bool(scheduling.rig.store.malformed.faults))
    for _ in range(3):
        await scheduling.scheduler._run_until_idle(scheduling.job, scheduling.scheduler.lease)
    warned = [entry for entry in caplog.records if entry.levelno > logging.INFO and "sometimes" in entry.getMessage()]
    assert len(warned) == 1


@pytest.mark.parametrize("complete", [True, False])
async def test_missing_job_is_marked_removed_if_all_files_loaded(scheduling, complete):
    scheduling.scheduler.complete = complete
    old = make_job(scheduling._function, name="old")
    await scheduling.rig.record(old)
    scheduling.release.set()
    scheduling.leases.allowed.set()
    await until(lambda: scheduling.rig.results == ["ok"])
    await scheduling.scheduler._poll(scheduling.leases.held)
    assert ((await scheduling.rig.record(old)).removed is not None) is complete
    assert (await scheduling.rig.record(scheduling.job)).removed is None


@pytest.mark.looptime
@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=400), -timedelta(days=1)], ids=str)
async def test_job_goes_on_after_its_clock_was_wrong(ahead: timedelta) -> None:
    """For 15 s. Then each due time counts again."""
    clock, leases = SetClock(), FakeLeases()
    rig = Rig(clock=clock)
    runs: list[float] = []

    async def function() -> None:
        runs.append(clock.monotonic())

    scheduler = Scheduler(Jobs([make_job(function, "every 1s")]), leases, rig.runner, 5.0)
    leases.allowed.set()
    async with tasks_for("jobs") as (tasks, _):
        tasks.spawn(scheduler.lead, name="lead")
        await asyncio.sleep(10)
        clock.ahead = ahead
        await asyncio.sleep(15)
        clock.ahead = timedelta()
        await asyncio.sleep(15)
    assert sum(5 < at < 10 for at in runs) >= 4
    assert sum(20 < at < 25 for at in runs) >= 4
    assert sum(35 < at < 40 for at in runs) >= 4
