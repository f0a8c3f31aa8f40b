"""When a connection has to go. Pure: times are seconds on the event loop's clock."""

from __future__ import annotations

from dataclasses import dataclass

from botctl.realtime.protocol import CloseReason

SILENT_BEATS = 2.5
"""Heartbeats that a client may miss: the answer to the second one may be under way."""


@dataclass(slots=True)
class ConnectionHealth:
    """What is known of a connection's life.

    ``heard_s``: when the client last sent anything (answers to pings are something). ``drained_s``: when it last took
    a byte of what waits for it, or when something began to wait. ``waiting``: something does.
    """

    opened_s: float
    heard_s: float
    drained_s: float
    authenticated: bool = False
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Deadlines:
    """``auth_s``: from opening to the key. ``stall_s``: without taking a byte. ``heartbeat_s``: between heartbeats."""

    auth_s: float
    stall_s: float
    heartbeat_s: float


def close_reason(health: ConnectionHealth, now_s: float, deadlines: Deadlines) -> CloseReason | None:
    """Why the connection has to end now; None while it may go on.

    A client that takes bytes lives, however slowly; only one for whom nothing waits is judged by what it says.
    """
    if not health.authenticated and now_s - health.opened_s >= deadlines.auth_s:
        return CloseReason.NOT_AUTHENTICATED
    if health.waiting:
        return CloseReason.SLOW if now_s - health.drained_s >= deadlines.stall_s else None
    last_s = max(health.heard_s, health.drained_s)
    return CloseReason.SILENT if now_s - last_s >= deadlines.heartbeat_s * SILENT_BEATS else None
