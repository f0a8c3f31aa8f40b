"""The services of a `botctl run`, put together by its roles.

Every service of a bot is named here or in `botctl.run.providers`, and nowhere else: what each one needs stands in the
annotations of its factory, and the registry finds the order.
"""

from __future__ import annotations

import enum
import logging
import math
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from botctl.audit.recorder import audit_recorder
from botctl.core.config.loading import Loaded
from botctl.core.config.settings import Settings, uses_sandbox
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.jobs import Job, Jobs
from botctl.core.contracts.throttle import parse
from botctl.core.errors import ConfigError, MigrationFaults, UsageError
from botctl.core.services.dependencies import Factory
from botctl.core.services.registry import Registry, load_factory
from botctl.core.telemetry.metrics import process_metrics
from botctl.events.relay import Relay
from botctl.jobs.store import job_book
from botctl.migrate.files import Migrations
from botctl.migrate.runner import Migrated, migrated
from botctl.monitor.writer import snapshots
from botctl.ratelimit.limiter import rate_limiter
from botctl.run.providers import (
    CHILD_STOP_S,
    add_audit,
    add_guilds,
    add_keys,
    add_migrator,
    add_mongo,
    add_redis,
    add_relay,
    basis,
    migrations_of,
)
from botctl.sandbox.process.service import sandbox
from botctl.stores.mongo import Database

if TYPE_CHECKING:
    from botctl.bot.loader import Catalog
    from botctl.jobs.admin import JobDesk

BOT_START_S = 60.0  # Discord sends large bots their guilds one by one
JOBS_STOP_S = 10.0  # runs were given time to end before; now they are cancelled, and the lease is let go
_log = logging.getLogger(__name__)


class Role(enum.StrEnum):
    """What a process does. A plain `botctl run` does all of `DEFAULT_ROLES`.

    ``STORES`` only keeps the embedded parts running (the stores, and the sandbox where there is no token), so that
    bots can come and go without them.
    """

    BOT = "bot"
    REALTIME = "realtime"
    JOBS = "jobs"
    STORES = "stores"


DEFAULT_ROLES = (Role.BOT, Role.REALTIME, Role.JOBS)


def compose(
    loaded: Loaded, roles: Collection[Role], *, bus: Bus, skip_broken: bool = False
) -> tuple[Registry, tuple[type, ...]]:
    """The services of a `botctl run` that is ``roles``, and the types of those to open.

    Raises:
        ConfigError: a service of the settings cannot be loaded, files of the commands or migrations are broken, or
            there is nothing embedded that `Role.STORES` could keep.
    """
    registry = assemble(loaded, bus=bus, lasting=True, owning=Role.STORES in roles)
    registry.add(process_metrics, name="metrics")
    wanted: list[type] = [
        Relay,
        registry.add(partial(snapshots, roles=roles), name="monitor"),
        registry.add(audit_recorder, name="recorder"),
    ]
    if Role.STORES in roles:
        _check_that_something_is_embedded(loaded.settings)
        wanted += [Redis, Database, DiscordAccess]
    if set(roles) - {Role.STORES}:
        wanted.append(_add_migrated(registry, loaded, apply=loaded.settings.migrate.on_start))
        wanted += _add_operators_own(registry, loaded)
    if {Role.BOT, Role.JOBS} & set(roles):
        catalog = _load_commands(registry, loaded, skip_broken=skip_broken)
        wanted += _add_bot(registry, loaded, catalog) if Role.BOT in roles else []
        wanted += _add_jobs(registry, catalog) if Role.JOBS in roles else []
    if Role.REALTIME in roles:
        wanted.append(_add_realtime(registry, loaded))
    return registry, tuple(wanted)


def _check_that_something_is_embedded(settings: Settings) -> None:
    if settings.redis.url and settings.mongo.url and settings.discord.token:
        raise ConfigError(
            "There is nothing for `--only stores` to keep: redis.url, mongo.url and discord.token name real servers.",
            hint="Leave this process out; the others need no embedded stores.",
        )


def assemble(loaded: Loaded, *, bus: Bus, lasting: bool = False, owning: bool = False) -> Registry:
    """What all roles share: stores, limits, audit, guild settings, the way to Discord. Flags as for `basis`."""
    settings = loaded.settings
    registry = basis(loaded, bus=bus, lasting=lasting, owning=owning)
    for add in (add_redis, add_mongo, add_relay, add_audit, add_guilds, add_keys, add_migrator):
        add(registry)
    registry.add(rate_limiter, name="limits")
    registry.add(job_book, name="job book")
    if settings.discord.token is not None:
        registry.value(DiscordAccess, DiscordAccess(settings.discord.token.get_secret_value()))
    elif uses_sandbox(settings):
        registry.add(sandbox, name="sandbox", stop_s=CHILD_STOP_S)
    return registry


def _add_migrated(registry: Registry, loaded: Loaded, *, apply: bool) -> type:
    """What all but the stores wait for: that the database has the shape which the files expect. It takes its time."""
    registry.value(Migrations, migrations_of(loaded))
    return registry.add(partial(migrated, apply=apply), name="migrations", also=[Relay], start_s=math.inf)


def _add_operators_own(registry: Registry, loaded: Loaded) -> list[type]:
    """The factories named under ``[services]``; they may be in modules of the project."""
    if loaded.settings.services and str(loaded.root) not in sys.path:
        sys.path.append(str(loaded.root))  # at the end: a project's random.py does not hide the library's
    return [
        registry.add(_own(name, path), name=name, also=[Migrated]) for name, path in loaded.settings.services.items()
    ]


def _own(name: str, path: str) -> Factory:
    try:
        return load_factory(path)
    except ConfigError as error:
        raise ConfigError(f"services.{name}: {error}", hint=error.hint) from error


def _load_commands(registry: Registry, loaded: Loaded, *, skip_broken: bool) -> Catalog:
    """The files of the commands folder, held against what the registry has."""
    from botctl.bot.compiled import Checks
    from botctl.bot.loader import load
    from botctl.jobs.builtin import SHIPPED

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
        also={*catalog.needs, Migrated},
        start_s=BOT_START_S,
        stop_s=loaded.settings.shutdown.drain_s + 5.0,
        ping=BotService.ping,
    )
    return [bot]


def _add_jobs(registry: Registry, catalog: Catalog) -> list[type]:
    """The shipped jobs and the operator's, and what schedules them."""
    from botctl.jobs.builtin import SHIPPED
    from botctl.jobs.scheduler import Scheduler, job_scheduler

    jobs = Jobs((*SHIPPED, *catalog.jobs))
    registry.value(Jobs, jobs)
    needs = {need for job in jobs for need in job.needs}
    scheduler = partial(job_scheduler, complete=not catalog.left_out)
    return [registry.add(scheduler, name="jobs", also={*needs, Migrated}, stop_s=JOBS_STOP_S, ping=Scheduler.ping)]


def _add_realtime(registry: Registry, loaded: Loaded) -> type:
    """The server that streams events."""
    from botctl.realtime.server import GRACE_S, Realtime, realtime_server

    stop_s = loaded.settings.realtime.drain_s + GRACE_S + 2.0
    return registry.add(realtime_server, name="realtime", also=[Migrated, Relay], stop_s=stop_s, ping=Realtime.ping)


@asynccontextmanager
async def job_desk(loaded: Loaded, *, run: str | None = None) -> AsyncIterator[JobDesk]:
    """What looks after the jobs from a terminal; able to run the job ``run`` itself, if no migration is pending.

    Files that cannot be loaded are told in the log, and left out.

    Raises:
        UsageError: there is no job of that name.
        ConfigError: there is none in the files that can be loaded.
    """
    from botctl.jobs.admin import JobDesk, job_desk

    registry = assemble(loaded, bus=Bus())
    jobs, complete = _jobs_that_load(registry, loaded)
    registry.value(Jobs, jobs)
    also: tuple[Any, ...] = ()
    hindrance: ConfigError | None = None
    if run is not None:
        needs = _job_to_run(jobs, run, complete=complete).needs
        try:
            also = (*needs, _add_migrated(registry, loaded, apply=False))
        except MigrationFaults as error:
            hindrance = error
    registry.add(partial(job_desk, hindrance=hindrance), name="desk", also=also)
    async with registry.open(JobDesk) as running:
        yield running.get(JobDesk)


def _jobs_that_load(registry: Registry, loaded: Loaded) -> tuple[Jobs, bool]:
    """The jobs of all files that can be loaded, and whether those are all files. What is wrong is told in the log."""
    from botctl.jobs.builtin import SHIPPED

    try:
        _add_operators_own(registry, loaded)
        catalog = _load_commands(registry, loaded, skip_broken=True)
    except ConfigError as error:
        _log.warning("left out: %s", error)
        return SHIPPED, False
    return Jobs((*SHIPPED, *catalog.jobs)), not catalog.left_out


def _job_to_run(jobs: Jobs, name: str, *, complete: bool) -> Job:
    try:
        return jobs.named(name)
    except UsageError as error:
        if complete:
            raise
        sentence = f"there is no job {name[:40]!r} in the files that can be loaded."
        raise ConfigError(sentence, hint="Correct those that were left out; `botctl run` names them all.") from error
