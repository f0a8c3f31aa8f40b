"""Gateway sessions: numbering, replay and expiry (Discord: Gateway > Sessions, Resuming).

A session lasts longer than a connection: it numbers its dispatches (events for the bot) and keeps them for a RESUME.
"""

from __future__ import annotations

import enum
import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from botctl.sandbox.model import snowflakes
from botctl.sandbox.model.faults import Faults
from botctl.sandbox.model.gateway import frames
from botctl.sandbox.model.gateway.opcodes import (
    DIRECT_INTENT_OF,
    HEARTBEAT,
    INTENT_OF,
    INVALID,
    RECONNECT,
    CloseCode,
)
from botctl.sandbox.model.limiter import RateLimiter
from botctl.sandbox.model.limits import Limits

Json = dict[str, Any]
Dispatch = tuple[str, Json]  # an event's name and data
_LOGINS_KEPT = 10_000


class Transport(Protocol):
    """The transport of a gateway connection. No method waits."""

    def send(self, text: str, *, after_s: float = 0.0) -> None:
        """Send ``text``, after ``after_s`` seconds."""

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None:
        """Cut the connection without a close frame."""

    def compress(self) -> None:
        """Compress each later frame by itself (Discord: Gateway > Payload Compression)."""

    def mute(self) -> None:
        """Leave the connection open, but read and send nothing more."""


class Backend(Protocol):
    """What a gateway connection needs from the sandbox."""

    def authenticate(self, token: str) -> tuple[str, int] | None:
        """The id and flags of the application with this bot token."""

    def guild_count(self, application_id: str, shard: tuple[int, int]) -> int: ...

    def initial_dispatches(self, session: GatewaySession) -> Iterable[Dispatch]:
        """READY and the guilds, for a new session."""

    def member_chunks(self, session: GatewaySession, request: Json) -> Iterable[Dispatch]:
        """The response to opcode 8, Request Guild Members."""

    def update_presence(self, session: GatewaySession, presence: Json) -> None:
        """Opcode 3: the bot sets a (valid) presence."""

    def reset_token(self, application_id: str) -> object:
        """End all sessions of the bot and replace its token."""


@dataclass(slots=True, eq=False)
class GatewaySession:
    """A session of one ``shard`` (number, count) of a bot. ``seq`` is the number of its newest dispatch."""

    id: str
    application_id: str
    shard: tuple[int, int]
    sharded: bool  # the client sent ``shard`` in its IDENTIFY
    intents: int
    sent: deque[tuple[int, str]]  # the newest dispatches, as (seq, frame)
    seq: int = 0
    transport: Transport | None = None  # None while disconnected
    disconnected_s: float | None = None  # when, monotonic; None while connected
    large_threshold: int = frames.LARGE_THRESHOLD_MIN  # members, see `clamp_large_threshold`
    deaf_after: int | None = None  # the newest dispatch that was sent, while its connection gets none; else None

    def dispatch(self, event: str, body: str) -> None:
        """Send ``event`` with the JSON text ``body``; while disconnected or deaf it is kept for the RESUME."""
        self.seq += 1
        frame = f'{{"op":0,"s":{self.seq},"t":"{event}","d":{body}}}'
        self.sent.append((self.seq, frame))
        if self.transport is not None and self.deaf_after is None:
            self.transport.send(frame)

    def deafen(self) -> None:
        """Send no dispatch on the present connection any more."""
        if self.deaf_after is None:
            self.deaf_after = self.seq

    def undeafen(self) -> None:
        """Send what a deaf connection has missed. It is closed if some of that is no longer buffered."""
        if self.deaf_after is None or self.transport is None:
            return
        missed, self.deaf_after = self.frames_after(self.deaf_after), None
        if missed is None:
            self.transport.close(*CloseCode.UNKNOWN_ERROR)
        for frame in missed or ():
            self.transport.send(frame)

    def frames_after(self, seq: int) -> list[str] | None:
        """The frames after ``seq``; None when some are no longer buffered."""
        if self.seq > seq and (not self.sent or self.sent[0][0] > seq + 1):
            return None
        return [frame for frame_seq, frame in self.sent if frame_seq > seq]

    def frames_up_to(self, seq: int, count: int) -> list[str]:
        """The last ``count`` frames up to number ``seq``, without READY."""
        return [frame for frame_seq, frame in self.sent if max(seq - count, 1) < frame_seq <= seq]

    def receives(self, event: str, guild_id: str | None, user_id: str | None = None) -> bool:
        """Whether intents and shard match. A GUILD_MEMBER_UPDATE of the bot itself (``user_id``) needs no intent."""
        needed = (INTENT_OF if guild_id else DIRECT_INTENT_OF).get(event)
        if needed and not self.intents & needed and user_id != self.application_id:
            return False
        return self.covers(guild_id)

    def covers(self, guild_id: str | None) -> bool:
        """Whether events of the guild belong to this shard; those without a guild belong to shard 0."""
        return snowflakes.is_in_shard(guild_id, self.shard) if guild_id else self.shard[0] == 0


class LoginResult(enum.StrEnum):
    """What the gateway did with an IDENTIFY or a RESUME."""

    IDENTIFIED = "identified"
    TOO_SOON = "too_soon"  # another shard with the same key had just identified
    EXHAUSTED = "exhausted"
    REFUSED = "refused"  # closed with 4011, 4013 or 4014
    RESUMED = "resumed"
    NOT_RESUMED = "not_resumed"


@dataclass(frozen=True, slots=True)
class LoginRecord:
    """An IDENTIFY or RESUME. ``shard``: (number, count). ``at_s``: on the sandbox's monotonic clock."""

    at_s: float
    application_id: str
    shard: tuple[int, int]
    result: LoginResult


class Sessions:
    """The sessions of all bots that are connected or can be resumed. ``logins``: the newest, oldest first."""

    def __init__(self, backend: Backend, limiter: RateLimiter) -> None:
        self.backend = backend
        self.limiter = limiter
        self.faults = Faults()
        self.by_id: dict[str, GatewaySession] = {}
        self.logins: deque[LoginRecord] = deque(maxlen=_LOGINS_KEPT)

    @property
    def limits(self) -> Limits:
        return self.limiter.limits

    def connected(self) -> list[GatewaySession]:
        return [session for session in self.by_id.values() if session.transport is not None]

    def connected_applications(self) -> set[str]:
        """The ids of the applications with a connected session."""
        return {session.application_id for session in self.connected()}

    def create(
        self, application_id: str, shard: tuple[int, int], intents: int, transport: Transport, *, sharded: bool
    ) -> GatewaySession:
        sent: deque[tuple[int, str]] = deque(maxlen=self.limits.buffer)
        session = GatewaySession(
            secrets.token_hex(16), application_id, shard, sharded, intents, sent, transport=transport
        )
        self.by_id[session.id] = session
        return session

    def record(self, at_s: float, application_id: str, shard: tuple[int, int], result: LoginResult) -> None:
        """Keep in mind what became of an IDENTIFY or a RESUME."""
        self.logins.append(LoginRecord(at_s, application_id, shard, result))

    def disconnect(self, session: GatewaySession, transport: Transport, now_s: float, *, ended: bool) -> None:
        """Record a closed connection. ``ended``: the client closed with 1000 or 1001, which ends the session."""
        if session.transport is not transport:
            return  # already resumed by another connection
        session.transport = None
        session.disconnected_s = now_s
        if ended:
            self.by_id.pop(session.id, None)

    def remove(self, sessions: Iterable[GatewaySession]) -> None:
        """End ``sessions``: they receive nothing more and cannot be resumed."""
        for session in sessions:
            self.by_id.pop(session.id, None)

    def invalidate(self, session: GatewaySession, now_s: float, *, resumable: bool) -> None:
        """Opcode 9: stop dispatching until the client reconnects, with RESUME if ``resumable``, else with IDENTIFY."""
        _send(session, INVALID, resumable)
        if session.transport is not None:
            self.disconnect(session, session.transport, now_s, ended=not resumable)

    def remove_expired(self, now_s: float) -> None:
        """Drop the sessions whose resume window is over."""
        window_s = self.limits.resume_window_s
        old = [
            session.id
            for session in self.by_id.values()
            if session.disconnected_s is not None and now_s - session.disconnected_s > window_s
        ]
        for session_id in old:
            del self.by_id[session_id]


def request_reconnect(session: GatewaySession) -> None:
    """Opcode 7: the client must reconnect and RESUME."""
    _send(session, RECONNECT, None)


def request_heartbeat(session: GatewaySession) -> None:
    """Opcode 1: the client must send a heartbeat."""
    _send(session, HEARTBEAT, None)


def _send(session: GatewaySession, op: int, data: bool | None) -> None:
    if session.transport is not None:
        session.transport.send(frames.encode(op, data))
