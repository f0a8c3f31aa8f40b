"""Grants of roles that are kept in the store: what `botctl auth grant` writes and every decision reads."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from botctl.core.contracts.access import Holder, RoleGrant
from botctl.core.contracts.audit_entry import Principal
from botctl.core.contracts.malformed import Malformed


class GrantStore(Protocol):
    """The grants of a bot. Every method raises Unreachable when MongoDB does not answer."""

    malformed: Malformed  # the documents that the last `list` left out

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
        """Grant ``role``, or replace the reason and the end of that grant. ``actor``: by default, the operator.

        Returns the grant, and whether it is new.

        Raises:
            UsageError: there is no such role, the reason is missing, or a Discord role has no guild.
            ConfigError: there is no secret to sign it with.
        """
        ...

    async def revoke(
        self, role: str, holder: Holder, *, guild: str | None = None, reason: str, actor: Principal | None = None
    ) -> bool:
        """Take a grant back. Returns whether there was one. Raises UsageError if the reason is missing."""
        ...

    async def list(self) -> list[RoleGrant]:
        """The grants of the store, the oldest first, also those that have expired."""
        ...
