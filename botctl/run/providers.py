"""Groups of services that `botctl run` and other commands share.

A group imports its modules when it is added, so a command that only reads the audit log does not load Redis.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from botctl.core.clock import Clock, SystemClock
from botctl.core.config.loading import Loaded
from botctl.core.config.settings import Settings
from botctl.core.contracts.bus import Bus
from botctl.core.processes.runtime import Runtime
from botctl.core.services.registry import Registry

if TYPE_CHECKING:
    from botctl.migrate.files import Migrations
    from botctl.stores.mongo_ping import MongoPing
    from botctl.stores.redis_ping import RedisPing

CHILD_START_S: Final = 40.0  # a child process has 30 s to be ready; 10 s until the one of another process has ended
CHILD_STOP_S: Final = 10.0  # a child process has 5 s to end, then it is killed; 5 s to close our connections to it


IDLE_STOP_S: Final = 1.0  # a service that has nothing to stop


def build_base_registry(
    loaded: Loaded, *, bus: Bus, long_lived: bool = False, exclusive: bool = False, read_only: bool = False
) -> Registry:
    """A registry with the settings, the clock and the bus. For the flags see `roles.build_shared_registry`."""
    registry = Registry(publish=bus.publish)
    registry.value(Settings, loaded.settings)
    registry.value(Bus, bus)
    registry.value(Clock, SystemClock())
    runtime = Runtime(loaded.root, long_lived=long_lived, exclusive=exclusive, read_only=read_only)
    registry.value(Runtime, runtime)
    return registry


def add_redis(registry: Registry, *, start_s: float = CHILD_START_S, ping: RedisPing | None = None) -> None:
    """``ping``: of a process that runs for long."""
    from botctl.stores.redis import redis_store

    registry.add(redis_store, name="redis", ping=ping, start_s=start_s, stop_s=CHILD_STOP_S)


def add_mongo(registry: Registry, *, start_s: float = CHILD_START_S, ping: MongoPing | None = None) -> None:
    """``ping``: of a process that runs for long."""
    from botctl.stores.mongo import mongo_store

    registry.add(mongo_store, name="mongo", ping=ping, start_s=start_s, stop_s=CHILD_STOP_S)


def add_relay(registry: Registry) -> None:
    """The event log, and the relay that sends this process's events to it for other processes. Needs Redis."""
    from botctl.events.log import event_log
    from botctl.events.relay import relay

    registry.add(event_log, name="events")
    registry.add(relay, name="relay")


def add_audit(registry: Registry) -> None:
    """The writer of the audit log. Needs the database."""
    from botctl.audit.writer import audit_writer

    registry.add(audit_writer, name="audit")


def add_guilds(registry: Registry) -> None:
    """The settings of guilds. Needs both stores and the audit log."""
    from botctl.guilds.store import guild_settings_store

    registry.add(guild_settings_store, name="guilds")


def add_keys(registry: Registry) -> None:
    """API keys, and the grants of roles. Needs the database, the event log and the audit log."""
    from botctl.auth.api_keys import api_keys
    from botctl.auth.grants import role_grants
    from botctl.auth.signing import document_signer

    registry.add(document_signer, name="signer")
    registry.add(api_keys, name="keys")
    registry.add(role_grants, name="grants")


def add_access(registry: Registry) -> None:
    """Who may do what. Needs the grants."""
    from botctl.auth.access_control import access_control

    registry.add(access_control, name="access")


def add_sessions(registry: Registry) -> None:
    """The sessions of people. Needs Redis, the signer and the audit log."""
    from botctl.auth.one_time import one_time_tokens
    from botctl.auth.sessions import sessions

    registry.add(one_time_tokens, name="tokens", stop_s=IDLE_STOP_S)
    registry.add(sessions, name="sessions", stop_s=IDLE_STOP_S)


def add_migrator(registry: Registry) -> None:
    """The migrator, and the lease (a lock that expires) that it must hold. Needs the database and the audit log."""
    from botctl.migrate.runner import migrator
    from botctl.stores.leases import leases

    registry.add(leases, name="leases")
    registry.add(migrator, name="migrate")


def discover_migrations(loaded: Loaded) -> Migrations:
    """The files of the migrations folder, checked. Raises MigrationFaults, which lists all faults in them."""
    from botctl.migrate.files import discover

    return discover(Path(loaded.root, loaded.settings.migrate.folder))
