"""The relay appends the events of this process's bus to the log of all processes.

Publishing only queues an event. Events of a few milliseconds are appended as one batch. While Redis does not answer,
the queue grows to its limit; then the oldest events are dropped, and an EventsLost event later says how many. A batch
without a reply is sent again unchanged. Redis recognises it, so no event is stored twice or in another order.
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
from botctl.core.errors import STORE_FAULTS
from botctl.core.ids import event_id
from botctl.core.loop_timeout import LoopTimeout
from botctl.core.processes.runtime import Runtime
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.telemetry.metrics import Metrics

QUEUE_SIZE: Final = 10_000
MAX_BATCH: Final = 256
GATHER_S: Final = 0.02  # how long events are collected for a batch
LAST_TRY_S: Final = 1.0  # the time limit of the last write, when the service stops
_BACKOFF: Final = Backoff(first_s=0.05, limit_s=1.0)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RelayCounts:
    """Events appended, dropped (the queue was full) and unfit (not valid as JSON); batches; failed attempts."""

    relayed: int = 0
    dropped: int = 0
    unfit: int = 0
    batches: int = 0
    failures: int = 0


@dataclass(eq=False)
class Relay:
    """Appends the events of ``bus`` to ``log``, from the sender ``source``, except those of the types ``skip``."""

    bus: Bus
    log: EventLog
    source: Source
    tasks: Tasks
    clock: Clock
    queue_size: int = QUEUE_SIZE  # in events
    skip: tuple[type[Event], ...] = ()
    counts: RelayCounts = field(default_factory=RelayCounts, init=False)

    def __post_init__(self) -> None:
        self._queue: deque[tuple[Event, datetime]] = deque()
        self._wake = asyncio.Event()
        self._batch: Batch | None = None  # sent, or to be sent again
        self._writer = event_id()
        self._numbers = itertools.count(1)
        self._unreported = 0
        self._outage = Outage(self.tasks, _log, _BACKOFF)

    @property
    def backlog(self) -> int:
        """Events that are not in the log yet."""
        sending = sum(map(len, self._batch.events.values())) if self._batch else 0
        return len(self._queue) + sending

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Relay]:
        """Relay until the block ends, then append the rest of the queue within `LAST_TRY_S`."""
        with self.bus.listen(self._enqueue, Event):
            self.tasks.spawn(self._run, name="relay")
            try:
                yield self
            finally:
                await self.tasks.cancel()
                await self._flush_at_stop()

    def _enqueue(self, event: Event) -> None:
        if isinstance(event, self.skip):
            return
        if len(self._queue) >= self.queue_size:
            self._queue.popleft()
            self.counts.dropped += 1
            self._unreported += 1
        self._queue.append((event, self.clock.now()))
        self._wake.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._flush()
            except STORE_FAULTS as error:
                self.counts.failures += 1
                await self._outage.begin_and_pause(f"events wait in memory: {error}", error)
            else:
                self._outage.end()
                self._report_lost()
                await self._collect_batch()

    async def _collect_batch(self) -> None:
        if not self._queue:
            self._wake.clear()
            await self._wake.wait()
        await asyncio.sleep(GATHER_S)

    async def _flush(self) -> None:
        """Append all that waits. Raises Unreachable."""
        while self._queue or self._batch:
            self._batch = self._batch or self._next_batch()
            if self._batch.events:
                await self.log.append_batch(self._batch)
                self.counts.batches += 1
                self.counts.relayed += sum(map(len, self._batch.events.values()))
            self._batch = None

    def _next_batch(self) -> Batch:
        """Take events from the queue. Those that are unfit are counted and logged."""
        events: dict[str, list[bytes]] = {}
        for _ in range(min(MAX_BATCH, len(self._queue))):
            event, at = self._queue.popleft()
            try:
                if not is_topic(event.topic):
                    raise ValueError(f"{event.topic!r} is not a valid name of a topic")
                data = encode(envelope(event, self.source, at=at))
            except (TypeError, ValueError) as error:  # an operator's own event may contain anything
                self.counts.unfit += 1
                _log.warning("event %s is not relayed: %s", event.type, error)
            else:
                events.setdefault(event.topic, []).append(data)
        return Batch(self._writer, next(self._numbers), events)

    def _report_lost(self) -> None:
        if self._unreported:
            _log.warning("events dropped while Redis did not answer: %d", self._unreported)
            self.bus.publish(EventsLost(count=self._unreported))
            self._unreported = 0

    async def _flush_at_stop(self) -> None:
        try:
            async with LoopTimeout(LAST_TRY_S):
                await self._flush()
        except (*STORE_FAULTS, TimeoutError):
            _log.warning("events lost, because Redis did not answer at the stop: %d", self.backlog)


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

    `CommandStarted` matters only in its process and would double the traffic, so it is not appended. In a process that
    ends by itself, neither is `ServiceChanged`.
    """
    skip = (CommandStarted,) if runtime.long_lived else (CommandStarted, ServiceChanged)
    async with Relay(bus, log, Source(settings.bot), tasks, clock, skip=skip).running() as running:
        if metrics is not None:
            metrics.watch("botctl_relay_total", "Events sent to Redis.", lambda: asdict(running.counts), label="what")
        yield running
