"""The services of each role of `botctl run`; those that other commands use too are in `providers`.

The annotations of a service's factory say what it needs, and the registry finds the order. A role's modules are
imported when the role is added: a realtime server does not load disnake.
"""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from botctl.audit.recorder import audit_recorder
from botctl.bot.gateway.stored_sessions import stored_sessions
from botctl.core.clock import SystemClock
from botctl.core.config.loading import Loaded
from botctl.core.config.settings import Settings, uses_sandbox
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.command_access import KnownCommands
from botctl.core.contracts.discord_access import DiscordAccess, TokenFound
from botctl.core.contracts.health import HealthSource
from botctl.core.contracts.jobs import Jobs
from botctl.core.contracts.logins import LoginGate
from botctl.core.contracts.permissions import BUILT_IN_ROLES
from botctl.core.contracts.throttle import parse
from botctl.core.errors import ConfigError, together
from botctl.core.processes.runtime import Runtime
from botctl.core.services.registry import Registry, load_factory
from botctl.core.signatures import Factory
from botctl.core.telemetry.metrics import process_metrics
from botctl.events.relay import Relay
from botctl.jobs.store import job_store
from botctl.logins.history import StartHistory
from botctl.logins.service import START_S, login_gate, ping_gate
from botctl.migrate.files import Migrations
from botctl.migrate.runner import Migrated, migrated
from botctl.monitor.health_watch import STOP_S as HEALTH_STOP_S
from botctl.monitor.health_watch import health_watch
from botctl.monitor.own_health import OwnHealth
from botctl.monitor.writer import SnapshotWriter, snapshots
from botctl.ratelimit.limiter import rate_limiter
from botctl.run.moved_modules import alias_moved_modules
from botctl.run.providers import (
    CHILD_START_S,
    CHILD_STOP_S,
    IDLE_STOP_S,
    add_access,
    add_audit,
    add_guilds,
    add_keys,
    add_migrator,
    add_mongo,
    add_redis,
    add_relay,
    add_sessions,
    build_base_registry,
    discover_migrations,
)
from botctl.sandbox.process.service import sandbox
from botctl.stores.mongo import Database
from botctl.stores.mongo_ping import MongoPing
from botctl.stores.redis_ping import RedisPing

if TYPE_CHECKING:
    from botctl.bot.catalog import Catalog

JOBS_STOP_S = 10.0  # to cancel the runs that did not finish in time, and to release the lease


class ProcessRole(enum.StrEnum):
    """What a process does. `botctl run` without ``--only`` has the `DEFAULT_ROLES`.

    ``STORES`` only runs the embedded parts (the stores, and the sandbox if no token is set). They run on while bots
    restart.
    """

    BOT = "bot"
    REALTIME = "realtime"
    JOBS = "jobs"
    WEB = "web"
    STORES = "stores"


DEFAULT_ROLES = (ProcessRole.BOT, ProcessRole.REALTIME, ProcessRole.JOBS, ProcessRole.WEB)


def build_run_registry(
    loaded: Loaded,
    roles: Collection[ProcessRole],
    *,
    bus: Bus,
    skip_broken: bool = False,
    history: StartHistory | None = None,
    ended_by_person: Callable[[], bool] = lambda: False,
    health: OwnHealth | None = None,
) -> tuple[Registry, tuple[type, ...]]:
    """The registry of a `botctl run` with ``roles``, and the types of the services to start.

    ``history``: the starts before this one, which the logins wait for. ``ended_by_person``: asked at the stop; then no
    one expects the roles any more. ``health``: of this process.
    ``skip_broken``: as in `load_commands`. Raises ConfigError if a service of the settings cannot be loaded, a command
    or migration file is broken, or `ProcessRole.STORES` has no embedded part to keep running.
    """
    exclusive = ProcessRole.STORES in roles
    registry = build_shared_registry(
        loaded,
        bus=bus,
        long_lived=True,
        exclusive=exclusive,
        roles=roles,
        ended_by_person=ended_by_person,
        health=health,
    )
    registry.value(StartHistory, history or start_history(loaded, roles))
    service_types: list[type] = [
        Relay,
        SnapshotWriter,
        HealthSource,
        registry.add(audit_recorder, name="recorder"),
    ]
    if ProcessRole.STORES in roles:
        _require_embedded_part(loaded.settings)
        service_types += [Redis, Database, DiscordAccess]
    registry.value(KnownCommands, KnownCommands())
    errors: list[ConfigError] = []  # of the project's files; a person sees all of them at once
    if set(roles) - {ProcessRole.STORES}:
        gate = partial(add_migration_gate, registry, loaded, apply=loaded.settings.migrate.on_start)
        service_types += _attempt(lambda: [gate()], errors)
        count = len(errors)
        service_types += _attempt(lambda: add_custom_services(registry, loaded), errors)
        provides = registry.provides if len(errors) == count else lambda _: True  # the missing service is reported
    if {ProcessRole.BOT, ProcessRole.JOBS} & set(roles):
        load = partial(load_commands, registry, loaded, skip_broken=skip_broken, provides=provides)
        service_types += _attempt(lambda: _add_catalog(registry, loaded, roles, load()), errors)
    if errors:
        raise together(errors)
    if ProcessRole.REALTIME in roles:
        service_types.append(_add_realtime(registry, loaded))
    if ProcessRole.WEB in roles:
        service_types.append(_add_web(registry))
    return registry, tuple(service_types)


def start_history(loaded: Loaded, roles: Collection[ProcessRole]) -> StartHistory:
    """The starts of processes of this project with ``roles``."""
    return StartHistory(Runtime(loaded.root).folder, roles, SystemClock())


def _attempt(add: Callable[[], list[type]], errors: list[ConfigError]) -> list[type]:
    """Return what ``add`` returns; nothing if it raises a ConfigError, which is added to ``errors``."""
    try:
        return add()
    except ConfigError as error:
        errors.append(error)
        return []


def _add_catalog(registry: Registry, loaded: Loaded, roles: Collection[ProcessRole], catalog: Catalog) -> list[type]:
    """Add the bot, the jobs or both, which the command files are for."""
    registry.value(KnownCommands, KnownCommands(catalog.command_roles), replace=True)
    bot = _add_bot(registry, loaded, catalog) if ProcessRole.BOT in roles else []
    return bot + (_add_jobs(registry, catalog) if ProcessRole.JOBS in roles else [])


def _require_embedded_part(settings: Settings) -> None:
    if settings.redis.url and settings.mongo.url and settings.discord.token:
        raise ConfigError(
            "`--only stores` has nothing to run: redis.url, mongo.url and discord.token all name real servers.",
            hint="Do not start this process. `botctl run` works without it.",
        )


def build_shared_registry(
    loaded: Loaded,
    *,
    bus: Bus,
    long_lived: bool = False,
    exclusive: bool = False,
    read_only: bool = False,
    roles: Collection[ProcessRole] = (),
    ended_by_person: Callable[[], bool] = lambda: False,
    health: OwnHealth | None = None,
) -> Registry:
    """The services that all roles share.

    ``long_lived``: it is a `botctl run`, with ``roles``. ``exclusive``: it does not join embedded parts of other
    processes, but waits until their owner has ended. ``read_only``: nothing of it will be started; it only says what
    there is. ``ended_by_person`` and ``health``: as in `build_run_registry`.
    """
    settings = loaded.settings
    registry = build_base_registry(loaded, bus=bus, long_lived=long_lived, exclusive=exclusive, read_only=read_only)
    start_s = math.inf if exclusive else CHILD_START_S  # it may wait for another owner to end
    add_redis(registry, start_s=start_s, ping=RedisPing(settings.bot))
    add_mongo(registry, start_s=start_s, ping=MongoPing())
    for add in (add_relay, add_audit, add_guilds, add_keys, add_access, add_sessions, add_migrator):
        add(registry)
    registry.add(process_metrics, name="metrics")
    registry.value(OwnHealth, health or OwnHealth(roles))
    registry.add(partial(snapshots, roles=roles, forgets_roles=ended_by_person), name="monitor")
    registry.add(health_watch, name="health", depends_on=[Relay], stop_s=HEALTH_STOP_S)
    registry.add(rate_limiter, name="limits")
    registry.add(job_store, name="job store")
    if settings.discord.token is not None:
        token = settings.discord.token.get_secret_value()
        registry.value(DiscordAccess, DiscordAccess(token, reread=partial(_reread_token, loaded)))
    elif uses_sandbox(settings):
        registry.add(sandbox, name="sandbox", start_s=start_s, stop_s=CHILD_STOP_S)
    return registry


def _reread_token(loaded: Loaded) -> TokenFound:
    again = loaded.reload()
    token = again.settings.discord.token
    text = None if token is None else token.get_secret_value()
    return TokenFound(text, str(again.origins.get("discord.token", "no source")))


def add_migration_gate(registry: Registry, loaded: Loaded, *, apply: bool) -> type:
    """Add the service `Migrated`, on which all roles but the stores depend. It fails if a migration is pending.

    ``apply``: it applies pending migrations instead.
    """
    registry.value(Migrations, discover_migrations(loaded))
    return registry.add(partial(migrated, apply=apply), name="migrations", depends_on=[Relay], start_s=math.inf)


def add_custom_services(registry: Registry, loaded: Loaded) -> list[type]:
    """Add the factories that the setting ``[services]`` names; they may be in modules of the project."""
    alias_moved_modules()
    if loaded.settings.services and str(loaded.root) not in sys.path:
        sys.path.append(str(loaded.root))  # at the end, so that a project's random.py does not hide the library's
    return [
        registry.add(_load_custom_factory(name, path), name=name, depends_on=[Migrated])
        for name, path in loaded.settings.services.items()
    ]


def _load_custom_factory(name: str, path: str) -> Factory:
    try:
        return load_factory(path)
    except ConfigError as error:
        raise ConfigError(f"services.{name}: {error}", hint=error.hint) from error


def load_commands(
    registry: Registry, loaded: Loaded, *, skip_broken: bool, provides: Callable[[Any], bool] | None = None
) -> Catalog:
    """Load the command files, and check that the services they need exist. ``skip_broken``: leave out broken files.

    ``provides``: whether a service of this type exists; by default, whether ``registry`` has one.
    """
    from botctl.bot.commands.compiled import ValidationContext
    from botctl.bot.loader import load
    from botctl.jobs.builtin import BUILTIN_JOBS

    alias_moved_modules()
    settings = loaded.settings
    builtin_jobs = {job.name for job in BUILTIN_JOBS}
    limits = parse(settings.commands.throttle)
    checks = ValidationContext({*settings.roles, *BUILT_IN_ROLES}, limits, provides or registry.provides, builtin_jobs)
    return load(Path(loaded.root, settings.commands.folder), checks, skip_broken=skip_broken)


def _add_bot(registry: Registry, loaded: Loaded, catalog: Catalog) -> list[type]:
    from botctl.bot.catalog import Catalog
    from botctl.bot.interactions.claims import interaction_claims
    from botctl.bot.service import BotService, bot_service
    from botctl.run.gateway import discord_status, gateway_requests, status_push

    registry.value(Catalog, catalog)
    registry.add(interaction_claims, name="interactions")
    registry.add(stored_sessions, name="sessions of the gateway")
    registry.add(login_gate, key=LoginGate, name="logins", start_s=START_S, ping=ping_gate)
    bot = registry.add(
        bot_service,
        name="bot",
        depends_on={*catalog.dependencies, Migrated},
        start_s=math.inf,  # logins may have to wait; without a connection it gives up by itself
        stop_s=loaded.settings.shutdown.drain_s + 5.0,
        ping=BotService.ping,
        drain=BotService.drain,
    )
    types = [bot, registry.add(gateway_requests, name="gateway")]
    if loaded.settings.health.push_url is not None:
        types.append(registry.add(status_push, name="push", stop_s=IDLE_STOP_S))
    if loaded.settings.health.discord_status:
        types.append(registry.add(discord_status, name="status page", stop_s=IDLE_STOP_S))
    return types


def _add_jobs(registry: Registry, catalog: Catalog) -> list[type]:
    """Add the built-in jobs, the project's jobs, and the scheduler."""
    from botctl.jobs.builtin import BUILTIN_JOBS
    from botctl.jobs.scheduler import Scheduler, job_scheduler

    jobs = Jobs((*BUILTIN_JOBS, *catalog.jobs))
    registry.value(Jobs, jobs)
    needs = {need for job in jobs for need in job.dependencies}
    scheduler = partial(job_scheduler, complete=not catalog.has_skipped_files)
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
    from botctl.run.realtime import CLOSE_GRACE_S, RealtimeServer, add_controls, realtime_server

    add_controls(registry)
    stop_s = loaded.settings.realtime.drain_s + CLOSE_GRACE_S + 2.0
    return registry.add(
        realtime_server, name="realtime", depends_on=[Migrated, Relay], stop_s=stop_s, ping=RealtimeServer.ping
    )


def _add_web(registry: Registry) -> type:
    from botctl.audit.pages import audit_reader
    from botctl.web.server import STOP_S, WebServer, web_server

    registry.add(audit_reader, name="audit log", stop_s=IDLE_STOP_S)
    return registry.add(web_server, name="web", depends_on=[Migrated, Relay], stop_s=STOP_S, ping=WebServer.ping)
