"""Services of `botctl settings`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from botctl.core.config.loading import Loaded
from botctl.core.contracts.protocols import GuildSettingsStore
from botctl.ratelimit.inspect import Inspector
from botctl.run.oneshot.services import open_services
from botctl.run.providers import add_audit, add_guilds, add_mongo, add_redis, add_relay

ListCommands = Callable[[], Awaitable[list[str]]]


@asynccontextmanager
async def open_guild_settings(loaded: Loaded) -> AsyncIterator[tuple[GuildSettingsStore, ListCommands]]:
    """The settings of guilds, and a function that lists the bot's commands ([] if the bot has never run).

    Changes are audited and sent to the running processes.
    """
    async with open_services(loaded, add_redis, add_mongo, add_relay, add_audit, add_guilds) as running:
        inspector = Inspector(running.get(Redis), loaded.settings.bot)
        yield running.get(GuildSettingsStore), inspector.commands
