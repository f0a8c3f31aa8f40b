"""What verbs of a moment work with. Each imports and starts what it uses and nothing else.

Embedded stores are joined where a process has them, else started meanwhile; those that only look from outside start
nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from botctl.core.clock import Clock, SystemClock
from botctl.core.config.loading import Loaded
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore
from botctl.core.processes.runtime import Runtime
from botctl.core.services.registry import Registry, Running
from botctl.run.providers import add_audit, add_guilds, add_keys, add_migrator, add_mongo, add_redis, add_relay, basis

if TYPE_CHECKING:
    from botctl.audit.log import AuditLog, Follower
    from botctl.audit.query import Query
    from botctl.core.contracts.api_keys import ApiKeys
    from botctl.migrate.ledger import Ledger
    from botctl.migrate.runner import Migrator
    from botctl.monitor.reader import Monitor
    from botctl.ratelimit.inspect import Inspector
    from botctl.ratelimit.keys import Key, Subject

AskCommands = Callable[[], Awaitable[list[str]]]


@asynccontextmanager
async def _opened(loaded: Loaded, *parts: Callable[[Registry], None]) -> AsyncIterator[Running]:
    registry = basis(loaded, bus=Bus())
    for add in parts:
        add(registry)
    async with registry.open() as running:
        yield running


@asynccontextmanager
async def guild_settings(loaded: Loaded) -> AsyncIterator[tuple[GuildSettingsStore, AskCommands]]:
    """The settings of guilds, and what tells the commands that processes of the bot have declared (none ever ran: []).

    A change is audited, and told to the processes that run.
    """
    from redis.asyncio import Redis

    from botctl.ratelimit.inspect import Inspector

    async with _opened(loaded, add_redis, add_mongo, add_relay, add_audit, add_guilds) as running:
        limits = Inspector(running.get(Redis), loaded.settings.bot)
        yield running.get(GuildSettingsStore), limits.commands


@asynccontextmanager
async def api_keys(loaded: Loaded) -> AsyncIterator[ApiKeys]:
    """The keys of the realtime server. A change is audited, and told to the processes that run."""
    from botctl.core.contracts.api_keys import ApiKeys

    async with _opened(loaded, add_redis, add_mongo, add_relay, add_audit, add_keys) as running:
        yield running.get(ApiKeys)


@asynccontextmanager
async def ledger(loaded: Loaded) -> AsyncIterator[Ledger]:
    """Which migrations were applied, to be read."""
    from botctl.migrate.ledger import Ledger
    from botctl.stores.mongo import Database

    async with _opened(loaded, add_mongo) as running:
        yield Ledger(running.get(Database))


@asynccontextmanager
async def migrator(loaded: Loaded) -> AsyncIterator[Migrator]:
    """What does migrations, one process at a time."""
    from botctl.migrate.runner import Migrator

    async with _opened(loaded, add_mongo, add_audit, add_migrator) as running:
        yield running.get(Migrator)


@asynccontextmanager
async def audit_log(loaded: Loaded) -> AsyncIterator[AuditLog]:
    """The audit log, to be read."""
    from botctl.audit.log import AuditLog
    from botctl.stores.mongo import Database

    async with _opened(loaded, add_mongo) as running:
        yield AuditLog(running.get(Database))


def audit_follower(loaded: Loaded, query: Query, limit: int) -> Follower:
    """What follows the audit log of the bot from outside. It starts nothing."""
    from botctl.audit.log import Follower
    from botctl.stores.mongo import running_mongo

    return Follower(partial(running_mongo, loaded.settings, Runtime(loaded.root)), query, limit, SystemClock())


@asynccontextmanager
async def rate_limits(loaded: Loaded) -> AsyncIterator[Inspector]:
    """The rate limits, to be looked at."""
    from redis.asyncio import Redis

    from botctl.ratelimit.inspect import Inspector

    async with _opened(loaded, add_redis) as running:
        yield Inspector(running.get(Redis), loaded.settings.bot)


async def reset_limits(loaded: Loaded, subject: Subject, policy: str | None) -> list[Key]:
    """Give ``subject`` its whole allowance back, on the record; returns what was reset.

    Raises:
        Unreachable: a store does not answer.
    """
    from redis.asyncio import Redis

    from botctl.ratelimit.inspect import Inspector, reset

    async with _opened(loaded, add_redis, add_mongo, add_audit) as running:
        inspector = Inspector(running.get(Redis), loaded.settings.bot)
        return await reset(inspector, running.get(Auditor), running.get(Clock), subject, policy)


def monitor(loaded: Loaded) -> Monitor:
    """What looks at the processes of the bot from outside. It starts nothing."""
    from botctl.monitor.reader import Monitor
    from botctl.stores.redis import running_redis

    return Monitor(loaded.settings.bot, partial(running_redis, loaded.settings, Runtime(loaded.root)))
