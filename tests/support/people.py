"""Signed-in persons: one without a store, decisions about them, and sessions in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botctl.core.contracts.access import AccessDecision, AccessRules, Holder, HolderType, Need, Requester, decide
from botctl.core.contracts.audit_entry import Principal
from botctl.core.contracts.sessions import Session, SessionSource, SessionStore, new_session_id

if TYPE_CHECKING:
    from tests.support.realtime import Rig


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


async def sign_in(rig: Rig, roles: Mapping[str, frozenset[str]] | None = None, *, role: str = "") -> Session:
    """A new session: of ann, who has the Discord roles ``roles`` by guild; or by a link with the built-in ``role``."""
    now = rig.clock.now()
    person = {"role": role, "made_by": "root"} if role else {"user": "7", "name": "ann"}
    session = Session(
        id=new_session_id(),
        source=SessionSource.LINK if role else SessionSource.DISCORD,
        created_at=now,
        seen_at=now,
        expires_at=now + timedelta(hours=1),
        member_roles=roles or {},
        **person,
    )
    await rig.running.get(SessionStore).create(session)
    return session


async def ticket_of(rig: Rig, session: Session) -> str:
    return await rig.running.get(SessionStore).ticket(session)


@dataclass(frozen=True)
class FixedAccess:
    """Decisions by rules that do not change, at one time."""

    rules: AccessRules
    now: datetime

    def decide(self, requester: Requester, need: Need, guild: str | None = None) -> AccessDecision:
        return decide(self.rules, requester, need, guild, self.now)
