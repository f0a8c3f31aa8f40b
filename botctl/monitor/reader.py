"""Reads what the processes of a bot tell about themselves. It only reads: any number of monitors changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from botctl.core.clock import Clock, SystemClock
from botctl.core.errors import Unreachable, translated
from botctl.monitor import snapshot as form
from botctl.monitor.snapshot import EVERY_S, KEPT_MS
from botctl.monitor.view import GONE_S, MonitorView, ProcessReport, reduce

_reaching_redis: Final = translated(RedisError, OSError, sentence="Redis does not answer ({error}).")


async def process_reports(redis: Redis, bot: str) -> list[ProcessReport]:
    """Every process of ``bot`` that tells of itself, or did in the last minute, by name.

    Who fell silent before this Redis started is left out (`ProcessReport.is_news`).

    Raises:
        RedisError, OSError: Redis does not answer.
    """
    procs = sorted([proc.decode() async for proc in redis.sscan_iter(form.set_key(bot))])
    async with redis.pipeline(transaction=False) as pipe:
        for proc in procs:
            pipe.get(form.key(bot, proc))
            pipe.pttl(form.key(bot, proc))
        pipe.info("server")
        *answers, server = await pipe.execute() if procs else [{}]
    found = [_report(proc, *one) for proc, *one in zip(procs, answers[::2], answers[1::2], strict=True) if one[0]]
    return [one for one in found if one.is_news(server["uptime_in_seconds"])]


def _report(proc: str, text: bytes, left_ms: int) -> ProcessReport:
    return ProcessReport(proc, form.from_json(text), max(0, KEPT_MS - left_ms) / 1000)


@dataclass(frozen=True, slots=True)
class Frame:
    """What there is to be shown now. ``waiting_for``: why there is nothing, or nothing that runs; else empty."""

    view: MonitorView | None
    waiting_for: str = ""


@dataclass(frozen=True, slots=True)
class Monitor:
    """Looks at the processes of ``bot``. ``join`` opens the Redis that they use, and raises Unreachable without one."""

    bot: str
    join: Callable[[], AbstractAsyncContextManager[Redis]]
    clock: Clock = field(default_factory=SystemClock)

    async def once(self) -> MonitorView:
        """The bot as it is now.

        Raises:
            Unreachable: nothing of it runs, or Redis does not answer.
        """
        with _reaching_redis:
            async with self.join() as redis:
                view = await self._look(redis)
        if not view.runs:
            raise Unreachable(self._nothing(), hint="Start it with `botctl run`.")
        return view

    async def frames(self, every_s: float = EVERY_S) -> AsyncGenerator[Frame, None]:
        """The bot as it is, again and again; Redis and all processes may go and come back meanwhile, elsewhere too."""
        while True:
            try:
                with _reaching_redis:
                    async with self.join() as redis:
                        while True:
                            view = await self._look(redis)
                            yield Frame(view, "" if view.runs else self._nothing())
                            await asyncio.sleep(every_s)
            except Unreachable as error:
                yield Frame(None, str(error))
            await asyncio.sleep(every_s)

    async def _look(self, redis: Redis) -> MonitorView:
        return reduce(self.bot, await process_reports(redis, self.bot), self.clock.now())

    def _nothing(self) -> str:
        return f"No process of the bot {self.bot} has told of itself in the last {GONE_S:.0f} s."
