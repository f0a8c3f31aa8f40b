"""Sessions of people who use the web page: who they are, what they may do, and how long. Cookies have their texts."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from botctl.core.clock import iso_ms
from botctl.core.contracts.access import GrantSource, Holder, HolderType, Requester, RoleGrant
from botctl.core.contracts.audit_entry import Principal
from botctl.core.contracts.permissions import BUILT_IN_ROLES

TICKET_S: Final = 30
"""How long a ticket for the realtime server is valid."""
_NO_ROLES: Final[frozenset[str]] = frozenset()


def new_session_id() -> str:
    return f"session:{secrets.token_hex(8)}"


class SessionSource(enum.StrEnum):
    """How someone came in: with Discord, or with a one-time link of `botctl auth link`."""

    DISCORD = "discord"
    LINK = "link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session without its secret. It is a `callers.Caller`."""

    id: str  # ``session:`` and 16 hex digits; for lists and logs
    source: SessionSource
    created_at: datetime
    seen_at: datetime  # of the last request, written at most once a minute
    expires_at: datetime  # whatever happens; without requests, earlier
    user: str = ""  # Discord's id; empty for a link
    name: str = ""  # Discord's name; empty for a link
    role: str = ""  # a built-in role, of a link
    made_by: str = ""  # who made the link
    checked_at: datetime | None = None  # when the member roles were last read from Discord; None for a link
    member_roles: Mapping[str, frozenset[str]] = field(default_factory=dict)  # ids of Discord roles, by guild
    rights: str = ""  # the fingerprint of what it may do; when it changes, the cookie gets a new text
    csrf: str = field(default="", repr=False)  # what each change must send along
    version: int = 0  # of what is stored; each change counts
    address: str = ""  # where it began, as `throttle.address_subject`
    user_agent: str = ""  # of the browser that began it

    def requester(self, guild: str | None = None) -> Requester:
        """Who asks, with the Discord roles that they have in ``guild``."""
        if self.source is SessionSource.LINK:
            holder = Holder(HolderType.SESSION, self.id)
            permissions = BUILT_IN_ROLES.get(self.role, frozenset())
            own = RoleGrant(self.role, holder, permissions, source=GrantSource.LINK, granted_by=self.made_by)
            return Requester(holder, own=(own,))
        roles = self.member_roles.get(guild or "", _NO_ROLES)
        return Requester(Holder(HolderType.USER, self.user), roles.__contains__)

    def guilds(self) -> Collection[str]:
        """The guilds whose member roles are known."""
        return self.member_roles.keys()

    def principal(self) -> Principal:
        """The person as an actor of audit entries."""
        if self.source is SessionSource.LINK:
            return Principal("session", self.id, f"link of {self.made_by}")
        return Principal("user", self.user, self.name, auth=self.id)

    def as_json(self) -> dict[str, Any]:
        """What people may see of it, as JSON types."""
        return {
            "id": self.id,
            "source": str(self.source),
            "user": self.user,
            "name": self.name,
            "role": self.role,
            "made_by": self.made_by,
            "created_at": iso_ms(self.created_at),
            "seen_at": iso_ms(self.seen_at),
            "expires_at": iso_ms(self.expires_at),
            "checked_at": self.checked_at and iso_ms(self.checked_at),
            "address": self.address,
            "user_agent": self.user_agent,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """A session that a text opened. ``replaced``: the text is an old one, whose successor the browser gets just now."""

    session: Session
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time link: the role that it gives, who made it, and until when it can be opened."""

    id: str
    role: str
    made_by: str
    expires_at: datetime


class SessionStore(Protocol):
    """The sessions of a bot. Every method raises Unreachable if Redis does not answer."""

    async def create(self, session: Session) -> str:
        """Store a new session; returns its text, 256 random bits, for the cookie. Redis has only its SHA-256.

        Of one person's sessions, the oldest end when there are too many.
        """
        ...

    async def find(self, text: str) -> Found | None:
        """The session that ``text`` opens; None if there is none (any more). One round trip; counts as a use."""
        ...

    async def renew(self, text: str, session: Session) -> str | None:
        """Store ``session`` under a new text, since its rights have changed.

        None if another request has changed or ended the session since it was read: read it again.

        The old text opens it for some seconds more, because requests of the same page may be under way.
        """
        ...

    async def update(
        self, session_id: str, member_roles: Mapping[str, frozenset[str]], checked_at: datetime
    ) -> Session | None:
        """Store what was read from Discord; returns the session as it is then, None if it has ended.

        Publishes SessionChanged if the roles are not the ones from before.
        """
        ...

    async def revoke(self, session_id: str, *, actor: Principal | None = None, reason: str = "") -> Session | None:
        """End a session at once, on every process; returns it, None if there was none.

        ``actor``: by default, the operator at the terminal.
        """
        ...

    async def revoke_all(self, user: str | None, *, actor: Principal | None = None, reason: str = "") -> int:
        """End all sessions of a Discord user (None: of everyone); returns how many there were."""
        ...

    async def list(self, user: str | None = None) -> list[Session]:
        """All sessions, or those of one Discord user; the newest first."""
        ...

    async def active(self, session_ids: Collection[str]) -> Mapping[str, Session]:
        """The sessions among these ids that have not ended."""
        ...

    async def ticket(self, session: Session) -> str:
        """A ticket with which the page opens a realtime connection. It is valid once, for `TICKET_S`."""
        ...

    async def redeem(self, ticket: str) -> Session | None:
        """The session of ``ticket``, which is used up by this; None if there is no such ticket or session."""
        ...

    async def create_link(self, role: str, lifetime: timedelta) -> str:
        """A token that opens one session with the built-in ``role``. Raises UsageError if there is no such role."""
        ...

    async def find_link(self, token: str) -> Link | None:
        """What ``token`` would give, which is not used up by this; None if there is no such token (any more)."""
        ...

    async def open_link(self, token: str) -> Link | None:
        """What ``token`` gives, which is used up by this; None if there is no such token (any more)."""
        ...


class OneTimeTokens(Protocol):
    """Values that are kept for a short time under a random token, and can be taken once.

    Every method raises Unreachable if Redis does not answer.
    """

    async def put(self, kind: str, value: Mapping[str, Any], lifetime_s: float) -> str:
        """Keep ``value`` (JSON); returns its token, 256 random bits. Redis has only its SHA-256."""
        ...

    async def peek(self, kind: str, token: str) -> Mapping[str, Any] | None:
        """The value, which stays; None if there is none (any more)."""
        ...

    async def take(self, kind: str, token: str) -> Mapping[str, Any] | None:
        """The value, which no one can take again; None if there is none (any more)."""
        ...

    async def drop(self, kind: str) -> int:
        """Forget all values of ``kind``; returns how many."""
        ...
