"""API keys of realtime clients: what they allow, and how long. The text of a key (sent by the client) is not stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from botctl.core.clock import iso_ms
from botctl.core.contracts.access import GrantSource, Holder, HolderType, Requester, RoleGrant
from botctl.core.contracts.audit_entry import Principal
from botctl.core.contracts.malformed import Malformed
from botctl.core.contracts.permissions import EVERY_EVENT


class KeyRefused(Exception):
    """A key is not valid. The sentence is for its owner and says nothing about other keys."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

    id: str
    name: str
    permissions: tuple[str, ...]  # as patterns: `permissions.covers`
    created_at: datetime
    created_by: str
    guild: str | None = None  # the only guild in which it has them; None: in all, and for the bot
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaces: str | None = None  # the id of the key that was rotated, and led to this one
    replaced_by: str | None = None
    used_at: datetime | None = None  # the last use; written in batches, like those below, so some seconds late
    used_from: tuple[str, ...] = ()  # the last addresses that it came from, as `throttle.address_subject`, newest first
    uses: int = 0

    def invalid_reason(self, now: datetime) -> str | None:
        """Why it is not valid any more, as text for people; None while it is valid."""
        replaced = f", and replaced by {self.replaced_by}" if self.replaced_by else ""
        if self.revoked_at is not None:
            return f"it was revoked{replaced}"
        if self.expires_at is not None and self.expires_at <= now:
            return f"it has expired{replaced}"
        return None

    def requester(self, guild: str | None = None) -> Requester:  # noqa: ARG002  a key asks the same everywhere
        """The key as who asks, with its own permissions. Grants may add to them."""
        holder = Holder(HolderType.KEY, self.id)
        own = RoleGrant("", holder, frozenset(self.permissions), self.guild, GrantSource.KEY)
        return Requester(holder, own=(own,))

    def guilds(self) -> tuple[str, ...]:
        """See `callers.Caller.guilds`."""
        return () if self.guild is None else (self.guild,)

    def principal(self) -> Principal:
        """The key as an actor."""
        return Principal("key", self.id, self.name)

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return {name: iso_ms(value) if isinstance(value, datetime) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Rotation:
    """A key (``old``, as it is now), and its successor with its text, which cannot be read again."""

    old: ApiKey
    new: ApiKey
    text: str


class ApiKeys(Protocol):
    """The keys of a bot. Every method raises Unreachable when it needs MongoDB and gets no answer.

    Those that write a key raise ConfigError if there is no secret to sign it with (`auth.signing`).
    """

    malformed: Malformed  # the documents that the last `list` left out

    async def create(
        self,
        name: str,
        *,
        permissions: Sequence[str] = (EVERY_EVENT,),
        guild: str | None = None,
        expires_in: timedelta | None = None,
        reason: str = "",
    ) -> tuple[ApiKey, str]:
        """Create a key. Returns it and its text, which cannot be read again.

        Raises:
            UsageError: the name is not valid, or a permission does not exist.
            Unreachable: MongoDB or the event log (which knows the operator's own topics) does not answer.
        """
        ...

    async def rotate(self, key_id: str, *, overlap: timedelta, reason: str = "") -> Rotation:
        """Create a successor with the same name, permissions, guild and lifetime.

        The old key ends after ``overlap``, or earlier if it expires earlier; without an overlap it is revoked now.
        Raises UsageError if there is no such key, or it is not valid any more.
        """
        ...

    async def revoke(self, key_id: str, *, actor: Principal | None = None, reason: str = "") -> tuple[ApiKey, bool]:
        """Revoke a key at once. The event KeyRevoked disconnects its clients. ``actor``: by default, the operator.

        Returns the key, and whether this call revoked it (False: it was revoked already). Raises UsageError if there is
        no such key.
        """
        ...

    async def list(self) -> list[ApiKey]:
        """All keys, the oldest first, including those that are not valid any more."""
        ...

    async def check(self, text: str, *, address: str = "") -> ApiKey:
        """The key with this ``text``. Queries MongoDB each time, so that a revocation takes effect at once.

        ``address``: where it comes from, as `throttle.address_subject`.

        Raises:
            KeyRefused: there is no such key, or it is not valid any more, or not signed by this bot.
            Unreachable: MongoDB does not answer.
        """
        ...

    async def active(self, key_ids: Collection[str]) -> Mapping[str, ApiKey]:
        """The keys among these ids that are still valid."""
        ...

    async def purge(self, *, ended_for: timedelta) -> int:
        """Delete the keys that expired or were revoked longer ago than ``ended_for``; returns how many."""
        ...
