"""The events that botctl publishes, as frozen dataclasses, and the envelope (a dict) that other processes get.

Field values are JSON types: strings, integers, floats, booleans, None, and tuples or dicts of them. Discord ids are
strings. A field is never renamed and never changes its meaning; new fields have defaults. docs/events.md lists all.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from botctl.core.clock import iso_ms
from botctl.core.ids import event_id

ENVELOPE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base class. ``topic`` groups events; ``type`` is the class name as ``command.finished``."""

    topic: ClassVar[str] = "system"
    type: ClassVar[str] = "event"
    guild: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super(Event, cls).__init_subclass__(**kwargs)
        words = re.findall(r"[A-Z][a-z0-9]*", cls.__name__)
        cls.type = ".".join(word.lower() for word in words)
        BY_TYPE[cls.type] = cls


BY_TYPE: dict[str, type[Event]] = {}  # filled when a subclass is defined


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStarted(Event):
    """An interaction arrived. `CommandFinished` explains the fields."""

    topic = "commands"
    invocation: str
    kind: str
    name: str
    user: str
    channel: str | None = None
    shard: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFinished(Event):
    """An interaction has its outcome."""

    topic = "commands"
    invocation: str  # the interaction's id
    kind: str  # as in `invocation.Kind`
    name: str
    user: str
    user_name: str
    result: str  # as in `invocation.Result`
    took_ms: float  # from arrival to outcome
    channel: str | None = None
    shard: int = 0
    reason: str = ""  # for people
    error_id: str | None = None
    error_type: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AutocompleteAnswered(Event):
    """The bot answered a request for suggestions for an option of command ``name``. ``ok``: there was no error."""

    topic = "commands"
    name: str
    took_ms: float
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChanged(Event):
    """A service changed its state. ``took_s``: the duration of its start or stop. ``detail``: why; may be empty."""

    topic = "services"
    service: str
    old: str
    new: str
    took_s: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRestarted(Event):
    """An embedded store (or the sandbox) ended and was restarted at the same address, after ``down_s`` seconds."""

    topic = "services"
    store: str
    exit_status: int
    down_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayChanged(Event):
    """A shard's connection changed: ``connected``, ``ready``, ``resumed``, ``disconnected``.

    ``code`` and ``reason``: of the end of a connection, as in `shards.ShardClose`.
    """

    topic = "gateway"
    shard: int
    state: str
    latency_ms: float | None = None
    code: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuildSettingsChanged(Event):
    """A guild's settings were changed. ``changes`` maps a setting to ``[old, new]``."""

    topic = "settings"
    actor: str
    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationApplied(Event):
    """A migration was applied, or rolled back if ``direction`` is ``down``."""

    topic = "migrations"
    name: str
    direction: str
    took_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationFailed(Event):
    """A migration failed or was interrupted. It may be half done, so a person must decide what to do."""

    topic = "migrations"
    name: str
    direction: str
    took_ms: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted(Event):
    """A run of a job starts. `JobFinished` explains the fields."""

    topic = "jobs"
    job: str
    run: str
    due: str
    fence: int
    requested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinished(Event):
    """A run of a job ended."""

    topic = "jobs"
    job: str
    run: str  # its id
    due: str  # ISO 8601
    fence: int  # as in `jobs.JobRun`
    result: str  # as in `jobs.RunResult`
    requested: bool = False  # by an operator
    took_ms: float | None = None  # None if the end was not seen (``lost``)
    skipped: int = 0  # due times before it that had no run
    error_id: str | None = None
    error_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """All services of a `botctl run` are ready. ``version`` is the version of botctl."""

    topic = "system"
    roles: tuple[str, ...]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnding(Event):
    """A `botctl run` that had published `RunStarted` begins to stop. It will end with ``exit_code``."""

    topic = "system"
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainStarted(Event):
    """The process refuses new work and waits, at most ``limit_s``, until the running commands are finished."""

    topic = "system"
    reason: str
    in_flight: int
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsLost(Event):
    """A process dropped its oldest ``count`` events, because Redis did not answer for too long."""

    topic = "system"
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChanged(Event):
    """The verdict on the bot changed from ``old`` to ``new``, of `health.Health`. One process publishes it for all.

    ``why``, ``action``, ``process`` (``host:pid``; its `proc`) and ``shard``: as in `health.Diagnosis`. ``since``: when
    it was first seen, ISO 8601.
    """

    topic = "health"
    old: str
    new: str
    why: str
    action: str = ""
    process: str = ""
    shard: int | None = None
    since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCreated(Event):
    """An API key was created. ``key`` is its id, ``actor`` its creator."""

    topic = "access"
    key: str
    name: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevoked(Event):
    """An API key was revoked. Its clients are disconnected."""

    topic = "access"
    key: str
    name: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotated(Event):
    """An API key got a successor. ``ends``: when it ends itself, ISO 8601; at once if that is now."""

    topic = "access"
    key: str
    name: str
    successor: str
    ends: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleGranted(Event):
    """A role was granted, or its reason or end changed. ``holder``: ``user:<id>``, ``role:<id>``, ``key:<id>``, …"""

    topic = "access"
    role: str
    holder: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRevoked(Event):
    """A grant was taken back. The fields are those of `RoleGranted`."""

    topic = "access"
    role: str
    holder: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded(Event):
    """A session was ended. ``user``: of Discord; empty for a session by a link. Its connections are closed."""

    topic = "access"
    session: str
    user: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionChanged(Event):
    """The rights of a session, or the Discord roles that it knows of, have changed."""

    topic = "access"
    session: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRolesChanged(Event):
    """In ``guild``, ``user`` got or lost a Discord role that has grants, or has left. Needs the intent ``members``."""

    topic = "access"
    user: str


@dataclass(frozen=True, slots=True)
class Source:
    """The sender of an event. ``bot``: the bot's name. ``proc``: ``host:pid`` of the process."""

    bot: str
    proc: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")


@functools.cache
def _data_names(cls: type) -> tuple[str, ...]:
    """The fields of an event class that are under ``data`` in its envelope."""
    return tuple(f.name for f in dataclasses.fields(cls) if f.name != "guild")


def envelope(event: Event, source: Source, *, at: datetime | None = None) -> dict[str, Any]:
    """The envelope of ``event``: ``{v, id, type, at, bot, proc, guild?, data}``, ready for JSON."""
    names = _data_names(type(event))  # type: ignore[arg-type]  # mypy confuses the class with its instance
    data = {name: getattr(event, name) for name in names}
    wrapped: dict[str, Any] = {
        "v": ENVELOPE_VERSION,
        "id": event_id(),
        "type": event.type,
        "at": iso_ms(at or datetime.now(UTC)),
        "bot": source.bot,
        "proc": source.proc,
    }
    if event.guild is not None:
        wrapped["guild"] = event.guild
    wrapped["data"] = data
    return wrapped


def from_envelope(wrapped: dict[str, Any]) -> Event:
    """The event in ``wrapped``. Fields that this version does not know are ignored.

    Raises:
        ValueError: the envelope's version or type is unknown, or a field is missing.
    """
    if wrapped.get("v") != ENVELOPE_VERSION:
        raise ValueError(f"event envelope version {wrapped.get('v')!r} is not {ENVELOPE_VERSION}")
    cls = BY_TYPE.get(str(wrapped.get("type")))
    if cls is None:
        raise ValueError(f"unknown event type {wrapped.get('type')!r}")
    known = {f.name for f in dataclasses.fields(cls)}
    data = {k: _with_tuples(v) for k, v in wrapped.get("data", {}).items() if k in known}
    try:
        return cls(**data, guild=wrapped.get("guild"))
    except TypeError as error:
        raise ValueError(f"event {cls.type}: {error}") from None


def _with_tuples(value: Any) -> Any:
    """The JSON ``value``, with tuples for its lists."""
    if isinstance(value, dict):
        return {key: _with_tuples(inner) for key, inner in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list | tuple) else value
