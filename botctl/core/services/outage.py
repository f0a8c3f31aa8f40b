"""What a service stands on is away: one warning, degraded until it is back, tries further and further apart.

What waits or is lost in the meantime is the service's own business: it may lose some without an outage, too.
"""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import Final

from botctl.core.services.tasks import Backoff, Tasks

_PAUSES: Final = Backoff()


class Outage:
    """The outages of one service, one after the other: each is on from `begin` to `end`.

    ``level``: that of the line in ``log`` with which one begins.
    """

    def __init__(
        self, tasks: Tasks, log: logging.Logger, pauses: Backoff = _PAUSES, *, level: int = logging.WARNING
    ) -> None:
        self._tasks = tasks
        self._log = log
        self._level = level
        self._pauses = pauses
        self._paused = 0
        self._on = asyncio.Event()
        self._random = Random()  # noqa: S311  spreads the tries of many processes

    @property
    def on(self) -> bool:
        """Whether there is one now."""
        return self._on.is_set()

    def begin(self, detail: str) -> None:
        """Say that there is one, and why, unless that was said already."""
        if not self.on:
            self._on.set()
            self._log.log(self._level, detail)
            self._tasks.degraded(detail)

    async def begins(self) -> None:
        """Return when there is one."""
        await self._on.wait()

    async def pause(self) -> None:
        """Wait until it is time for the next try."""
        delay_s = self._pauses.delay_s(self._paused, self._random)
        self._paused += 1
        await asyncio.sleep(delay_s)

    async def failed(self, detail: str) -> None:
        """`begin` and `pause`: for a loop that tries again."""
        self.begin(detail)
        await self.pause()

    def end(self) -> None:
        """Say that all is well, if there was one."""
        self._paused = 0
        if self.on:
            self._on.clear()
            self._tasks.recovered()
