"""What a `botctl run` of given roles consists of: every service of it is named here, or in a group of `providers`.

Read it from top to bottom. What a service needs stands in the annotations of its factory, and the registry finds the
order. A role's modules are imported when the role is added: a realtime server loads no disnake, a bot no web server.
"""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from redis.asyncio import Redis

from botctl.audit.recorder import audit_recorder
from botctl.core.config.loading import Loaded
from botctl.core.config.settings import Settings, uses_sandbox
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.jobs import Jobs
from botctl.core.contracts.throttle import parse
from botctl.core.errors import ConfigError
from botctl.core.services.registry import Registry, load_factory
from botctl.core.signatures import Factory
from botctl.core.telemetry.metrics import process_metrics
from botctl.events.relay import Relay
from botctl.jobs.store import job_store
from botctl.migrate.files import Migrations
from botctl.migrate.runner import Migrated, migrated
from botctl.monitor.writer import snapshots
from botctl.ratelimit.limiter import rate_limiter
from botctl.run.moved_modules import keep_old_names
from botctl.run.providers import (
    CHILD_STOP_S,
    add_audit,
    add_guilds,
    add_keys,
    add_migrator,
    add_mongo,
    add_redis,
    add_relay,
    base_registry,
    migrations_of,
)
from botctl.sandbox.process.service import sandbox
from botctl.stores.mongo import Database

if TYPE_CHECKING:
    from botctl.bot.loader import Catalog

BOT_START_S = 60.0  # Discord sends large bots their guilds one by one
JOBS_STOP_S = 10.0  # runs were given time to end before; now they are cancelled, and the lease is let go


class ProcessRole(enum.StrEnum):
    """What a process does. A plain `botctl run` does all of `DEFAULT_ROLES`.

    ``STORES`` only keeps the embedded parts running (the stores, and the sandbox where there is no token), so that
    bots can come and go without them.
    """

    BOT = "bot"
    REALTIME = "realtime"
    JOBS = "jobs"
    STORES = "stores"


DEFAULT_ROLES = (ProcessRole.BOT, ProcessRole.REALTIME, ProcessRole.JOBS)


def run_registry(
    loaded: Loaded, roles: Collection[ProcessRole], *, bus: Bus, skip_broken: bool = False
) -> tuple[Registry, tuple[type, ...]]:
    """The services of a `botctl run` that is ``roles``, and the types of those to open.

    Raises:
        ConfigError: a service of the settings cannot be loaded, files of the commands or migrations are broken, or
            there is nothing embedded that `ProcessRole.STORES` could keep.
    """
    registry = shared_registry(loaded, bus=bus, long_lived=True, exclusive=ProcessRole.STORES in roles)
    registry.add(process_metrics, name="metrics")
    wanted: list[type] = [
        Relay,
        registry.add(partial(snapshots, roles=roles), name="monitor"),
        registry.add(audit_recorder, name="recorder"),
    ]
    if ProcessRole.STORES in roles:
        _check_that_something_is_embedded(loaded.settings)
        wanted += [Redis, Database, DiscordAccess]
    if set(roles) - {ProcessRole.STORES}:
        wanted.append(add_migrated(registry, loaded, apply=loaded.settings.migrate.on_start))
        wanted += add_operators_own(registry, loaded)
    if {ProcessRole.BOT, ProcessRole.JOBS} & set(roles):
        catalog = load_commands(registry, loaded, skip_broken=skip_broken)
        wanted += _add_bot(registry, loaded, catalog) if ProcessRole.BOT in roles else []
        wanted += _add_jobs(registry, catalog) if ProcessRole.JOBS in roles else []
    if ProcessRole.REALTIME in roles:
        wanted.append(_add_realtime(registry, loaded))
    return registry, tuple(wanted)


def _check_that_something_is_embedded(settings: Settings) -> None:
    if settings.redis.url and settings.mongo.url and settings.discord.token:
        raise ConfigError(
            "There is nothing for `--only stores` to keep: redis.url, mongo.url and discord.token name real servers.",
            hint="Leave this process out; the others need no embedded stores.",
        )


def shared_registry(loaded: Loaded, *, bus: Bus, long_lived: bool = False, exclusive: bool = False) -> Registry:
    """What all roles share: stores, limits, audit, guild settings, the way to Discord. Flags as for `base_registry`."""
    settings = loaded.settings
    registry = base_registry(loaded, bus=bus, long_lived=long_lived, exclusive=exclusive)
    for add in (add_redis, add_mongo, add_relay, add_audit, add_guilds, add_keys, add_migrator):
        add(registry)
    registry.add(rate_limiter, name="limits")
    registry.add(job_store, name="job book")
    if settings.discord.token is not None:
        registry.value(DiscordAccess, DiscordAccess(settings.discord.token.get_secret_value()))
    elif uses_sandbox(settings):
        registry.add(sandbox, name="sandbox", stop_s=CHILD_STOP_S)
    return registry


def add_migrated(registry: Registry, loaded: Loaded, *, apply: bool) -> type:
    """What all but the stores wait for: that the database has the shape which the files expect. It takes its time."""
    registry.value(Migrations, migrations_of(loaded))
    return registry.add(partial(migrated, apply=apply), name="migrations", depends_on=[Relay], start_s=math.inf)


def add_operators_own(registry: Registry, loaded: Loaded) -> list[type]:
    """The factories named under ``[services]``; they may be in modules of the project."""
    keep_old_names()
    if loaded.settings.services and str(loaded.root) not in sys.path:
        sys.path.append(str(loaded.root))  # at the end: a project's random.py does not hide the library's
    return [
        registry.add(_own(name, path), name=name, depends_on=[Migrated])
        for name, path in loaded.settings.services.items()
    ]


def _own(name: str, path: str) -> Factory:
    try:
        return load_factory(path)
    except ConfigError as error:
        raise ConfigError(f"services.{name}: {error}", hint=error.hint) from error


def load_commands(registry: Registry, loaded: Loaded, *, skip_broken: bool) -> Catalog:
    """The files of the commands folder, held against what the registry has."""
    from botctl.bot.compiled import Checks
    from botctl.bot.loader import load
    from botctl.jobs.builtin import SHIPPED

    keep_old_names()
    settings = loaded.settings
    own = {job.name for job in SHIPPED}
    checks = Checks(set(settings.roles), parse(settings.commands.throttle), registry.provides, own)
    return load(Path(loaded.root, settings.commands.folder), checks, skip_broken=skip_broken)


def _add_bot(registry: Registry, loaded: Loaded, catalog: Catalog) -> list[type]:
    """The bot and its commands."""
    from botctl.bot.loader import Catalog
    from botctl.bot.service import BotService, bot_service

    registry.value(Catalog, catalog)
    bot = registry.add(
        bot_service,
        name="bot",
        depends_on={*catalog.needs, Migrated},
        start_s=BOT_START_S,
        stop_s=loaded.settings.shutdown.drain_s + 5.0,
        ping=BotService.ping,
        drain=BotService.drain,
    )
    return [bot]


def _add_jobs(registry: Registry, catalog: Catalog) -> list[type]:
    """The shipped jobs and the operator's, and what schedules them."""
    from botctl.jobs.builtin import SHIPPED
    from botctl.jobs.scheduler import Scheduler, job_scheduler

    jobs = Jobs((*SHIPPED, *catalog.jobs))
    registry.value(Jobs, jobs)
    needs = {need for job in jobs for need in job.dependencies}
    scheduler = partial(job_scheduler, complete=not catalog.left_out)
    service = registry.add(
        scheduler,
        name="jobs",
        depends_on={*needs, Migrated},
        stop_s=JOBS_STOP_S,
        ping=Scheduler.ping,
        drain=Scheduler.drain,
    )
    return [service]


def _add_realtime(registry: Registry, loaded: Loaded) -> type:
    """The server that streams events."""
    from botctl.realtime.server import GRACE_S, Realtime, realtime_server

    stop_s = loaded.settings.realtime.drain_s + GRACE_S + 2.0
    return registry.add(
        realtime_server, name="realtime", depends_on=[Migrated, Relay], stop_s=stop_s, ping=Realtime.ping
    )
