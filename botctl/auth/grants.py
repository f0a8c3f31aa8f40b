"""Grants of roles in MongoDB.

Collection ``botctl_grants``: ``{_id, role, holder, guild, reason, by, at_ms, expires_ms, mac}``; ``_id`` is
``<role>|<holder>|<guild>``, so that a role is granted to a holder once in a place. What the role carries is not stored:
it is looked up when the grants are read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from botctl.auth.settings_grants import role_permissions
from botctl.auth.signing import Signer
from botctl.core.clock import Clock, from_unix_ms, unix_ms
from botctl.core.config.settings import RoleSettings, Settings
from botctl.core.config.value_types import DISCORD_ID
from botctl.core.contracts.access import Holder, HolderType, RoleGrant
from botctl.core.contracts.audit_entry import MAX_REASON, Change, Principal, Target, current_operator, make_entry
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import RoleGranted, RoleRevoked
from botctl.core.contracts.grants import GrantStore
from botctl.core.contracts.malformed import Malformed, value_of
from botctl.core.contracts.permissions import BUILT_IN_ROLES
from botctl.core.contracts.protocols import Auditor
from botctl.core.driver_errors.mongo import reaching_mongo
from botctl.core.errors import UsageError
from botctl.core.escape import safe
from botctl.core.suggest import suggest
from botctl.stores.journal import journaled

COLLECTION: Final = "botctl_grants"
_reaching_mongo: Final = reaching_mongo("The grants cannot be reached: MongoDB failed ({error}).")


@dataclass(eq=False)
class MongoGrants:
    """`GrantStore` (see there for the methods) in ``collection``. ``roles``: those of the settings."""

    collection: AsyncCollection[dict[str, Any]]
    roles: Mapping[str, RoleSettings]
    bus: Bus
    auditor: Auditor
    clock: Clock
    signer: Signer
    malformed: Malformed = field(default_factory=lambda: Malformed(COLLECTION), init=False)

    async def grant(
        self,
        role: str,
        holder: Holder,
        *,
        guild: str | None = None,
        expires_in: timedelta | None = None,
        reason: str,
        actor: Principal | None = None,
    ) -> tuple[RoleGrant, bool]:
        permissions, actor, now = self._require_role(role), actor or current_operator(), self.clock.now()
        _check_place(holder, guild)
        _check_reason(reason)
        grant = RoleGrant(
            role,
            holder,
            permissions,
            guild,
            reason=reason,
            granted_by=actor.name or actor.id,
            granted_at=now,
            expires_at=now + expires_in if expires_in else None,
        )
        document = self.signer.sign(COLLECTION, _document(grant))
        with _reaching_mongo:
            result = await self.collection.replace_one({"_id": document["_id"]}, document, upsert=True)
        changes = [Change("role", None, role), *([Change("expires_at", None, grant.expires_at)] if expires_in else [])]
        self._record("role.grant", actor, grant, changes)
        self.bus.publish(RoleGranted(role=role, holder=str(holder), actor=grant.granted_by, reason=reason, guild=guild))
        return grant, not result.matched_count

    async def revoke(
        self, role: str, holder: Holder, *, guild: str | None = None, reason: str, actor: Principal | None = None
    ) -> bool:
        _check_reason(reason)
        actor = actor or current_operator()
        with _reaching_mongo:
            result = await self.collection.delete_one({"_id": _id(role, holder, guild)})
        if result.deleted_count:
            revoked = RoleGrant(role, holder, guild=guild, reason=reason)
            self._record("role.revoke", actor, revoked, [Change("role", role, None)])
        # Again if there was none: the first event may be lost.
        self.bus.publish(
            RoleRevoked(role=role, holder=str(holder), actor=actor.name or actor.id, reason=reason, guild=guild)
        )
        return result.deleted_count > 0

    async def list(self) -> list[RoleGrant]:
        with _reaching_mongo:
            documents = await self.collection.find({}).to_list()
        grants = self.malformed.read(documents, self._parse)
        return sorted(grants, key=lambda grant: (unix_ms(grant.granted_at) if grant.granted_at else 0, grant.role))

    def _parse(self, document: Mapping[str, Any]) -> RoleGrant:
        """The grant in ``document``. Raises one of `FAULTS` if it is malformed, or not signed by this bot."""
        self.signer.require_signature(COLLECTION, document)
        kind, _, holder_id = value_of(document, "holder", str).partition(":")
        expires_ms = value_of(document, "expires_ms", int, type(None))
        role = value_of(document, "role", str)
        return RoleGrant(
            role,
            Holder(HolderType(kind), holder_id),
            role_permissions(role, self.roles) or frozenset(),  # a role that was deleted carries nothing
            value_of(document, "guild", str, type(None)),
            reason=value_of(document, "reason", str),
            granted_by=value_of(document, "by", str),
            granted_at=from_unix_ms(value_of(document, "at_ms", int)),
            expires_at=None if expires_ms is None else from_unix_ms(expires_ms),
        )

    def _require_role(self, role: str) -> frozenset[str]:
        permissions = role_permissions(role, self.roles)
        if permissions is None:
            known = list(dict.fromkeys([*BUILT_IN_ROLES, *self.roles]))
            raise UsageError(
                f"there is no role {safe(role, 40)!r}{suggest(role, known)}",
                hint=f"Choose from: {', '.join(known)}. A table [roles.<name>] in the settings makes another one.",
            )
        return permissions

    def _record(self, action: str, actor: Principal, grant: RoleGrant, changes: Sequence[Change]) -> None:
        entry = make_entry(
            action,
            actor,
            at=self.clock.now(),
            iface="cli" if actor.type == "cli" else "api",
            target=Target(grant.holder.type, grant.holder.id),
            guild=grant.guild,
            reason=grant.reason,
            changes=changes,
        )
        self.auditor.record(entry)


@asynccontextmanager
async def role_grants(
    *,
    database: AsyncDatabase[dict[str, Any]],
    settings: Settings,
    bus: Bus,
    auditor: Auditor,
    clock: Clock,
    signer: Signer,
) -> AsyncIterator[GrantStore]:
    yield MongoGrants(journaled(database[COLLECTION]), settings.roles, bus, auditor, clock, signer)


def _check_place(holder: Holder, guild: str | None) -> None:
    if guild is not None and not DISCORD_ID.matches(guild):
        raise UsageError(f"{safe(guild, 40)!r} is not a guild; its id is {DISCORD_ID.description}.")
    if holder.type is HolderType.ROLE and guild is None:
        raise UsageError(
            f"the Discord role {holder.id} belongs to a guild, and counts there only.", hint="Name it: --guild ID."
        )


def _check_reason(reason: str) -> None:
    if not (1 <= len(reason.strip()) <= MAX_REASON and reason.isprintable()):
        raise UsageError(f"a reason is a text of 1 to {MAX_REASON} characters.", hint="It stands in the audit log.")


def _id(role: str, holder: Holder, guild: str | None) -> str:
    return f"{role}|{holder}|{guild or ''}"


def _document(grant: RoleGrant) -> dict[str, Any]:
    return {
        "_id": _id(grant.role, grant.holder, grant.guild),
        "role": grant.role,
        "holder": str(grant.holder),
        "guild": grant.guild,
        "reason": grant.reason,
        "by": grant.granted_by,
        "at_ms": grant.granted_at and unix_ms(grant.granted_at),
        "expires_ms": grant.expires_at and unix_ms(grant.expires_at),
    }
