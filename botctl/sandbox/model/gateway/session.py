"""Gateway sessions: what each is sent, and for how long it may be resumed (Discord: Gateway > Sessions, Resuming).

A `GatewaySession` outlives its connections (`GatewayConnection`): it numbers what it dispatches and keeps it for
RESUME.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from botctl.sandbox.model import snowflakes
from botctl.sandbox.model.faults import Faults
from botctl.sandbox.model.gateway import frames
from botctl.sandbox.model.gateway.opcodes import DIRECT_INTENT_OF, HEARTBEAT, INTENT_OF, INVALID, RECONNECT
from botctl.sandbox.model.limiter import RateLimiter
from botctl.sandbox.model.limits import Limits

Json = dict[str, Any]
Dispatch = tuple[str, Json]  # an event's name and data


class Transport(Protocol):
    """The connection under a link. None of these waits."""

    def send(self, text: str, *, after_s: float = 0.0) -> None:
        """Send ``text``, now or some time later."""

    def close(self, code: int, reason: str) -> None:
        """Close as Discord does: a close frame with ``code``."""

    def abort(self) -> None:
        """Cut the connection without a word."""

    def compress(self) -> None:
        """Compress every frame from here on, each by itself (Discord: Gateway > Payload Compression)."""

    def mute(self) -> None:
        """Neither hear nor say anything any more, with the connection left open."""


class Backend(Protocol):
    """What links ask of the Discord behind them."""

    def authenticate(self, token: str) -> tuple[str, int] | None:
        """The id and flags of the application that ``token`` belongs to."""

    def guild_count(self, application_id: str, shard: tuple[int, int]) -> int: ...

    def initial_dispatches(self, session: GatewaySession) -> Iterable[Dispatch]:
        """What a new session is told: READY and its guilds."""

    def member_chunks(self, session: GatewaySession, request: Json) -> Iterable[Dispatch]:
        """The answer to op 8."""

    def update_presence(self, session: GatewaySession, presence: Json) -> None:
        """The bot says how it is: op 3, checked."""

    def reset_token(self, application_id: str) -> object:
        """End all its sessions; from now on there is another token."""


@dataclass(slots=True, eq=False)
class GatewaySession:
    """One session. ``sent`` holds the newest dispatches as (seq, frame); ``lost_s`` is when its connection went."""

    id: str
    application_id: str
    shard: tuple[int, int]
    sharded: bool
    intents: int
    sent: deque[tuple[int, str]]
    seq: int = 0
    transport: Transport | None = None
    disconnected_s: float | None = None
    large_threshold: int = frames.SMALLEST_LARGE

    def dispatch(self, event: str, body: str) -> None:
        """Send ``event`` with the JSON text ``body``, now or at the RESUME."""
        self.seq += 1
        frame = f'{{"op":0,"s":{self.seq},"t":"{event}","d":{body}}}'
        self.sent.append((self.seq, frame))
        if self.transport is not None:
            self.transport.send(frame)

    def frames_after(self, seq: int) -> list[str] | None:
        """The frames after ``seq``; None when some of them are no longer there."""
        if self.seq > seq and (not self.sent or self.sent[0][0] > seq + 1):
            return None
        return [frame for frame_seq, frame in self.sent if frame_seq > seq]

    def frames_up_to(self, seq: int, count: int) -> list[str]:
        """The newest ``count`` frames up to ``seq``, which the client has had before; never READY, the first."""
        return [frame for frame_seq, frame in self.sent if max(seq - count, 1) < frame_seq <= seq]

    def receives(self, event: str, guild_id: str | None, user_id: str | None = None) -> bool:
        """Does this session hear of ``event``: by its intents, and by its shard?

        ``user_id`` is the member whom a GUILD_MEMBER_UPDATE is about: bots hear of themselves without the intent.
        """
        needed = (INTENT_OF if guild_id else DIRECT_INTENT_OF).get(event)
        if needed and not self.intents & needed and user_id != self.application_id:
            return False
        return self.covers(guild_id)

    def covers(self, guild_id: str | None) -> bool:
        """Is the guild, or what is of none, this shard's?"""
        return snowflakes.is_in_shard(guild_id, self.shard) if guild_id else self.shard[0] == 0


class Sessions:
    """All sessions of the gateway."""

    def __init__(self, backend: Backend, limiter: RateLimiter) -> None:
        self.backend = backend
        self.limiter = limiter
        self.faults = Faults()
        self.by_id: dict[str, GatewaySession] = {}

    @property
    def limits(self) -> Limits:
        return self.limiter.limits

    def connected(self) -> list[GatewaySession]:
        return [session for session in self.by_id.values() if session.transport is not None]

    def create(
        self, application_id: str, shard: tuple[int, int], intents: int, transport: Transport, *, sharded: bool
    ) -> GatewaySession:
        sent: deque[tuple[int, str]] = deque(maxlen=self.limits.buffer)
        session = GatewaySession(
            secrets.token_hex(16), application_id, shard, sharded, intents, sent, transport=transport
        )
        self.by_id[session.id] = session
        return session

    def disconnect(self, session: GatewaySession, transport: Transport, now_s: float, *, ended: bool) -> None:
        """The connection is gone. ``ended``: the client closed with 1000 or 1001, which ends the session too."""
        if session.transport is not transport:
            return  # another connection has resumed it
        session.transport = None
        session.disconnected_s = now_s
        if ended:
            self.by_id.pop(session.id, None)

    def remove(self, sessions: Iterable[GatewaySession]) -> None:
        """End ``sessions``: nothing is dispatched to them any more, and none can be resumed."""
        for session in sessions:
            self.by_id.pop(session.id, None)

    def invalidate(self, session: GatewaySession, now_s: float, *, resumable: bool) -> None:
        """Op 9: nothing is dispatched any more until the client has come back, by this connection or by another.

        With ``resumable`` it may RESUME; else the session is at its end, and it must IDENTIFY.
        """
        _send(session, INVALID, resumable)
        if session.transport is not None:
            self.disconnect(session, session.transport, now_s, ended=not resumable)

    def remove_expired(self, now_s: float) -> None:
        """Drop the sessions that nobody resumed in time."""
        window_s = self.limits.resume_window_s
        old = [
            session.id
            for session in self.by_id.values()
            if session.disconnected_s is not None and now_s - session.disconnected_s > window_s
        ]
        for session_id in old:
            del self.by_id[session_id]


def request_reconnect(session: GatewaySession) -> None:
    """Op 7: the client is to come back and RESUME."""
    _send(session, RECONNECT, None)


def request_heartbeat(session: GatewaySession) -> None:
    """Op 1: the client is to send a heartbeat at once."""
    _send(session, HEARTBEAT, None)


def _send(session: GatewaySession, op: int, data: bool | None) -> None:
    if session.transport is not None:
        session.transport.send(frames.encode(op, data))
