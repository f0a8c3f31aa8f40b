"""The verdict on this process and on the bot, for everything in the process that shows it; and who announces changes.

Every process looks every `EVERY_S`. One of them, the speaker, announces a change: an event, an entry of the audit log
and a line of the log. While Redis fails, a process knows only itself, and the last speaker stays the speaker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Final

from redis.asyncio import Redis

from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.audit_entry import AuditOutcome, Change, Principal, Target, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.health import Diagnosis, Health, HealthSource, worst
from botctl.core.contracts.protocols import Auditor
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.errors import STORE_FAULTS
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.telemetry.metrics import Metrics
from botctl.monitor.announcements import Announcement, Look, announcement
from botctl.monitor.own_health import OwnHealth
from botctl.monitor.reader import read_reports
from botctl.monitor.roles import read_roles
from botctl.monitor.rows import ProcessReport
from botctl.monitor.speaker import Speaker
from botctl.monitor.verdict import judge_report
from botctl.monitor.view import combine_reports
from botctl.monitor.writer import SnapshotWriter

EVERY_S: Final = 2.0
STOP_S: Final = 1.0  # to release the key of the speaker
ALONE: Final = "the other processes are not known"
_reaching_redis: Final = reaching_redis("The snapshots of the processes cannot be read: Redis fails ({error}).")
_log = logging.getLogger(__name__)


class HealthWatch:
    """A `HealthSource`."""

    def __init__(
        self,
        redis: Redis,
        writer: SnapshotWriter,
        bus: Bus,
        auditor: Auditor,
        clock: Clock,
        *,
        own: OwnHealth,
        expected: Collection[str] = (),
    ) -> None:
        self._redis, self._writer, self._bus, self._auditor, self._clock = redis, writer, bus, auditor, clock
        self._own, self._expected = own, expected
        self._bot = writer.metrics.bot
        self._last: Look | None = None
        self.speaker = Speaker(redis, self._bot, clock)

    def of_process(self) -> Diagnosis:
        found = worst(judge_report(self._own_report(), self._clock.now()))
        return replace(found, proc=self._writer.proc)

    def _own_report(self) -> ProcessReport:
        return ProcessReport(self._writer.proc, self._writer.current(), 0.0, alive=True)

    def of_bot(self) -> Diagnosis:
        return self._alone() if self._last is None else self._last.found

    def _alone(self) -> Diagnosis:
        """The verdict on this process, as far as it is known of the bot."""
        own = self.of_process()
        return replace(own, why=f"{own.why}; {ALONE}")

    async def run(self) -> None:
        """Look every `EVERY_S`. Never returns."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Judge the bot, and announce a change if this process is the speaker."""
        at = self._clock.now()
        found = await self._judge_bot(at)
        older, self._last = self._last, Look(found=found, at=at)
        self._own.post_bot(found)
        if self.speaker.speaks and (change := announcement(self.speaker.announced, older, self._last)):
            await self.speaker.remember(change.after)
            self._announce(change)

    async def _judge_bot(self, at: datetime) -> Diagnosis:
        """The verdict on the bot. Other services warn if Redis fails."""
        found = None
        try:
            with _reaching_redis:
                reports = await read_reports(self._redis, self._bot)
                roles = await read_roles(self._redis, self._bot, reports, self._expected)
            others = [report for report in reports if report.proc != self._writer.proc]
            found = combine_reports(self._bot, [self._own_report(), *others], at, roles=roles).health
            await self.speaker.claim()
        except STORE_FAULTS:
            self.speaker.hold_off()
        return found or self._alone()

    def _announce(self, change: Announcement) -> None:
        _log.log(change.level, "%s", change.sentence)
        self._bus.publish(change.event())
        if not change.is_settled:
            return
        old, new = change.before.settled, change.after.settled
        self._auditor.record(
            make_entry(
                "health.changed",
                Principal("system", self._writer.proc),
                at=self._clock.now(),
                iface="system",
                target=Target("bot", self._bot),
                outcome=AuditOutcome.SUCCESS if new is Health.HEALTHY else AuditOutcome.ERROR,
                reason=change.found.why,
                changes=(Change("verdict", old.value, new.value),),
            )
        )


def _gauge(found: Diagnosis) -> Mapping[str, float]:
    return {verdict.value: float(verdict is found.verdict) for verdict in Health}


@asynccontextmanager
async def health_watch(
    *,
    settings: Settings,
    redis: Redis,
    writer: SnapshotWriter,
    own: OwnHealth,
    metrics: Metrics,
    bus: Bus,
    auditor: Auditor,
    clock: Clock,
    tasks: Tasks,
) -> AsyncIterator[HealthSource]:
    """Factory of the service."""
    watch = HealthWatch(redis, writer, bus, auditor, clock, own=own, expected=settings.health.roles)
    metrics.watch(
        "botctl_health", "The verdict on the process: 1.", lambda: _gauge(watch.of_process()), label="verdict"
    )
    metrics.watch("botctl_bot_health", "The verdict on the bot: 1.", lambda: _gauge(watch.of_bot()), label="verdict")
    tasks.spawn(watch.run, name="look", restart=Backoff())
    try:
        yield watch
    finally:
        await tasks.cancel()  # or the next look would take the key again
        await watch.speaker.release()
