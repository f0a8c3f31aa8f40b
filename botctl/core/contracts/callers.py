"""Who uses the API: the holder of a key, or a person who has signed in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from botctl.core.contracts.access import AccessControl, AccessRules, Requester, held_permissions, held_roles
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
    guilds = guilds_of(access.rules, caller)
    return frozenset(guild for guild in guilds if access.decide(caller.requester(guild), need, guild).allowed)


def guilds_of(rules: AccessRules, caller: Caller) -> list[str]:
    """The guilds in which ``caller`` could have a right, in order."""
    return sorted(rules.guilds_of(caller.requester().holder).union(caller.guilds()))


def rights_of(rules: AccessRules, caller: Caller, now: datetime) -> str:
    """The fingerprint of everything that ``caller`` may do now, and of the roles by which it may."""
    held = {}
    for guild in (None, *guilds_of(rules, caller)):
        requester = caller.requester(guild)
        rights = held_roles(rules, requester, guild, now) | held_permissions(rules, requester, guild, now)
        if rights:
            held[guild or ""] = sorted(rights)
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()[:32]


def readable_guilds(access: AccessControl, caller: Caller, topic: str) -> Guilds:
    """The guilds whose events of ``topic`` the caller may read; empty if none."""
    return guilds_with(access, caller, f"{EVENTS}{topic}")
