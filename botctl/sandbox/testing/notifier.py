"""Waiting for what the bot does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

_POLL_INTERVAL_S = 0.01  # not all that a bot does is news: that it has stopped working is seen by looking


class Notifier:
    """Wakes those who wait, whenever the bot or the sandbox has done something."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Something has happened: conditions are worth another look."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait_until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Wait until ``condition`` holds; False when it did not within ``limit_s``."""
        now = asyncio.get_running_loop().time
        end_s = now() + limit_s
        while not condition():
            if now() >= end_s:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_INTERVAL_S):
                    await self._next.wait()
        return True
