"""Logins: an IDENTIFY of a shard at Discord's gateway. They are few, and Discord resets a token that uses them up.

`botctl.logins` counts them in Redis and in a file; `OpenGate` is for one process alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

SPACING_S: Final = 5.5
"""Between two logins of the same key, ``shard % max_concurrency``. Discord: 5 s; half a second for the network."""

WAITING: Final = "waiting for logins"
"""So begins what a service says of itself while it waits for one."""


@dataclass(frozen=True, slots=True)
class LoginLimit:
    """What Discord said last about logins: ``session_start_limit`` of GET /gateway/bot.

    ``total``: logins of a day. ``remaining``: those left until ``resets_at`` (aware, UTC). ``max_concurrency``: shards
    that may log in within 5 s, if their keys differ.
    """

    total: int
    remaining: int
    resets_at: datetime
    max_concurrency: int


@dataclass(frozen=True, slots=True)
class LoginWait:
    """A login waits until ``until`` (aware, UTC). ``reason``: for people, the end of "waits for logins: …"."""

    until: datetime
    reason: str


class LoginGate(Protocol):
    """Every login of the process passes it; a RESUME does not."""

    @property
    def waiting(self) -> LoginWait | None:
        """What a login waits for, if that takes more than a few seconds; also in the detail of the service."""
        ...

    async def limits(self, limit: LoginLimit) -> None:
        """Tell it what Discord says. Called after each GET /gateway/bot, before the first login."""
        ...

    async def prepare(self, shard: int, shards: int) -> None:
        """Wait until the budget allows a login, and the pause after crashes is over; that can take hours.

        It counts nothing. Call it before connecting, so that no connection stands idle for so long.
        """
        ...

    async def enter(self, shard: int, shards: int) -> None:
        """Wait until ``shard`` of ``shards`` may send IDENTIFY, and count that. Call it right before it is sent.

        Logins of an automatic start never spend the reserve: where the budget is short, this waits for its reset.
        Raises Held if this process no longer holds the token.
        """
        ...


class OpenGate:
    """Keeps ``max_concurrency`` in this process, and counts nothing. ``spacing_s``: see `SPACING_S`."""

    waiting: LoginWait | None = None

    def __init__(self, *, max_concurrency: int = 1, spacing_s: float = SPACING_S) -> None:
        self._max_concurrency = max_concurrency
        self._spacing_s = spacing_s
        self._free_at_s: dict[int, float] = {}

    async def limits(self, limit: LoginLimit) -> None:
        self._max_concurrency = max(1, limit.max_concurrency)

    async def prepare(self, shard: int, shards: int) -> None:
        """See `LoginGate`: nothing is counted here, so there is nothing to wait for."""

    async def enter(self, shard: int, shards: int) -> None:  # noqa: ARG002  as in the protocol
        now_s = asyncio.get_running_loop().time()
        key = shard % self._max_concurrency
        turn_s = max(now_s, self._free_at_s.get(key, now_s))
        self._free_at_s[key] = turn_s + self._spacing_s
        await asyncio.sleep(turn_s - now_s)
