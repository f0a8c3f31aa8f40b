"""The scheduler: at work with the lease, at rest without; nothing it has begun outlives the lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from pymongo.errors import AutoReconnect

from botctl.core.clock import SystemClock
from botctl.core.contracts.jobs import Jobs, RunResult
from botctl.jobs.scheduler import Scheduler
from tests.support.jobs import FakeLease, Rig, make
from tests.support.stores import tasks_for
from tests.support.waiting import until


class FakeLeases:
    """Gives a lease as soon as the test allows it; each has a greater fence."""

    def __init__(self) -> None:
        self.allowed = asyncio.Event()
        self.held: FakeLease | None = None
        self.fence = 0

    @asynccontextmanager
    async def lease(self, name: str, *, ttl_s: float = 15, wait_s: float | None = None) -> AsyncIterator[FakeLease]:
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


class Stage:
    """A scheduler of one job that is due, and whose body waits for the test."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.calls = 0
        self.rig = Rig(clock=SystemClock())
        self.leases = FakeLeases()
        self.job = make(self._body, "every 1w")  # no due time comes while the test runs
        self.scheduler = Scheduler(Jobs([self.job]), self.leases, self.rig.runner, 5.0)

    async def _body(self) -> None:
        self.calls += 1
        await self.go_on.wait()

    async def outcome(self) -> RunResult | None:
        return (await self.rig.record(self.job)).outcome


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.rig.book.get(stage.job, stage.rig.clock.now() - timedelta(days=8))
    async with tasks_for("jobs") as (tasks, watcher):
        tasks.spawn(stage.scheduler.lead, name="lead")
        yield stage
        assert watcher.failures == []


async def test_without_the_lease_nothing_runs(stage):
    for _ in range(5):
        await asyncio.sleep(0)
    assert stage.calls == 0
    assert await stage.scheduler.ping() == "another process schedules, or will shortly"


async def test_with_the_lease_what_is_due_runs_at_once(stage):
    stage.leases.allowed.set()
    await until(lambda: stage.calls == 1)
    assert await stage.scheduler.ping() == "schedules 1 jobs, fence 1"
    stage.go_on.set()
    await until(lambda: stage.rig.results == ["ok"])


async def test_a_run_ends_with_the_lease(stage):
    stage.leases.allowed.set()
    await until(lambda: stage.calls == 1)
    stage.leases.lose()
    await until(lambda: stage.rig.results == ["cancelled"])
    assert await stage.outcome() is RunResult.CANCELLED


async def test_a_drain_lets_runs_end_and_begins_none(stage):
    stage.leases.allowed.set()
    await until(lambda: stage.calls == 1)
    draining = asyncio.create_task(stage.scheduler.drain(10))
    await asyncio.sleep(0)
    assert not draining.done()
    stage.go_on.set()
    await draining
    assert stage.rig.results == ["ok"]
    await stage.rig.book.request(stage.job, "run1", stage.rig.clock.now())
    await stage.scheduler._look(stage.leases.held)
    assert stage.scheduler._running == {}


async def test_a_drain_has_a_limit(stage):
    stage.leases.allowed.set()
    await until(lambda: stage.calls == 1)
    await stage.scheduler.drain(0.01)
    assert stage.rig.results == []


async def test_a_request_is_served(stage):
    stage.go_on.set()
    stage.leases.allowed.set()
    await until(lambda: stage.rig.results == ["ok"])
    await stage.rig.book.request(stage.job, "run1", stage.rig.clock.now())
    await until(lambda: stage.rig.results == ["ok", "ok"])
    assert stage.rig.started[-1] == "run1"


async def test_it_goes_on_when_the_store_is_back(stage):
    """While MongoDB fails, nothing is run and nothing ends."""
    collection = stage.rig.book.collection
    find, find_one = collection.find, collection.find_one

    def broken(*_):
        raise AutoReconnect("away")

    stage.go_on.set()
    stage.leases.allowed.set()
    await until(lambda: stage.rig.results == ["ok"])
    collection.find = collection.find_one = broken
    await stage.scheduler._look(stage.leases.held)
    collection.find, collection.find_one = find, find_one
    await stage.rig.book.request(stage.job, "run1", stage.rig.clock.now())
    await until(lambda: len(stage.rig.results) == 2)


async def test_due_times_wake_it(stage):
    """By APScheduler, to the moment, and not only when it looks."""
    stage.go_on.set()
    secondly = make(stage._body, "every 1s", name="secondly")
    stage.scheduler.jobs = Jobs([secondly])
    stage.leases.allowed.set()
    await until(lambda: len(stage.rig.events) >= 4)
    assert stage.rig.results[:2] == ["ok", "ok"]


@pytest.mark.parametrize("complete", [True, False])
async def test_jobs_that_are_in_no_file_any_more_are_noted(stage, complete):
    """Not where files were left out: they may be in those."""
    stage.scheduler.complete = complete
    old = make(stage._body, name="old")
    await stage.rig.record(old)
    stage.go_on.set()
    stage.leases.allowed.set()
    await until(lambda: stage.rig.results == ["ok"])
    await stage.scheduler._look(stage.leases.held)
    assert ((await stage.rig.record(old)).removed is not None) is complete
    assert (await stage.rig.record(stage.job)).removed is None
