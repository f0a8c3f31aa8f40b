"""The relay: what is published on this process's bus goes to the log that all processes of the bot share.

Publishing only puts an event in line. What gathers within a few milliseconds is appended as one batch. While Redis is
away the line grows to its limit; beyond it the oldest are dropped and counted, and when Redis is back EventsLost says
how many. A batch whose fate is not known is sent again as it was, and Redis knows it: nothing is doubled, and the order
is that of publishing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Final

from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.event_log import Batch, EventLog, encode, is_topic
from botctl.core.contracts.events import CommandStarted, Event, EventsLost, ServiceChanged, Source, envelope
from botctl.core.errors import Unreachable
from botctl.core.ids import event_id
from botctl.core.processes.runtime import Runtime
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.telemetry.metrics import Metrics

WAITING: Final = 10_000
"""Events that may wait for Redis."""
MAX_BATCH: Final = 256
GATHER_S: Final = 0.02  # a round trip costs the bot as much as several events do
LAST_TRY_S: Final = 1.0  # all that the stop waits for Redis
_PAUSES: Final = Backoff(first_s=0.05, limit_s=1.0)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RelayCounts:
    """Events so far. ``dropped``: there was no room; ``unfit``: not an event that can travel."""

    relayed: int = 0
    dropped: int = 0
    unfit: int = 0
    batches: int = 0
    failures: int = 0


@dataclass(eq=False)
class Relay:
    """Appends what is published on ``bus``. ``waiting``: how many events may wait for Redis."""

    bus: Bus
    log: EventLog
    source: Source
    tasks: Tasks
    clock: Clock
    waiting: int = WAITING
    skip: tuple[type[Event], ...] = ()
    counts: RelayCounts = field(default_factory=RelayCounts, init=False)

    def __post_init__(self) -> None:
        self._line: deque[tuple[Event, datetime]] = deque()
        self._wake = asyncio.Event()
        self._batch: Batch | None = None  # under way, or of unknown fate
        self._writer = event_id()
        self._numbers = itertools.count(1)
        self._untold = 0
        self._outage = Outage(self.tasks, _log, _PAUSES)

    @property
    def behind(self) -> int:
        """Events that are not in the log yet."""
        under_way = sum(map(len, self._batch.events.values())) if self._batch else 0
        return len(self._line) + under_way

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Relay]:
        """Relay, for as long as the block lasts; then once more, for at most `LAST_TRY_S`."""
        with self.bus.listen(self._put, Event):
            self.tasks.spawn(self._run, name="relay")
            try:
                yield self
            finally:
                await self.tasks.cancel()
                await self._last_try()

    def _put(self, event: Event) -> None:
        if isinstance(event, self.skip):
            return
        if len(self._line) >= self.waiting:
            self._line.popleft()
            self.counts.dropped += 1
            self._untold += 1
        self._line.append((event, self.clock.now()))
        self._wake.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._flush()
            except Unreachable as error:
                self.counts.failures += 1
                await self._outage.begin_and_pause(f"events wait in memory: {error}")
            else:
                self._outage.end()
                self._tell_lost()
                await self._gather()

    async def _gather(self) -> None:
        if not self._line:
            self._wake.clear()
            await self._wake.wait()
        await asyncio.sleep(GATHER_S)

    async def _flush(self) -> None:
        while self._line or self._batch:
            self._batch = self._batch or self._next_batch()
            if self._batch.events:
                await self.log.append_batch(self._batch)
                self.counts.batches += 1
                self.counts.relayed += sum(map(len, self._batch.events.values()))
            self._batch = None

    def _next_batch(self) -> Batch:
        events: dict[str, list[bytes]] = {}
        for _ in range(min(MAX_BATCH, len(self._line))):
            event, at = self._line.popleft()
            try:
                if not is_topic(event.topic):
                    raise ValueError(f"{event.topic!r} is no name for a topic")
                data = encode(envelope(event, self.source, at=at))
            except (TypeError, ValueError) as error:  # an operator's own event may hold anything
                self.counts.unfit += 1
                _log.warning("event %s is not relayed: %s", event.type, error)
            else:
                events.setdefault(event.topic, []).append(data)
        return Batch(self._writer, next(self._numbers), events)

    def _tell_lost(self) -> None:
        if self._untold:
            _log.warning("events dropped while Redis was away: %d", self._untold)
            self.bus.publish(EventsLost(count=self._untold))
            self._untold = 0

    async def _last_try(self) -> None:
        try:
            async with asyncio.timeout(LAST_TRY_S):
                await self._flush()
        except (Unreachable, TimeoutError):
            _log.warning("events lost, because Redis did not take them at the end: %d", self.behind)


@asynccontextmanager
async def relay(
    *,
    bus: Bus,
    log: EventLog,
    settings: Settings,
    runtime: Runtime,
    clock: Clock,
    tasks: Tasks,
    metrics: Metrics | None = None,
) -> AsyncIterator[Relay]:
    """Factory of the service.

    That a command has begun is of interest only where it runs, and would double the traffic; how the services of a
    short verb come and go is nobody's news.
    """
    skip = (CommandStarted,) if runtime.long_lived else (CommandStarted, ServiceChanged)
    async with Relay(bus, log, Source(settings.bot), tasks, clock, skip=skip).running() as running:
        if metrics is not None:
            metrics.watch("botctl_relay_total", "Events told to Redis.", lambda: asdict(running.counts), label="what")
        yield running
