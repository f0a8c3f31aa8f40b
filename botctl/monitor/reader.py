"""Read the snapshots of a bot's processes: from Redis, and from processes of this host. Nothing is written."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from botctl.core.clock import Clock, SystemClock
from botctl.core.contracts.health import Diagnosis, Health
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.errors import STORE_FAULTS, BotctlError, Unreachable
from botctl.core.processes.process import is_running, process_space
from botctl.core.processes.runtime import Run
from botctl.monitor import snapshot as schema
from botctl.monitor.health_answer import HealthAnswer, parse_answer
from botctl.monitor.health_client import Heard
from botctl.monitor.roles import read_roles
from botctl.monitor.rows import GONE_S, Presence, ProcessReport
from botctl.monitor.snapshot import EVERY_S, TTL_MS, Snapshot
from botctl.monitor.view import MonitorView, combine_reports

_reaching_redis: Final = reaching_redis("Redis fails ({error}).")


async def read_reports(redis: Redis, bot: str) -> list[ProcessReport]:
    """A report on every process of ``bot`` with a snapshot, by name, if `ProcessReport.is_current`.

    Raises RedisError or OSError if Redis does not answer.
    """
    procs = sorted([proc.decode() async for proc in redis.sscan_iter(schema.set_key(bot))])
    async with redis.pipeline(transaction=False) as pipe:
        for proc in procs:
            pipe.get(schema.key(bot, proc))
            pipe.pttl(schema.key(bot, proc))
        pipe.info("server")
        *answers, server = await pipe.execute(raise_on_error=False) if procs else [{}]
    if isinstance(server, NoPermissionError):  # INFO is one of the commands that are often taken away (@dangerous)
        server = {"uptime_in_seconds": math.inf}
    if failed := next((each for each in (*answers, server) if isinstance(each, Exception)), None):
        raise failed
    rows = zip(procs, answers[::2], answers[1::2], strict=True)
    # A snapshot that lives longer than it may was written while the clock of Redis was ahead. A process that runs
    # replaces it within a second.
    reports = [_report(proc, text, ttl_ms) for proc, text, ttl_ms in rows if text and ttl_ms <= TTL_MS]
    return [report for report in reports if report.is_current(server["uptime_in_seconds"])]


def _report(proc: str, text: bytes, ttl_ms: int) -> ProcessReport:
    """The report on ``proc``. Its age follows from ``ttl_ms``, how long Redis still keeps ``text``."""
    snapshot = schema.from_json(text)
    return ProcessReport(proc, snapshot, max(0, TTL_MS - ttl_ms) / 1000, _alive(snapshot))


def _alive(snapshot: Snapshot | None) -> bool | None:
    """Whether the process runs; None if its process id means nothing here."""
    if snapshot is None or not snapshot.pid_started or snapshot.space != process_space():
        return None
    return is_running(snapshot.pid, snapshot.pid_started)


@dataclass(frozen=True, slots=True)
class Frame:
    """What to show now.

    ``view``: None if Redis does not answer and no process of this host does. ``waiting_for``: why there is no running
    process to show.
    """

    view: MonitorView | None
    waiting_for: str = ""


@dataclass(frozen=True, slots=True)
class Monitor:
    """Reads the state of the processes of ``bot``: from Redis, and those of this host that it lacks from themselves.

    ``connect`` opens their Redis, or raises Unreachable. ``runs`` returns those of this project on this host, and
    ``hear`` asks them (it blocks). ``full_disk`` returns a few words if the project's disk is full. ``expected``: the
    roles of the setting ``health.roles``.
    """

    bot: str
    connect: Callable[[], AbstractAsyncContextManager[Redis]]
    runs: Callable[[], Sequence[Run]] = tuple
    hear: Callable[[], Heard] = Heard
    full_disk: Callable[[], str] = str
    clock: Clock = field(default_factory=SystemClock)
    expected: Collection[str] = ()

    async def once(self) -> MonitorView:
        """The state of the bot now. Raises Unreachable if no process of it runs, or its state cannot be read."""
        try:
            with _reaching_redis:
                async with self.connect() as redis:
                    frame = await self._read(redis)
        except STORE_FAULTS as error:
            frame = await self._without_redis(error)
            if frame.view is None:
                raise
        if frame.view is None or frame.waiting_for:
            raise Unreachable(frame.waiting_for, hint="Start it with `botctl run`.")
        return frame.view

    async def frames(self, every_s: float = EVERY_S) -> AsyncGenerator[Frame, None]:
        """Yield the state of the bot every ``every_s`` seconds, also when Redis or all processes stop and come back."""
        while True:
            try:
                with _reaching_redis:
                    async with self.connect() as redis:
                        while True:
                            yield await self._read(redis)
                            await asyncio.sleep(every_s)
            except STORE_FAULTS as error:
                yield await self._without_redis(error)
            await asyncio.sleep(every_s)

    async def _read(self, redis: Redis) -> Frame:
        reports = await read_reports(redis, self.bot)
        roles = await read_roles(redis, self.bot, reports, self.expected)
        heard = await asyncio.to_thread(self.hear) if unreported(self.runs(), reports) else Heard()
        view = self._combine(reports, heard, roles=roles)
        if view.runs or heard.silent:
            return Frame(view)
        return Frame(view, f"No process of the bot {self.bot} has sent a snapshot in the last {GONE_S:.0f} s.")

    async def _without_redis(self, error: BotctlError) -> Frame:
        """What the processes of this host say; they say more of the failure, but may not have noticed it yet."""
        heard = await asyncio.to_thread(self.hear)
        if not heard.answers and not heard.silent:
            return Frame(None, str(error))
        why = f"only processes of this host are shown: {str(error).removesuffix('.')}"
        action = error.hint.removesuffix(".") or "look at `botctl stores`"
        return Frame(self._combine([], heard, Diagnosis(verdict=Health.DEGRADED, why=why, action=action)))

    def _combine(
        self,
        reports: Sequence[ProcessReport],
        heard: Heard,
        *more: Diagnosis,
        roles: Mapping[str, float] | None = None,
    ) -> MonitorView:
        answers = [answer for answer in map(parse_answer, heard.answers) if answer is not None]
        if (heard.answers or heard.silent) and (full := self.full_disk()):
            more = (*more, Diagnosis(verdict=Health.DEGRADED, why=full, action="free space on it"))
        known = with_answers(reports, answers)
        return combine_reports(self.bot, known, self.clock.now(), heard.silent, roles, answers=answers, more=more)


def unreported(runs: Sequence[Run], reports: Sequence[ProcessReport]) -> bool:
    """Whether Redis has no fresh snapshot of one of ``runs``, all of this host."""
    fresh = {report.proc.rpartition(":")[2] for report in reports if report.alive and report.presence is Presence.UP}
    return any(str(run.pid) not in fresh for run in runs)


def with_answers(reports: Sequence[ProcessReport], answers: Sequence[HealthAnswer]) -> list[ProcessReport]:
    """``reports``, and those in ``answers``, which are newer than what Redis still has of the same process."""
    said = {
        answer.proc: ProcessReport(answer.proc, answer.snapshot, answer.age_s or 0.0, alive=True)
        for answer in answers
        if answer.snapshot is not None
    }
    return sorted([*(each for each in reports if each.proc not in said), *said.values()], key=lambda each: each.proc)
