"""Whether the database at a store's address is still the one that a process has found there at first. No I/O.

At the first contact a database gets a random id, which stays in it. A process remembers the id that it has found, and
each of its pings compares. A restart of botctl accepts the database that is there. An id counts only when a later ping
has found it again: one that was written a moment ago, a Redis that syncs its disk once a second may lose in a crash.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from botctl.core.errors import StoreDamaged

TRUSTED_AFTER_S: Final = 2.0
"""``appendfsync everysec`` delays a write to the disk for up to two seconds (Valkey: aof.c, flushAppendOnlyFile)."""
_HINT: Final = "If that was you, restart botctl, which accepts it. Else stop botctl, and restore a backup."


def new_identity() -> str:
    """The id of a database that has none."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDatabase:
    """What a process knows of the database at one address.

    ``identity``: the id that it has found; empty before the first contact. ``found_s``: when, on the monotonic clock.
    ``trusted``: it was found again later; until then a ping writes an id if there is none. ``lost_at``: since when it
    is not found. ``emptied``: there was no id at all since then.
    """

    identity: str = ""
    found_s: float = 0.0
    trusted: bool = False
    lost_at: datetime | None = None
    emptied: bool = False

    def after(self, found: str | None, *, at_s: float, at: datetime) -> KnownDatabase:
        """What it knows after a ping that has ``found`` this id, or none, at ``at_s`` on the monotonic clock."""
        if found == self.identity:
            trusted = self.trusted or at_s - self.found_s >= TRUSTED_AFTER_S
            return replace(self, trusted=trusted, lost_at=None, emptied=False)
        if self.trusted:
            return replace(self, lost_at=self.lost_at or at, emptied=self.emptied or found is None)
        return KnownDatabase(identity=found or "", found_s=at_s)

    def check(self) -> None:
        """Raises StoreDamaged if the database is not the one that was found at first."""
        if self.lost_at is None:
            return
        at = f"{self.lost_at.astimezone(UTC):%H:%M:%S} UTC"
        if self.emptied:
            raise StoreDamaged(f"the database was emptied, noticed at {at}", hint=_HINT)
        raise StoreDamaged(f"another database answers at this address since {at}", hint=_HINT)
