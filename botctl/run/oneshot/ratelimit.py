"""Services of `botctl ratelimit`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from botctl.core.clock import Clock
from botctl.core.config.loading import Loaded
from botctl.core.contracts.protocols import Auditor
from botctl.ratelimit.inspect import Inspector, reset
from botctl.ratelimit.keys import Key, Subject
from botctl.run.oneshot.services import open_services
from botctl.run.providers import add_audit, add_mongo, add_redis


@asynccontextmanager
async def open_rate_limits(loaded: Loaded) -> AsyncIterator[Inspector]:
    """Read access to the counters of the rate limits in Redis."""
    async with open_services(loaded, add_redis) as running:
        yield Inspector(running.get(Redis), loaded.settings.bot)


async def reset_limits(loaded: Loaded, subject: Subject, policy: str | None, reason: str = "") -> list[Key]:
    """Reset the limits of ``subject`` (of all policies without ``policy``) and audit it; returns the reset keys.

    Raises Unreachable if a store does not answer.
    """
    async with open_services(loaded, add_redis, add_mongo, add_audit) as running:
        inspector = Inspector(running.get(Redis), loaded.settings.bot)
        return await reset(inspector, running.get(Auditor), running.get(Clock), subject, policy, reason=reason)
