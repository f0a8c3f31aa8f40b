"""Waiting for a condition, with a deadline, instead of sleeping for a guess."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


def wait_for(condition: Callable[[], bool], *, limit_s: float = 10.0, what: str = "the condition") -> None:
    """Return when ``condition()`` holds; for code that has no event loop.

    Raises:
        AssertionError: it does not hold within ``limit_s``.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {limit_s} s"
        time.sleep(0.002)


async def until(condition: Callable[[], bool | Awaitable[bool]], *, limit_s: float = 10.0, what: str = "it") -> None:
    """Return when ``condition()``, which may be async, holds.

    Raises:
        AssertionError: it does not hold within ``limit_s``.
    """
    deadline = time.monotonic() + limit_s
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        assert time.monotonic() < deadline, f"{what} did not come true within {limit_s} s"
        await asyncio.sleep(0.002)
