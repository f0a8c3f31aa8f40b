"""Waiting for a condition, with a deadline, instead of sleeping for a guess."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

LIMIT_S = 120.0
"""How long a test waits for what must come. On a loaded machine it comes late; the deadline only ends a hang."""


def expires(seconds: float) -> float:
    """Return ``seconds``: marks a limit that is to expire in the test, or whose end changes nothing.

    Every other limit in tests is at least `LIMIT_S`, as tests/unit/test_deadlines.py sees.
    """
    return seconds


NO_WAIT_S = expires(0.001)
"""For an answer of the bot that the test does not wait for."""


def wait_for(condition: Callable[[], bool], *, limit_s: float = LIMIT_S, what: str = "the condition") -> None:
    """Return when ``condition()`` holds; for code that has no event loop.

    Raises:
        AssertionError: it does not hold within ``limit_s``.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {limit_s} s"
        time.sleep(0.002)


async def until(condition: Callable[[], bool | Awaitable[bool]], *, limit_s: float = LIMIT_S, what: str = "it") -> None:
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
