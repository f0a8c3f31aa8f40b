"""What `botctl settings` works with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from botctl.core.config.loading import Loaded
from botctl.core.contracts.protocols import GuildSettingsStore
from botctl.ratelimit.inspect import Inspector
from botctl.run.oneshot.services import opened
from botctl.run.providers import add_audit, add_guilds, add_mongo, add_redis, add_relay

AskCommands = Callable[[], Awaitable[list[str]]]


@asynccontextmanager
async def guild_settings(loaded: Loaded) -> AsyncIterator[tuple[GuildSettingsStore, AskCommands]]:
    """The settings of guilds, and what tells the commands that processes of the bot have declared (none ever ran: []).

    A change is audited, and told to the processes that run.
    """
    async with opened(loaded, add_redis, add_mongo, add_relay, add_audit, add_guilds) as running:
        limits = Inspector(running.get(Redis), loaded.settings.bot)
        yield running.get(GuildSettingsStore), limits.commands
