"""The current grants, in memory, for every decision of the process.

They are read again when an event says that they changed, and every `RELOAD_S`. While MongoDB does not answer, the last
ones stay; before the first answer, those of the settings.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from botctl.auth.settings_grants import settings_grants
from botctl.core.clock import Clock
from botctl.core.config.settings import Settings
from botctl.core.contracts.access import (
    AccessControl,
    AccessDecision,
    AccessRules,
    Need,
    Requester,
    RoleGrant,
    decide,
)
from botctl.core.contracts.event_log import EventLog, Position
from botctl.core.contracts.events import RoleGranted, RoleRevoked
from botctl.core.contracts.grants import GrantStore
from botctl.core.errors import STORE_FAULTS
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks

RELOAD_S = 4.0  # so that a change is noticed within 5 s without events
_FIRST_LOAD_S = 2.0  # how long the start waits for the grants
_READ_WAIT_S = 1.0  # how long one read waits for an event
_RESTART = Backoff(first_s=0.1, limit_s=2.0)
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class CurrentAccess:
    """`AccessControl`. ``fixed``: the grants of the settings. The rules are replaced as a whole."""

    fixed: tuple[RoleGrant, ...]
    clock: Clock
    rules: AccessRules = field(init=False)

    def __post_init__(self) -> None:
        self.rules = AccessRules(self.fixed)

    def decide(self, requester: Requester, need: Need, guild: str | None = None) -> AccessDecision:
        return decide(self.rules, requester, need, guild, self.clock.now())

    async def reload(self, grants: GrantStore) -> None:
        """Take over what the store has now. Raises Unreachable."""
        rules = AccessRules(self.fixed + tuple(await grants.list()))
        if rules != self.rules:
            self.rules = rules


@asynccontextmanager
async def access_control(
    *, settings: Settings, clock: Clock, grants: GrantStore, log: EventLog, tasks: Tasks
) -> AsyncIterator[AccessControl]:
    access = CurrentAccess(settings_grants(settings.roles), clock)
    outage = Outage(tasks, _log, Backoff(first_s=0.5, limit_s=RELOAD_S))
    try:
        async with LoopTimeout(_FIRST_LOAD_S):
            await access.reload(grants)
    except (*STORE_FAULTS, TimeoutError) as error:
        why = str(error) or "no answer in time"
        _log.warning("the grants of roles could not be read, so those of the settings count: %s", why)

    async def reload_regularly() -> None:
        while True:
            await asyncio.sleep(RELOAD_S)
            try:
                await access.reload(grants)
            except STORE_FAULTS as error:
                await outage.begin_and_pause(f"the grants of roles cannot be read; the last ones count: {error}", error)
            else:
                outage.end()

    async def follow_changes() -> None:
        """Reload at each event of a change. Without Redis there is none; then the regular reload finds the change."""
        while True:
            try:
                await _reload_at_events(access, grants, log)
            except STORE_FAULTS as error:
                _log.info("changes of grants are noticed within %g s, and not at once: %s", RELOAD_S, error)
                await asyncio.sleep(RELOAD_S)

    tasks.spawn(reload_regularly, name="grants", restart=_RESTART)
    tasks.spawn(follow_changes, name="changes of grants", restart=_RESTART)
    yield access


async def _reload_at_events(access: CurrentAccess, grants: GrantStore, log: EventLog) -> None:
    """Reload at each event of a change, for ever. Raises Unreachable if the log or the store cannot be read."""
    position: Position = await log.position(RoleGranted.topic)
    await access.reload(grants)  # what changed before that position
    while True:
        page = await log.read(RoleGranted.topic, position, wait_s=_READ_WAIT_S)
        position = page.position
        types = {entry.envelope.get("type") for entry in page.entries}
        if types & {RoleGranted.type, RoleRevoked.type} or not page.complete:
            await access.reload(grants)
