"""A signed-in person, decisions about them, and the tickets with which persons open realtime connections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from botctl.core.contracts.access import AccessDecision, AccessRules, Holder, HolderType, Need, Requester, decide
from botctl.core.contracts.audit_entry import Principal


@dataclass(frozen=True)
class Person:
    """A caller with Discord roles: by guild, those that the person has there."""

    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    id: str = "session:s"
    expires_at: datetime | None = None

    def requester(self, guild: str | None = None) -> Requester:
        return Requester(Holder(HolderType.USER, "7"), self.roles.get(guild or "", frozenset()).__contains__)

    def guilds(self) -> tuple[str, ...]:
        return tuple(self.roles)

    def principal(self) -> Principal:
        return Principal("user", "7", "ann")


@dataclass
class KnownTickets:
    """Tickets in memory, each for one use."""

    people: dict[str, Person] = field(default_factory=dict)

    async def redeem(self, ticket: str) -> Person | None:
        return self.people.pop(ticket, None)


@dataclass(frozen=True)
class FixedAccess:
    """Decisions by rules that do not change, at one time."""

    rules: AccessRules
    now: datetime

    def decide(self, requester: Requester, need: Need, guild: str | None = None) -> AccessDecision:
        return decide(self.rules, requester, need, guild, self.now)
