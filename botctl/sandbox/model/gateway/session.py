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

    def application(self, token: str) -> tuple[str, int] | None:
        """The id and flags of the application that ``token`` belongs to."""

    def guild_count(self, application_id: str, shard: tuple[int, int]) -> int: ...

    def welcome(self, session: GatewaySession) -> Iterable[Dispatch]:
        """What a new session is told: READY and its guilds."""

    def members(self, session: GatewaySession, request: Json) -> Iterable[Dispatch]:
        """The answer to op 8."""

    def presence(self, session: GatewaySession, presence: Json) -> None:
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
    line: Transport | None = None
    lost_s: float | None = None
    large_threshold: int = frames.SMALLEST_LARGE

    def dispatch(self, event: str, body: str) -> None:
        """Send ``event`` with the JSON text ``body``, now or at the RESUME."""
        self.seq += 1
        frame = f'{{"op":0,"s":{self.seq},"t":"{event}","d":{body}}}'
        self.sent.append((self.seq, frame))
        if self.line is not None:
            self.line.send(frame)

    def missed(self, seq: int) -> list[str] | None:
        """The frames after ``seq``; None when some of them are no longer there."""
        if self.seq > seq and (not self.sent or self.sent[0][0] > seq + 1):
            return None
        return [frame for number, frame in self.sent if number > seq]

    def again(self, seq: int, count: int) -> list[str]:
        """The newest ``count`` frames up to ``seq``, which the client has had before; never READY, the first."""
        return [frame for number, frame in self.sent if max(seq - count, 1) < number <= seq]

    def wants(self, event: str, guild_id: str | None, user_id: str | None = None) -> bool:
        """Does this session hear of ``event``: by its intents, and by its shard?

        ``user_id`` is the member whom a GUILD_MEMBER_UPDATE is about: bots hear of themselves without the intent.
        """
        needed = (INTENT_OF if guild_id else DIRECT_INTENT_OF).get(event)
        if needed and not self.intents & needed and user_id != self.application_id:
            return False
        return self.carries(guild_id)

    def carries(self, guild_id: str | None) -> bool:
        """Is the guild, or what is of none, this shard's?"""
        return snowflakes.is_in_shard(guild_id, self.shard) if guild_id else self.shard[0] == 0


class Sessions:
    """All sessions of the gateway."""

    def __init__(self, host: Backend, limiter: RateLimiter) -> None:
        self.host = host
        self.limiter = limiter
        self.trouble = Faults()
        self.by_id: dict[str, GatewaySession] = {}

    @property
    def limits(self) -> Limits:
        return self.limiter.limits

    def connected(self) -> list[GatewaySession]:
        return [session for session in self.by_id.values() if session.transport is not None]

    def begin(
        self, application_id: str, shard: tuple[int, int], intents: int, line: Transport, *, sharded: bool
    ) -> GatewaySession:
        sent: deque[tuple[int, str]] = deque(maxlen=self.limits.buffer)
        session = GatewaySession(secrets.token_hex(16), application_id, shard, sharded, intents, sent, line=line)
        self.by_id[session.id] = session
        return session

    def lose(self, session: GatewaySession, line: Transport, now_s: float, *, ended: bool) -> None:
        """The connection is gone. ``ended``: the client closed with 1000 or 1001, which ends the session too."""
        if session.transport is not line:
            return  # another connection has resumed it
        session.transport = None
        session.disconnected_s = now_s
        if ended:
            self.by_id.pop(session.id, None)

    def forget(self, sessions: Iterable[GatewaySession]) -> None:
        """End ``sessions``: nothing is dispatched to them any more, and none can be resumed."""
        for session in sessions:
            self.by_id.pop(session.id, None)

    def invalidate(self, session: GatewaySession, now_s: float, *, resumable: bool) -> None:
        """Op 9: nothing is dispatched any more until the client has come back, by this connection or by another.

        With ``resumable`` it may RESUME; else the session is at its end, and it must IDENTIFY.
        """
        _send(session, INVALID, resumable)
        if session.transport is not None:
            self.lose(session, session.transport, now_s, ended=not resumable)

    def forget_old(self, now_s: float) -> None:
        """Drop the sessions that nobody resumed in time."""
        window_s = self.limits.resume_window_s
        old = [one.id for one in self.by_id.values() if one.disconnected_s is not None and now_s - one.disconnected_s > window_s]
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
