"""Jobs for tests: made to order, run for a lease that the test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from botctl.core.clock import Clock
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import Event, JobFinished, JobStarted
from botctl.core.contracts.jobs import Job, JobRecord, MissedPolicy
from botctl.core.contracts.schedule import parse
from botctl.core.services.registry import Services
from botctl.jobs.runner import Runner
from botctl.jobs.store import COLLECTION, MongoJobStore
from tests.support.bots import FakeAuditor
from tests.support.clock import ManualClock
from tests.support.mongo_memory import MemoryDatabase


@dataclass(eq=False)
class FakeLease:
    """Held until the test says otherwise."""

    fence: int = 1
    name: str = "jobs"
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    lost_reason: str = ""

    @property
    def held(self) -> bool:
        return not self.lost.is_set()


def make(
    function: Callable[..., Awaitable[Any]], when: str = "every 1m", *, name: str = "tidy", missed: str = "once"
) -> Job:
    return Job(name, function, parse(when), MissedPolicy(missed), 30.0)


async def due(book: MongoJobStore, job: Job, clock: Clock) -> JobRecord:
    """Make ``job`` known, and due now."""
    return await book.get(job, clock.now() - timedelta(minutes=1))


class Rig:
    """A runner on a store, and what it tells."""

    def __init__(self, database: Any = None, clock: Clock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.book = MongoJobStore((database or MemoryDatabase())[COLLECTION])
        self.auditor = FakeAuditor()
        self.events: list[Event] = []
        self.runner = Runner(
            self.book,
            Services({Bus: Bus()}),
            self.events.append,
            self.auditor,
            self.clock,  # type: ignore[arg-type]
        )

    @property
    def results(self) -> list[str]:
        return [event.result for event in self.events if isinstance(event, JobFinished)]

    @property
    def started(self) -> list[str]:
        return [event.run for event in self.events if isinstance(event, JobStarted)]

    async def record(self, job: Job) -> JobRecord:
        return await self.book.get(job, self.clock.now())
