"""The realtime server with what it needs of other features: states for clients to watch, and actions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from botctl.auth.settings_grants import settings_grants
from botctl.auth.states import GrantStates, KeyStates, SessionStates
from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.api_keys import ApiKeys
from botctl.core.contracts.grants import GrantStore
from botctl.core.contracts.jobs import JobStore
from botctl.core.contracts.lease import Leases
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore
from botctl.core.contracts.sessions import SessionStore
from botctl.core.contracts.states import StateSources
from botctl.core.services.registry import Registry
from botctl.jobs.control import StoredJobControl
from botctl.jobs.states import JobStates
from botctl.jobs.store import MongoJobStore
from botctl.monitor.states import MonitorStates
from botctl.ratelimit.control import RedisLimitControl
from botctl.ratelimit.inspect import Inspector
from botctl.ratelimit.states import LimitStates
from botctl.realtime.actions import ActionControls
from botctl.realtime.server import CLOSE_GRACE_S, RealtimeServer, realtime_server
from botctl.stores.mongo import Database

__all__ = ["CLOSE_GRACE_S", "RealtimeServer", "action_controls", "add_controls", "realtime_server", "state_sources"]


def add_controls(registry: Registry) -> None:
    """What the server reads and does for its clients. Needs all shared services."""
    registry.add(action_controls, name="actions")
    registry.add(state_sources, name="states")


@asynccontextmanager
async def state_sources(
    *,
    settings: Settings,
    redis: Redis,
    jobs: JobStore,
    keys: ApiKeys,
    grants: GrantStore,
    sessions: SessionStore,
    clock: Clock,
) -> AsyncIterator[StateSources]:
    """Factory of the service."""
    yield StateSources(
        (
            MonitorStates(redis, settings.bot, clock, settings.health.roles),
            JobStates(jobs),
            LimitStates(Inspector(redis, settings.bot), clock),
            KeyStates(keys),
            GrantStates(settings_grants(settings.roles), grants),
            SessionStates(sessions),
        )
    )


@asynccontextmanager
async def action_controls(
    *,
    settings: Settings,
    redis: Redis,
    database: Database,
    leases: Leases,
    keys: ApiKeys,
    grants: GrantStore,
    guilds: GuildSettingsStore,
    auditor: Auditor,
    clock: Clock,
) -> AsyncIterator[ActionControls]:
    """Factory of the service."""
    yield ActionControls(
        jobs=StoredJobControl(MongoJobStore.of(database), leases, auditor, clock),
        limits=RedisLimitControl(Inspector(redis, settings.bot), auditor, clock),
        keys=keys,
        grants=grants,
        guilds=guilds,
    )
