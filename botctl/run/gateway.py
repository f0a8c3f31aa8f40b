"""What a process with the bot does beside it: requests of `botctl gateway restart`, calls of an
uptime service, and Discord's status page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from redis.asyncio import Redis

from botctl.bot.service import BotService
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.services.tasks import Backoff, Tasks
from botctl.logins.requests import RequestQueue
from botctl.logins.token_claim import fingerprint_of
from botctl.monitor.discord_status import discord_status
from botctl.monitor.push import status_push

__all__ = ["discord_status", "gateway_requests", "status_push"]


@asynccontextmanager
async def gateway_requests(
    *, bot: BotService, redis: Redis, discord: DiscordAccess, tasks: Tasks
) -> AsyncIterator[RequestQueue]:
    """Factory of the service: does what is asked of the bot's shards."""
    queue = RequestQueue(redis, fingerprint_of(discord))
    tasks.spawn(partial(queue.serve, bot), name="requests", restart=Backoff())
    yield queue
