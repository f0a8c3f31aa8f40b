"""What a process tells about itself, once a second, in Redis.

Keys: ``botctl:{<bot>}:proc:<host:pid>`` holds the snapshot as JSON; ``botctl:{<bot>}:procs`` is the set of those who
write one. Both expire by themselves, a minute after the last word: nobody has to remember who has ended. Fields may be
added (with a default); none is renamed or given another meaning without a new `VERSION`. Texts are as they came: who
shows them escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

VERSION: Final = 1
EVERY_S: Final = 1.0
KEPT_MS: Final = 60_000
"""How long Redis keeps a snapshot. How much of it is left tells its age by one clock, that of Redis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSnapshot:
    """A service of the process. ``ok`` and ``took_ms`` are of its last ping, None before the first."""

    name: str
    state: str
    detail: str = ""
    ok: bool | None = None
    took_ms: float | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSnapshot:
    """A connection to the gateway."""

    id: int
    state: str
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSnapshot:
    """A command that has finished. ``at`` is ISO 8601 in UTC."""

    name: str
    user: str
    result: str
    ms: float
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Invocations of all kinds.

    ``per_second``: how many finished in each of the last seconds, newest last. ``latency_counts``: over the last
    minute, by the buckets of `botctl.core.telemetry.latency`. The totals are since the process began.
    """

    total: int = 0
    in_flight: int = 0
    failed: int = 0
    throttled: int = 0
    denied: int = 0
    autocompletes: int = 0
    per_second: tuple[int, ...] = ()
    latency_counts: tuple[int, ...] = ()
    last: tuple[CommandSnapshot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSnapshot:
    """A scheduled job, as its record says. ``outcome`` is of the last run, None before it ends. Times are ISO 8601.

    ``stubborn``: the run under way goes on although it was cancelled.
    """

    name: str
    schedule: str
    running: bool = False
    stubborn: bool = False
    paused: bool = False
    outcome: str | None = None
    last_run: str | None = None
    took_ms: float | None = None
    next_due: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One process at one moment. ``lag_ms``: how much too late the event loop came at worst, in the last minute."""

    v: int = VERSION
    bot: str
    host: str
    pid: int
    version: str
    roles: tuple[str, ...]
    at: str
    started: str
    uptime_s: float
    rss_bytes: int
    cpu_percent: float
    lag_ms: float
    draining: bool = False
    connections: int = 0
    dropped: int = 0
    services: tuple[ServiceSnapshot, ...] = ()
    shards: tuple[ShardSnapshot, ...] = ()
    commands: Commands = Commands()
    jobs: tuple[JobSnapshot, ...] = ()

    @property
    def proc(self) -> str:
        """``host:pid``, as in the envelope of an event."""
        return f"{self.host}:{self.pid}"


_JSON: Final = TypeAdapter(Snapshot)


def as_json(snapshot: Snapshot) -> bytes:
    """``snapshot`` as it is kept."""
    return _JSON.dump_json(snapshot)


def from_json(text: bytes) -> Snapshot | None:
    """The snapshot in ``text``; None when it is none, or of another version. Fields unknown here are left out."""
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
