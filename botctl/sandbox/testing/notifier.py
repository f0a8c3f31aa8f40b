"""Waits for conditions on the bot or the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

_POLL_INTERVAL_S = 0.01  # the end of a handler does not notify, so conditions are also polled


class Notifier:
    """Lets tasks wait for a condition, and check it again when the bot or the sandbox has done something."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Make waiting tasks check their conditions again."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait_until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Wait until ``condition`` holds; return False after ``limit_s``."""
        now = asyncio.get_running_loop().time
        end_s = now() + limit_s
        while not condition():
            if now() >= end_s:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_INTERVAL_S):
                    await self._next.wait()
        return True
