"""API keys: what they allow, and for how long. The text of a key is known to its owner only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

EVERY_TOPIC: Final = "*"


class KeyRefused(Exception):
    """A key does not open. The text is a sentence for its owner; it tells nothing about keys that are not his."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. ``topics``: those whose events it may read; `EVERY_TOPIC` stands for all.

    ``used_at`` and ``uses`` come some seconds late: they are written in batches.
    """

    id: str
    name: str
    topics: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None
    uses: int = 0

    def ended(self, now: datetime) -> str | None:
        """Why it does not open any more, in words; None while it does."""
        if self.revoked_at is not None:
            return "it was revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "it has expired"
        return None

    def may_read(self, topic: str) -> bool:
        """Whether it opens ``topic``."""
        return EVERY_TOPIC in self.topics or topic in self.topics


class ApiKeys(Protocol):
    """The keys of a bot. Every method but `check` raises Unreachable when MongoDB does not answer."""

    async def create(
        self, name: str, *, topics: Sequence[str] = (EVERY_TOPIC,), expires_in: timedelta | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key; returns it and its text, which nobody can ever get again.

        Raises:
            UsageError: the name is none, or a topic does not exist.
            Unreachable: also where the log of events does not say which of the operator's own topics there are.
        """
        ...

    async def revoke(self, key_id: str) -> tuple[ApiKey, bool]:
        """End a key: from now on it opens nothing, and KeyRevoked cuts who is connected with it.

        Returns it, and whether it had not been revoked before.

        Raises:
            UsageError: there is no such key.
        """
        ...

    async def list(self) -> list[ApiKey]:
        """All keys, the oldest first, also those that have ended."""
        ...

    async def check(self, text: str) -> ApiKey:
        """The key whose text this is. Asks MongoDB each time, so that a revoked key opens nothing from that moment.

        Raises:
            KeyRefused: there is no such key, or it has ended.
            Unreachable: MongoDB does not answer.
        """
        ...

    async def active(self, key_ids: Collection[str]) -> Mapping[str, ApiKey]:
        """The keys with these ids that still open."""
        ...

    async def purge(self, *, ended_for: timedelta) -> int:
        """Forget the keys that ended longer ago than ``ended_for``; returns how many."""
        ...
