"""Decide when to close a connection. Pure functions: no I/O. Times are seconds on the event loop's clock."""

from __future__ import annotations

from dataclasses import dataclass

from botctl.realtime.protocol import CloseReason

MAX_MISSED_HEARTBEATS = 2.5
"""A client may miss two heartbeats; the answer to the second one may be under way."""


@dataclass(slots=True)
class ConnectionHealth:
    """The activity of a connection. The *backlog* is data that the client has not taken yet.

    ``last_received_s``: of any data, pongs included. ``last_drained_s``: when the client last took a byte of its
    backlog, or when the backlog began.
    """

    opened_s: float
    last_received_s: float
    last_drained_s: float
    authenticated: bool = False
    has_backlog: bool = False

    def postpone(self, late_s: float, now_s: float) -> None:
        """Do not count ``late_s`` seconds, until ``now_s``, in which the server stood still: it read and sent nothing.

        What it read since, in the same turn of the event loop, was not earlier, so no time becomes later than now.
        """
        self.opened_s = min(now_s, self.opened_s + late_s)
        self.last_received_s = min(now_s, self.last_received_s + late_s)
        self.last_drained_s = min(now_s, self.last_drained_s + late_s)


@dataclass(frozen=True, slots=True)
class Deadlines:
    auth_s: float  # from opening the connection to a valid key
    stall_s: float  # how long a client may take no byte of its backlog
    heartbeat_s: float  # between two heartbeats


def close_reason(health: ConnectionHealth, now_s: float, deadlines: Deadlines) -> CloseReason | None:
    """Return why to close the connection now; None to keep it.

    With a backlog a client is alive while it takes bytes, however slowly. Without one it is alive while it sends.
    """
    if not health.authenticated and now_s - health.opened_s >= deadlines.auth_s:
        return CloseReason.NOT_AUTHENTICATED
    if health.has_backlog:
        return CloseReason.SLOW if now_s - health.last_drained_s >= deadlines.stall_s else None
    last_activity_s = max(health.last_received_s, health.last_drained_s)
    return CloseReason.SILENT if now_s - last_activity_s >= deadlines.heartbeat_s * MAX_MISSED_HEARTBEATS else None
