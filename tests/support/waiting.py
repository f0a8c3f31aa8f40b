"""Waiting for a condition, with a deadline, and the services' background tasks outside a registry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from botctl.core.tasks import Tasks


async def until(condition: Callable[[], object], *, limit_s: float = 10.0) -> None:
    """Return as soon as ``condition()`` is true; fail when it is not within ``limit_s``."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  conditions of any kind, not events
            await asyncio.sleep(0.001)


class Heard:
    """What a service told about its tasks. ``failures``: tasks that ended for good."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, BaseException | None]] = []

    def news(self) -> None:
        pass

    def failed(self, what: str, error: BaseException | None) -> None:
        self.failures.append((what, error))


def tasks(name: str = "service") -> Tasks:
    """Tasks that report to nobody: ``async with tasks() as those:``."""
    return Tasks(name, watcher=Heard(), random=Random(1))
