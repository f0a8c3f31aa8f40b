"""Read the snapshots of a bot's processes. Nothing here writes to Redis."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from botctl.core.clock import Clock, SystemClock
from botctl.core.driver_errors.redis import reaching_redis
from botctl.core.errors import STORE_FAULTS, Unreachable
from botctl.core.processes.process import is_running, process_space
from botctl.core.processes.runtime import Run
from botctl.monitor import snapshot as schema
from botctl.monitor.roles import read_roles
from botctl.monitor.rows import GONE_S, ProcessReport
from botctl.monitor.snapshot import EVERY_S, TTL_MS, Snapshot
from botctl.monitor.verdict import unheard
from botctl.monitor.view import MonitorView, reduce

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

    ``view``: None if Redis does not answer. ``waiting_for``: why there is no running process to show. ``up``: a
    `botctl run` of this host is up all the same.
    """

    view: MonitorView | None
    waiting_for: str = ""
    up: bool = False


@dataclass(frozen=True, slots=True)
class Monitor:
    """Reads the state of the processes of ``bot``.

    ``connect`` opens their Redis, or raises Unreachable. ``runs`` returns those of this project on this host;
    ``full_disk`` a few words if the project's disk is full. ``expected``: the roles of the setting ``health.roles``.
    """

    bot: str
    connect: Callable[[], AbstractAsyncContextManager[Redis]]
    runs: Callable[[], Sequence[Run]] = tuple
    full_disk: Callable[[], str] = str
    clock: Clock = field(default_factory=SystemClock)
    expected: Collection[str] = ()

    async def once(self) -> MonitorView:
        """The state of the bot now. Raises Unreachable if no process of it runs, or its state cannot be read."""
        with _reaching_redis:
            async with self.connect() as redis:
                view = await self._read(redis)
        if not view.runs:
            hint = "Look into its log." if self.runs() else "Start it with `botctl run`."
            hint = "Free space on that disk." if self.full_disk() else hint
            raise Unreachable(self._no_process(), hint=hint)
        return view

    async def frames(self, every_s: float = EVERY_S) -> AsyncGenerator[Frame, None]:
        """Yield the state of the bot every ``every_s`` seconds, also when Redis or all processes stop and come back."""
        while True:
            try:
                with _reaching_redis:
                    async with self.connect() as redis:
                        while True:
                            view = await self._read(redis)
                            yield Frame(view) if view.runs else self._waiting(view, self._no_process())
                            await asyncio.sleep(every_s)
            except STORE_FAULTS as error:
                yield self._waiting(None, str(error))
            await asyncio.sleep(every_s)

    async def _read(self, redis: Redis) -> MonitorView:
        reports = await read_reports(redis, self.bot)
        roles = await read_roles(redis, self.bot, reports, self.expected)
        return reduce(self.bot, reports, self.clock.now(), self.runs(), roles)

    def _waiting(self, view: MonitorView | None, reason: str) -> Frame:
        return Frame(view, reason, up=bool(self.runs()))

    def _no_process(self) -> str:
        if runs := self.runs():
            return f"{'; '.join(filter(None, (*map(unheard, runs), self.full_disk())))}."
        return f"No process of the bot {self.bot} has sent a snapshot in the last {GONE_S:.0f} s."
