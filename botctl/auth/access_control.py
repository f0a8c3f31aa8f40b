"""The current grants, in memory, for every decision of the process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from botctl.auth.settings_grants import settings_grants
from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.access import AccessControl, AccessDecision, AccessRules, Need, Requester, decide


@dataclass(eq=False)
class CurrentAccess:
    """`AccessControl` by ``rules``, which are replaced as a whole."""

    rules: AccessRules
    clock: Clock

    def decide(self, requester: Requester, need: Need, guild: str | None = None) -> AccessDecision:
        return decide(self.rules, requester, need, guild, self.clock.now())


@asynccontextmanager
async def access_control(*, settings: Settings, clock: Clock) -> AsyncIterator[AccessControl]:
    yield CurrentAccess(AccessRules(settings_grants(settings.roles)), clock)
