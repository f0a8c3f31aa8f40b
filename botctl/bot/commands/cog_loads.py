"""Wait for the ``cog_load`` methods of cogs, which disnake runs in the background and forgets."""

from __future__ import annotations

import asyncio
import logging

from disnake.ext import commands

_log = logging.getLogger(__name__)


class CogLoads:
    """The ``cog_load`` calls that run. Their errors are returned by `finish`, or logged after `leave`."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[object], commands.Cog] = {}
        self._is_left = False

    def watch(self, cog: commands.Cog, task: asyncio.Task[object]) -> None:
        """Add the task that runs ``cog.cog_load``."""
        self._running[task] = cog
        if self._is_left:
            task.add_done_callback(self._log_error)

    async def finish(self, limit_s: float) -> list[tuple[commands.Cog, BaseException]]:
        """Wait up to ``limit_s`` seconds until all have ended; return the errors of those that have."""
        if self._running:
            await asyncio.wait(self._running, timeout=limit_s)
        ended = {task: cog for task, cog in self._running.items() if task.done()}
        self._running = {task: cog for task, cog in self._running.items() if task not in ended}
        return [(cog, error) for task, cog in ended.items() if (error := _error_of(task)) is not None]

    def leave(self) -> list[commands.Cog]:
        """Wait no longer: errors are logged from now on. Return the cogs that still load."""
        self._is_left = True
        for task in self._running:
            task.add_done_callback(self._log_error)
        return list(self._running.values())

    def _log_error(self, task: asyncio.Task[object]) -> None:
        cog = self._running.pop(task, None)
        if (error := _error_of(task)) is not None:
            _log.error("cog_load of %s failed", type(cog).__name__, exc_info=error)


def _error_of(task: asyncio.Task[object]) -> BaseException | None:
    """What the task raised; None if it ended, or someone cancelled it."""
    if task.cancelled():
        return asyncio.CancelledError() if not task.cancelling() else None
    return task.exception()
