"""Services of `botctl auth key`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from botctl.core.config.loading import Loaded
from botctl.core.contracts.api_keys import ApiKeys
from botctl.run.oneshot.services import open_services
from botctl.run.providers import add_audit, add_keys, add_mongo, add_redis, add_relay


@asynccontextmanager
async def open_api_keys(loaded: Loaded) -> AsyncIterator[ApiKeys]:
    """The keys of the realtime server. Changes are audited and sent to the running processes."""
    async with open_services(loaded, add_redis, add_mongo, add_relay, add_audit, add_keys) as running:
        yield running.get(ApiKeys)
