"""Who uses the API: the holder of a key, or a person who has signed in."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from botctl.core.contracts.access import AccessControl, Requester
from botctl.core.contracts.audit_entry import Principal
from botctl.core.contracts.permissions import EVENTS


class Caller(Protocol):
    """A client of the API. `ApiKey` is one; a session of a signed-in person is another."""

    @property
    def id(self) -> str:
        """Of the key; for a session ``session:<its public id>``."""
        ...

    @property
    def expires_at(self) -> datetime | None: ...

    def requester(self, guild: str | None = None) -> Requester:
        """The caller as who asks in ``guild``: a person has the Discord roles that they have there."""
        ...

    def guilds(self) -> Collection[str]:
        """The guilds in which it could have a right by itself: that of a key, those of a person's member roles."""
        ...

    def principal(self) -> Principal:
        """The caller as the actor of an audit entry."""
        ...


Guilds = frozenset[str] | None
"""Where something counts: in these guilds only. None: in all of them, and for the bot."""


def guilds_with(access: AccessControl, caller: Caller, need: str) -> Guilds:
    """Where ``caller`` has the permission ``need``; empty if nowhere."""
    if access.decide(caller.requester(), need).allowed:
        return None
    granted = access.rules.guilds_of(caller.requester().holder)
    guilds = granted.union(caller.guilds())
    return frozenset(guild for guild in guilds if access.decide(caller.requester(guild), need, guild).allowed)


def readable_guilds(access: AccessControl, caller: Caller, topic: str) -> Guilds:
    """The guilds whose events of ``topic`` the caller may read; empty if none."""
    return guilds_with(access, caller, f"{EVENTS}{topic}")
