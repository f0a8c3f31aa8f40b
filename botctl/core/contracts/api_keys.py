"""API keys of realtime clients: what they allow, and how long. The text of a key (sent by the client) is not stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from botctl.core.contracts.malformed import Malformed

EVERY_TOPIC: Final = "*"


class KeyRefused(Exception):
    """A key is not valid. The sentence is for its owner and says nothing about other keys."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

    id: str
    name: str
    topics: tuple[str, ...]  # it may read the events of these; `EVERY_TOPIC` stands for all
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None  # the last use; written in batches, like ``uses``, so some seconds late
    uses: int = 0

    def invalid_reason(self, now: datetime) -> str | None:
        """Why it is not valid any more, as text for people; None while it is valid."""
        if self.revoked_at is not None:
            return "it was revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "it has expired"
        return None

    def may_read(self, topic: str) -> bool:
        return EVERY_TOPIC in self.topics or topic in self.topics


class ApiKeys(Protocol):
    """The keys of a bot. Every method raises Unreachable when it needs MongoDB and gets no answer."""

    malformed: Malformed  # the documents that the last `list` left out

    async def create(
        self, name: str, *, topics: Sequence[str] = (EVERY_TOPIC,), expires_in: timedelta | None = None
    ) -> tuple[ApiKey, str]:
        """Create a key. Returns it and its text, which cannot be read again.

        Raises:
            UsageError: the name is not valid, or a topic does not exist.
            Unreachable: MongoDB or the event log (which knows the operator's own topics) does not answer.
        """
        ...

    async def revoke(self, key_id: str) -> tuple[ApiKey, bool]:
        """Revoke a key at once. The event KeyRevoked disconnects its clients.

        Returns the key, and whether this call revoked it (False: it was revoked already). Raises UsageError if there is
        no such key.
        """
        ...

    async def list(self) -> list[ApiKey]:
        """All keys, the oldest first, including those that are not valid any more."""
        ...

    async def check(self, text: str) -> ApiKey:
        """The key with this ``text``. Queries MongoDB each time, so that a revocation takes effect at once.

        Raises:
            KeyRefused: there is no such key, or it is not valid any more.
            Unreachable: MongoDB does not answer.
        """
        ...

    async def active(self, key_ids: Collection[str]) -> Mapping[str, ApiKey]:
        """The keys among these ids that are still valid."""
        ...

    async def purge(self, *, ended_for: timedelta) -> int:
        """Delete the keys that expired or were revoked longer ago than ``ended_for``; returns how many."""
        ...
