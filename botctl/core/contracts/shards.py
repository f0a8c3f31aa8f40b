"""The shards of the bot, as the rest of botctl sees them: monitor, metrics, `/ops status`, the realtime server.

A *shard* is one connection to Discord's gateway, for a part of the guilds. Its *session* outlives a lost connection.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime


class ShardState(enum.StrEnum):
    """What a shard is doing."""

    WAITING = "waiting"  # for its turn to log in
    CONNECTING = "connecting"  # until Discord has greeted it
    IDENTIFYING = "identifying"  # it has logged in, and Discord prepares the session
    RESUMING = "resuming"  # Discord sends what has come in the meantime
    READY = "ready"  # it receives events
    DISCONNECTED = "disconnected"  # it pauses before the next attempt
    CLOSED = "closed"  # by the bot


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardClose:
    """Why a connection ended. ``code``: of Discord's close event; None if there was none."""

    code: int | None
    reason: str  # for people
    at: datetime

    def __str__(self) -> str:
        return self.reason if self.code is None else f"{self.code}, {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What is known of whether events reach a shard. A quiet shard asks Discord something that has to be answered.

    ``heard_ago_s``: since the last event or the connection. ``misses``: questions in a row without any event after
    them, each about another guild if there are several; what a connection brings at its start does not end the
    deafness of the one before. ``can_ask``: False without a guild that is available; then
    only the answers to heartbeats are known. ``reconnects``: in a row, by the shard itself because it was deaf.
    """

    heard_ago_s: float
    misses: int = 0
    can_ask: bool = True
    reconnects: int = 0

    @property
    def deaf(self) -> bool:
        return self.misses >= MISSES_OF_DEAF


MISSES_OF_DEAF = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStatus:
    """A shard at one moment. Times are aware, in UTC."""

    id: int
    state: ShardState
    since: datetime  # when it became ready, or no longer was
    latency_ms: float | None = None  # from a heartbeat to its answer; None before the first
    guilds: int = 0  # that this process knows
    last_event_at: datetime | None = None  # when Discord sent the last event; answers to heartbeats do not count
    last_close: ShardClose | None = None
    retry_at: datetime | None = None  # the next attempt to connect, while it pauses
    session_started_at: datetime | None = None  # None without a session that could go on
    hearing: Hearing | None = None  # None while it is not ready, unless it reconnects because it was deaf

    @property
    def up(self) -> bool:
        return self.state is ShardState.READY


@dataclass(frozen=True, slots=True)
class ShardSession:
    """What a RESUME needs. ``sequence``: of the last event. ``url``: where Discord wants it.

    ``started_at``: None if another process has begun it.
    """

    id: str = field(repr=False)
    sequence: int
    url: str
    started_at: datetime | None = field(default=None, compare=False)
