"""Gateway sessions without a socket: who may begin one, what it is sent, and whether it may go on.

A `Link` is one connection's side of the protocol: `Link.receive` takes a frame and writes to its `Line`. A `Session`
outlives its connections: it numbers what it dispatches and keeps it for RESUME. Discord: Gateway, and Opcodes and
Status Codes > Gateway.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from botctl.sandbox import frames
from botctl.sandbox.compact import dumps
from botctl.sandbox.limiter import Limiter, Start
from botctl.sandbox.limits import Limits
from botctl.sandbox.opcodes import (
    ACK,
    ALL_INTENTS,
    DIRECT_INTENT_OF,
    HEARTBEAT,
    HELLO,
    IDENTIFY,
    INTENT_OF,
    INVALID,
    KNOWN_OPERATIONS,
    MEMBERS,
    PRESENCE,
    PRIVILEGED,
    RECONNECT,
    RESUME,
    Close,
)
from botctl.sandbox.trouble import Trouble

Json = dict[str, Any]
Dispatch = tuple[str, Json]  # an event's name and data


class Line(Protocol):
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


class Host(Protocol):
    """What links ask of the Discord behind them."""

    def application(self, token: str) -> tuple[str, int] | None:
        """The id and flags of the application that ``token`` belongs to."""

    def guild_count(self, application_id: str, shard: tuple[int, int]) -> int: ...

    def welcome(self, session: Session) -> Iterable[Dispatch]:
        """What a new session is told: READY and its guilds."""

    def members(self, session: Session, request: Json) -> Iterable[Dispatch]:
        """The answer to op 8."""

    def presence(self, session: Session, presence: Json) -> None:
        """The bot says how it is: op 3, checked."""

    def reset_token(self, application_id: str) -> object:
        """End all its sessions; from now on there is another token."""


@dataclass(slots=True, eq=False)
class Session:
    """One session. ``sent`` holds the newest dispatches as (seq, frame); ``lost_s`` is when its connection went."""

    id: str
    application_id: str
    shard: tuple[int, int]
    sharded: bool
    intents: int
    sent: deque[tuple[int, str]]
    seq: int = 0
    line: Line | None = None
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
        """Does this session hear of ``event``: by its intents, and by its shard (guilds by ``(id >> 22) % n``)?

        ``user_id`` is the member whom a GUILD_MEMBER_UPDATE is about: bots hear of themselves without the intent.
        """
        needed = (INTENT_OF if guild_id else DIRECT_INTENT_OF).get(event)
        if needed and not self.intents & needed and user_id != self.application_id:
            return False
        return self.carries(guild_id)

    def carries(self, guild_id: str | None) -> bool:
        """Is the guild, or what is of none, this shard's?"""
        number, count = self.shard
        return (int(guild_id) >> 22) % count == number if guild_id else number == 0


class Sessions:
    """All sessions of the gateway."""

    def __init__(self, host: Host, limiter: Limiter) -> None:
        self.host = host
        self.limiter = limiter
        self.trouble = Trouble()
        self.by_id: dict[str, Session] = {}

    @property
    def limits(self) -> Limits:
        return self.limiter.limits

    def connected(self) -> list[Session]:
        return [session for session in self.by_id.values() if session.line is not None]

    def begin(self, application_id: str, shard: tuple[int, int], intents: int, line: Line, *, sharded: bool) -> Session:
        sent: deque[tuple[int, str]] = deque(maxlen=self.limits.buffer)
        session = Session(secrets.token_hex(16), application_id, shard, sharded, intents, sent, line=line)
        self.by_id[session.id] = session
        return session

    def lose(self, session: Session, line: Line, now_s: float, *, ended: bool) -> None:
        """The connection is gone. ``ended``: the client closed with 1000 or 1001, which ends the session too."""
        if session.line is not line:
            return  # another connection has resumed it
        session.line = None
        session.lost_s = now_s
        if ended:
            self.by_id.pop(session.id, None)

    def forget(self, sessions: Iterable[Session]) -> None:
        """End ``sessions``: nothing is dispatched to them any more, and none can be resumed."""
        for session in sessions:
            self.by_id.pop(session.id, None)

    def invalidate(self, session: Session, now_s: float, *, resumable: bool) -> None:
        """Op 9: nothing is dispatched any more until the client has come back, by this connection or by another.

        With ``resumable`` it may RESUME; else the session is at its end, and it must IDENTIFY.
        """
        _tell(session, INVALID, resumable)
        if session.line is not None:
            self.lose(session, session.line, now_s, ended=not resumable)

    def forget_old(self, now_s: float) -> None:
        """Drop the sessions that nobody resumed in time."""
        window_s = self.limits.resume_window_s
        old = [one.id for one in self.by_id.values() if one.lost_s is not None and now_s - one.lost_s > window_s]
        for session_id in old:
            del self.by_id[session_id]


@dataclass(eq=False)
class Link:
    """One connection's side of the protocol, given the time as monotonic seconds.

    ``session`` is the newest one that began or went on here; `current` that one, unless it was invalidated since.
    Whether the client is alive goes by the real time (``heard_s``, `patience`, `overdue`): its own clock is not moved.
    """

    sessions: Sessions
    line: Line
    session: Session | None = None
    heard_s: float = 0.0
    _sends: deque[float] = field(default_factory=deque)

    def hello(self, real_s: float) -> None:
        self.heard_s = real_s
        interval_ms = int(self.sessions.limits.heartbeat_s * 1000)
        self._send(HELLO, {"heartbeat_interval": interval_ms, "_trace": ['["botctl-sandbox"]']})

    @property
    def current(self) -> Session | None:
        return self.session if self.session is not None and self.session.line is self.line else None

    def patience(self, real_s: float) -> float:
        """Seconds that the next heartbeat may still take; never quite zero."""
        limits = self.sessions.limits
        return max(self.heard_s + limits.heartbeat_s * limits.heartbeat_grace - real_s, 0.001)

    def overdue(self, real_s: float) -> bool:
        """Has the client missed its heartbeat?"""
        limits = self.sessions.limits
        return real_s - self.heard_s >= limits.heartbeat_s * limits.heartbeat_grace

    def receive(self, frame: str | bytes, now_s: float, real_s: float | None = None) -> None:
        """One frame from the client; text and binary mean the same. ``real_s``: where it is not ``now_s``."""
        limits = self.sessions.limits
        self._sends.append(now_s)
        while self._sends and self._sends[0] <= now_s - limits.sends.per_s:
            self._sends.popleft()
        if len(self._sends) > limits.sends.count:
            return self.line.close(*Close.RATE_LIMITED)
        raw = frame.encode() if isinstance(frame, str) else frame
        payload = frames.parsed(raw) if len(raw) <= limits.payload_bytes else None
        if payload is None:
            return self.line.close(*Close.DECODE_ERROR)
        if payload["op"] == HEARTBEAT:
            self.heard_s = now_s if real_s is None else real_s
        return self._handle(payload["op"], payload.get("d"), now_s)

    def _handle(self, op: int, data: Any, now_s: float) -> None:
        """Voice and soundboards are heard, and nothing here depends on them."""
        if op == HEARTBEAT:
            if self.sessions.trouble.acks:
                self.line.send(frames.frame(ACK, None), after_s=self.sessions.limits.ack_s)
        elif refused := self._out_of_turn(op, data):
            self.line.close(*refused)
        elif op == IDENTIFY:
            self._identify(data, now_s)
        elif op == RESUME:
            self._resume(data, now_s)
        elif op == MEMBERS and self.current is not None:
            self._request_members(self.current, data)
        elif op == PRESENCE and self.current is not None:
            if not frames.is_presence(data):
                return self.line.close(*Close.DECODE_ERROR)
            self.sessions.host.presence(self.current, data)
        return None

    def _out_of_turn(self, op: int, data: Any) -> tuple[int, str] | None:
        """The close code for an operation that may not come now, or not like this."""
        if op not in KNOWN_OPERATIONS:
            return Close.UNKNOWN_OPCODE
        if op in (IDENTIFY, RESUME):
            if self.current is not None:
                return Close.ALREADY_AUTHENTICATED
        elif self.current is None:
            return Close.NOT_AUTHENTICATED
        if op in (IDENTIFY, RESUME, MEMBERS) and not isinstance(data, dict):
            return Close.DECODE_ERROR
        return None

    def _identify(self, data: Json, now_s: float) -> None:
        self.sessions.forget_old(now_s)
        application = self.sessions.host.application(frames.token(data))
        if application is None:
            return self.line.close(*Close.AUTHENTICATION_FAILED)
        application_id, flags = application
        shard, intents = frames.shard(data.get("shard")), cast("Any", data.get("intents"))
        if shard is None:
            return self.line.close(*Close.INVALID_SHARD)
        match self.sessions.limiter.identify(application_id, shard[0], now_s):
            case Start.NEVER:
                self.sessions.host.reset_token(application_id)
                return self.line.close(*Close.AUTHENTICATION_FAILED)
            case Start.LATER:
                return self._send(INVALID, d=False)
        if refused := self._unfit(application_id, flags, shard, intents):
            return self.line.close(*refused)
        sharded = data.get("shard") is not None
        self.session = session = self.sessions.begin(application_id, shard, intents, self.line, sharded=sharded)
        session.large_threshold = frames.large_threshold(data.get("large_threshold"))
        if data.get("compress") is True:
            self.line.compress()
        for event, body in self.sessions.host.welcome(session):
            session.dispatch(event, dumps(body))
        return None

    def _unfit(self, application_id: str, flags: int, shard: tuple[int, int], intents: Any) -> tuple[int, str] | None:
        """The close code for a shard with too many guilds, or for wrong intents."""
        if self.sessions.host.guild_count(application_id, shard) > self.sessions.limits.guilds_per_shard:
            return Close.SHARDING_REQUIRED
        if type(intents) is not int or intents & ~ALL_INTENTS:
            return Close.INVALID_INTENTS
        if any(intents & intent and not flags & granted for intent, granted in PRIVILEGED.items()):
            return Close.DISALLOWED_INTENTS
        return None

    def _resume(self, data: Json, now_s: float) -> None:
        application = self.sessions.host.application(frames.token(data))
        if application is None:
            return self.line.close(*Close.AUTHENTICATION_FAILED)
        self.sessions.forget_old(now_s)
        session = self.sessions.by_id.get(str(data.get("session_id")))
        seq = data.get("seq")
        if session is None or session.application_id != application[0] or type(seq) is not int:
            return self._send(INVALID, d=False)
        if seq > session.seq:
            if session.line is None:
                self.sessions.forget([session])  # Discord: "start a new session"
            return self.line.close(*Close.INVALID_SEQ)
        missed = session.missed(seq)
        if missed is None:
            return self._send(INVALID, d=False)
        if session.line is not None:
            session.line.close(*Close.UNKNOWN_ERROR)  # the older connection of the same session
        self.session, session.line, session.lost_s = session, self.line, None
        for frame in session.again(seq, self.sessions.trouble.repeats) + missed:
            self.line.send(frame)
        session.dispatch("RESUMED", '{"_trace":[]}')
        return None

    def _request_members(self, session: Session, data: Json) -> None:
        for event, body in self.sessions.host.members(session, data):
            session.dispatch(event, dumps(body))

    def _send(self, op: int, d: Any) -> None:
        self.line.send(frames.frame(op, d))


def ask_reconnect(session: Session) -> None:
    """Op 7: the client is to come back and RESUME."""
    _tell(session, RECONNECT, None)


def ask_heartbeat(session: Session) -> None:
    """Op 1: the client is to send a heartbeat at once."""
    _tell(session, HEARTBEAT, None)


def _tell(session: Session, op: int, data: bool | None) -> None:
    if session.line is not None:
        session.line.send(frames.frame(op, data))
