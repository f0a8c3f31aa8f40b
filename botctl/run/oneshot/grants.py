"""Services of `botctl auth grant`, `revoke`, `who` and `explain`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from botctl.auth.settings_grants import settings_grants
from botctl.core.config.loading import Loaded
from botctl.core.contracts.access import AccessRules
from botctl.core.contracts.api_keys import ApiKeys
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.grants import GrantStore
from botctl.core.contracts.invocation import policy_name
from botctl.run.oneshot.services import open_services
from botctl.run.providers import add_audit, add_keys, add_mongo, add_redis, add_relay
from botctl.run.roles import build_shared_registry, load_commands


class AccessAdmin(NamedTuple):
    """What an operator works with. Changes are audited and sent to the running processes."""

    grants: GrantStore
    keys: ApiKeys
    loaded: Loaded

    async def rules(self) -> AccessRules:
        """The grants of the settings and of the store, as they are now."""
        return AccessRules(settings_grants(self.loaded.settings.roles) + tuple(await self.grants.list()))


@asynccontextmanager
async def open_access_admin(loaded: Loaded) -> AsyncIterator[AccessAdmin]:
    async with open_services(loaded, add_redis, add_mongo, add_relay, add_audit, add_keys) as running:
        yield AccessAdmin(running.get(GrantStore), running.get(ApiKeys), loaded)


def command_roles(loaded: Loaded) -> Mapping[str, tuple[str, ...]]:
    """The roles that each command of the project's files asks for, by its name; files with faults are left out."""
    registry = build_shared_registry(loaded, bus=Bus())
    catalog = load_commands(registry, loaded, skip_broken=True, provides=lambda _: True)
    return {policy_name(*key): roles for key, roles in catalog.command_roles.items()}
