"""The snapshot that a process writes to Redis once a second.

Keys: ``botctl:{<bot>}:proc:<host:pid>`` holds it as JSON, ``botctl:{<bot>}:procs`` is the set of the processes. Both
expire a minute after the last write, so a killed process needs no clean-up. New fields have a default; no field is
renamed or changes its meaning without a new `VERSION`. Control characters in texts are kept. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from botctl.core.contracts.health import NO_REQUESTS, RequestsSeen
from botctl.core.redact import redact_values

VERSION: Final = 1
EVERY_S: Final = 1.0
TTL_MS: Final = 60_000  # the reader computes a snapshot's age from the rest that Redis reports


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSnapshot:
    """A service of the process."""

    name: str
    state: str  # `ServiceState`
    detail: str = ""  # one sentence for the operator
    hint: str = ""  # what to do, if the last ping failed and said so
    ok: bool | None = None  # whether the last ping succeeded; None before the first
    took_ms: float | None = None  # of the last ping; None before the first
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSnapshot:
    """A connection to the gateway, as in `ShardStatus`. Times are ISO 8601."""

    id: int
    state: str
    latency_ms: float | None = None
    since: str | None = None
    guilds: int = 0
    last_event_at: str | None = None
    last_close: str | None = None  # its code, if there was one, and why
    last_close_at: str | None = None
    retry_at: str | None = None  # the next attempt to connect, while it pauses
    session_started_at: str | None = None
    heard_ago_s: float | None = None  # this and the following: as in `shards.Hearing`; None while it is not ready
    misses: int = 0
    can_ask: bool = True
    reconnects: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSnapshot:
    """A command that finished at the time ``at``, after ``ms`` milliseconds."""

    name: str
    user: str
    result: str
    ms: float
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Invocations of all kinds. The counts are since the process started."""

    total: int = 0
    in_flight: int = 0  # now
    recent: int = 0  # that finished in the last half minute
    late: int = 0  # of these, without an answer in the 3 s that Discord waits
    failed: int = 0
    throttled: int = 0
    denied: int = 0
    autocompletes: int = 0
    per_second: tuple[int, ...] = ()  # finished in each of the last seconds, newest last
    latency_counts: tuple[int, ...] = ()  # of the last minute, by the buckets of `core.telemetry.latency`
    last: tuple[CommandSnapshot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSnapshot:
    """A scheduled job, from its record."""

    name: str
    schedule: str
    running: bool = False
    stubborn: bool = False  # `JobRecord.unresponsive`: the run goes on after its cancellation
    paused: bool = False
    outcome: str | None = None  # of the last run; None before it ends
    last_run: str | None = None
    took_ms: float | None = None
    next_due: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One process at one moment."""

    v: int = VERSION
    bot: str
    host: str
    pid: int
    version: str  # of botctl
    roles: tuple[str, ...]
    at: str
    started: str
    uptime_s: float
    rss_bytes: int
    cpu_percent: float
    lag_ms: float  # the worst delay of the event loop in the last minute
    space: str = ""  # where its pid is valid: `process_space`
    pid_started: str = ""  # `start_time` of its pid
    draining: bool = False
    connections: int = 0  # to the realtime server
    dropped: int = 0  # events that were lost because a subscriber in the process was too slow
    dropped_lately: int = 0  # of these, in the last minute
    invalid_requests: int = 0  # that Discord refused in the last ten minutes, and counts towards a ban
    requests: RequestsSeen = NO_REQUESTS  # Discord's answers to those of the process
    discord_says: str = ""  # on its status page; empty if that is not asked, or does not answer
    services: tuple[ServiceSnapshot, ...] = ()
    shards: tuple[ShardSnapshot, ...] = ()
    commands: Commands = Commands()
    jobs: tuple[JobSnapshot, ...] = ()

    @property
    def proc(self) -> str:
        """``host:pid``."""
        return f"{self.host}:{self.pid}"


_JSON: Final = TypeAdapter(Snapshot)


def as_json(snapshot: Snapshot) -> bytes:
    """``snapshot`` as it is stored, without secrets."""
    return redact_values(_JSON.dump_json(snapshot).decode()).encode()


def from_json(text: bytes) -> Snapshot | None:
    """The snapshot in ``text``; None if it is invalid or of another version. Unknown fields are ignored."""
    try:
        snapshot = _JSON.validate_json(text)
    except ValidationError:
        return None
    return snapshot if snapshot.v == VERSION else None


def set_key(bot: str) -> str:
    """The set of the processes of ``bot``."""
    return f"botctl:{{{bot}}}:procs"


def key(bot: str, proc: str) -> str:
    """Where the process ``proc`` (``host:pid``) of ``bot`` writes."""
    return f"botctl:{{{bot}}}:proc:{proc}"
