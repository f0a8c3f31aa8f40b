"""A registry with the few services that a verb needs, open as long as the verb works."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from botctl.core.config.loading import Loaded
from botctl.core.contracts.bus import Bus
from botctl.core.services.registry import Registry, RunningServices
from botctl.run.providers import base_registry


@asynccontextmanager
async def opened(loaded: Loaded, *groups: Callable[[Registry], None]) -> AsyncIterator[RunningServices]:
    """The services that ``groups`` (the functions of `providers`) add, started; stopped when the block ends."""
    registry = base_registry(loaded, bus=Bus())
    for add in groups:
        add(registry)
    async with registry.open() as running:
        yield running
