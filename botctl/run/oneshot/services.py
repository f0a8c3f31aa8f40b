"""Open a registry with only the services that one command needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from botctl.core.config.loading import Loaded
from botctl.core.contracts.bus import Bus
from botctl.core.services.registry import Registry, RunningServices
from botctl.run.providers import build_base_registry


@asynccontextmanager
async def open_services(loaded: Loaded, *groups: Callable[[Registry], None]) -> AsyncIterator[RunningServices]:
    """Start the services that ``groups`` (functions of `providers`) add; stop them when the block ends."""
    registry = build_base_registry(loaded, bus=Bus())
    for add_group in groups:
        add_group(registry)
    async with registry.open() as running:
        yield running
