"""Handle an outage (a dependency of a service does not answer): warn once, mark the service degraded, retry, recover.

The service itself decides what it keeps or drops in the meantime.
"""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import Final

from botctl.core.loop_lag import own_lag_s
from botctl.core.services.tasks import Backoff, Tasks

_BACKOFF: Final = Backoff()


class Outage:
    """Tracks the outages of one service, one after the other, each from `begin` to `end`.

    ``level``: the level of the first log line of an outage.
    """

    def __init__(
        self, tasks: Tasks, log: logging.Logger, backoff: Backoff = _BACKOFF, *, level: int = logging.WARNING
    ) -> None:
        self._tasks = tasks
        self._log = log
        self._level = level
        self._backoff = backoff
        self._pauses = 0
        self._begun = asyncio.Event()
        self._excused = False
        self._random = Random()  # noqa: S311  spreads the retries of many processes

    @property
    def active(self) -> bool:
        return self._begun.is_set()

    def begin(self, detail: str, error: BaseException | None = None) -> None:
        """Log ``detail`` and mark the service degraded, unless the outage has begun already.

        If ``error`` is a timeout, and the event loop of this process was late, the other side may well have answered.
        So it takes a second failure to begin the outage.
        """
        if self.active:
            return
        if not self._excused and error is not None and own_lag_s(error):
            self._excused = True
            self._log.info("%s; not counted as an outage, unless the next attempt fails, too", detail)
        else:
            self._begun.set()
            self._log.log(self._level, detail)
            self._tasks.degraded(detail)

    async def wait_begun(self) -> None:
        """Wait until an outage begins. Returns at once during one."""
        await self._begun.wait()

    async def pause(self) -> None:
        """Sleep before the next attempt; longer after each one."""
        delay_s = self._backoff.delay_s(self._pauses, self._random)
        self._pauses += 1
        await asyncio.sleep(delay_s)

    async def begin_and_pause(self, detail: str, error: BaseException | None = None) -> None:
        """`begin` and `pause`, for a retry loop."""
        self.begin(detail, error)
        await self.pause()

    def end(self) -> None:
        """Mark the service recovered, if there was an outage."""
        self._pauses = 0
        self._excused = False
        if self.active:
            self._begun.clear()
            self._tasks.recovered()
