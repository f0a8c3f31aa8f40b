"""The gateway protocol of one connection, without a socket.

`GatewayConnection.receive` takes a frame and writes to a `session.Transport`. Discord: Gateway; Opcodes and Status
Codes > Gateway.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from botctl.sandbox.model.compact_json import dumps
from botctl.sandbox.model.gateway import frames
from botctl.sandbox.model.gateway.opcodes import (
    ACCEPTED_INTENTS,
    ACK,
    HEARTBEAT,
    HELLO,
    IDENTIFY,
    INVALID,
    KNOWN_OPERATIONS,
    MEMBERS,
    PRESENCE,
    PRIVILEGED,
    RESUME,
    CloseCode,
)
from botctl.sandbox.model.gateway.session import GatewaySession, LoginResult, Sessions, Transport
from botctl.sandbox.model.limiter import IdentifyDecision

Json = dict[str, Any]


@dataclass(eq=False)
class GatewayConnection:
    """One connection. ``now_s`` is the time of the sandbox's monotonic clock, which tests may advance.

    Heartbeats use ``real_s``, the time of the real monotonic clock, because tests do not advance the client's clock.
    """

    sessions: Sessions
    transport: Transport
    session: GatewaySession | None = None  # the newest one; `current` is None once it is invalidated
    last_heartbeat_s: float = 0.0  # on the real clock
    _send_times: deque[float] = field(default_factory=deque)  # of the client's newest frames, for the rate limit

    def send_hello(self, real_s: float) -> None:
        self.last_heartbeat_s = real_s
        interval_ms = int(self.sessions.limits.heartbeat_s * 1000)
        self._send(HELLO, {"heartbeat_interval": interval_ms, "_trace": ['["botctl-sandbox"]']})

    @property
    def current(self) -> GatewaySession | None:
        """The session that uses this connection; None before IDENTIFY and after an invalidation."""
        return self.session if self.session is not None and self.session.transport is self.transport else None

    def heartbeat_timeout_s(self, real_s: float) -> float:
        """Seconds until the next heartbeat is overdue; always above zero."""
        limits = self.sessions.limits
        return max(self.last_heartbeat_s + limits.heartbeat_s * limits.heartbeat_grace - real_s, 0.001)

    def heartbeat_overdue(self, real_s: float) -> bool:
        limits = self.sessions.limits
        return real_s - self.last_heartbeat_s >= limits.heartbeat_s * limits.heartbeat_grace

    def receive(self, frame: str | bytes, now_s: float, real_s: float | None = None) -> None:
        """Handle one frame; text and binary mean the same. ``real_s`` defaults to ``now_s``."""
        limits = self.sessions.limits
        self._send_times.append(now_s)
        while self._send_times and self._send_times[0] <= now_s - limits.sends.per_s:
            self._send_times.popleft()
        if len(self._send_times) > limits.sends.count:
            return self.transport.close(*CloseCode.RATE_LIMITED)
        raw = frame.encode() if isinstance(frame, str) else frame
        payload = frames.parse(raw) if len(raw) <= limits.payload_bytes else None
        if payload is None:
            return self.transport.close(*CloseCode.DECODE_ERROR)
        if payload["op"] == HEARTBEAT:
            self.last_heartbeat_s = now_s if real_s is None else real_s
        return self._handle(payload["op"], payload.get("d"), now_s)

    def _handle(self, op: int, data: Any, now_s: float) -> None:
        """Handle a frame by its opcode; those of voice and soundboard are ignored."""
        if op == HEARTBEAT:
            if self.sessions.faults.acknowledges_heartbeats:
                self.transport.send(frames.encode(ACK, None), after_s=self.sessions.limits.ack_s)
        elif close_code := self._check_operation(op, data):
            self.transport.close(*close_code)
        elif op == IDENTIFY:
            self._identify(data, now_s)
        elif op == RESUME:
            self._resume(data, now_s)
        elif op == MEMBERS and self.current is not None:
            self._request_members(self.current, data)
        elif op == PRESENCE and self.current is not None:
            if not frames.is_presence(data):
                return self.transport.close(*CloseCode.DECODE_ERROR)
            self.sessions.backend.update_presence(self.current, data)
        return None

    def _check_operation(self, op: int, data: Any) -> tuple[int, str] | None:
        """The close code and its reason for an opcode that is unknown, or wrong in this state; else None."""
        if op not in KNOWN_OPERATIONS:
            return CloseCode.UNKNOWN_OPCODE
        if op in (IDENTIFY, RESUME):
            if self.current is not None:
                return CloseCode.ALREADY_AUTHENTICATED
        elif self.current is None:
            return CloseCode.NOT_AUTHENTICATED
        if op in (IDENTIFY, RESUME, MEMBERS) and not isinstance(data, dict):
            return CloseCode.DECODE_ERROR
        return None

    def _identify(self, data: Json, now_s: float) -> None:
        self.sessions.remove_expired(now_s)
        application = self.sessions.backend.authenticate(frames.bot_token(data))
        if application is None:
            return self.transport.close(*CloseCode.AUTHENTICATION_FAILED)
        application_id, flags = application
        shard, intents = frames.parse_shard(data.get("shard")), cast("Any", data.get("intents"))
        if shard is None:
            return self.transport.close(*CloseCode.INVALID_SHARD)
        record = partial(self.sessions.record, now_s, application_id, shard)
        match self.sessions.limiter.admit_identify(application_id, shard[0], now_s):
            case IdentifyDecision.EXHAUSTED:
                record(LoginResult.EXHAUSTED)
                self.sessions.backend.reset_token(application_id)
                return self.transport.close(*CloseCode.AUTHENTICATION_FAILED)
            case IdentifyDecision.TOO_SOON:
                record(LoginResult.TOO_SOON)
                return self._send(INVALID, d=False)
        if close_code := self._check_identify(application_id, flags, shard, intents):
            record(LoginResult.REFUSED)
            return self.transport.close(*close_code)
        record(LoginResult.IDENTIFIED)
        sharded = data.get("shard") is not None
        self.session = session = self.sessions.create(application_id, shard, intents, self.transport, sharded=sharded)
        session.large_threshold = frames.clamp_large_threshold(data.get("large_threshold"))
        if data.get("compress") is True:
            self.transport.compress()
        for event, body in self.sessions.backend.initial_dispatches(session):
            session.dispatch(event, dumps(body))
        self._deafen(session)
        return None

    def _deafen(self, session: GatewaySession) -> None:
        if self.sessions.faults.deafens_connections:
            session.deafen()

    def _check_identify(
        self, application_id: str, flags: int, shard: tuple[int, int], intents: Any
    ) -> tuple[int, str] | None:
        """The close code and its reason for a shard with too many guilds or for wrong intents; else None."""
        if self.sessions.backend.guild_count(application_id, shard) > self.sessions.limits.guilds_per_shard:
            return CloseCode.SHARDING_REQUIRED
        if type(intents) is not int or intents & ~ACCEPTED_INTENTS:
            return CloseCode.INVALID_INTENTS
        if any(intents & intent and not flags & granted for intent, granted in PRIVILEGED.items()):
            return CloseCode.DISALLOWED_INTENTS
        return None

    def _resume(self, data: Json, now_s: float) -> None:
        if self.sessions.faults.resume_host_down:
            self.sessions.faults.lose_connections()
            return self.transport.abort()
        application = self.sessions.backend.authenticate(frames.bot_token(data))
        if application is None:
            return self.transport.close(*CloseCode.AUTHENTICATION_FAILED)
        self.sessions.remove_expired(now_s)
        session = self.sessions.by_id.get(str(data.get("session_id")))
        seq: Any = data.get("seq")
        known = session is not None and session.application_id == application[0] and type(seq) is int
        missed = session.frames_after(seq) if session is not None and known and seq <= session.seq else None
        result = LoginResult.NOT_RESUMED if missed is None else LoginResult.RESUMED
        self.sessions.record(now_s, application[0], session.shard if session else (0, 1), result)
        if session is None or not known:
            return self._send(INVALID, d=False)
        if seq > session.seq:
            if session.transport is None:
                self.sessions.remove([session])  # Discord: "start a new session"
            return self.transport.close(*CloseCode.INVALID_SEQ)
        if missed is None:
            return self._send(INVALID, d=False)
        if session.transport is not None:
            session.transport.close(*CloseCode.UNKNOWN_ERROR)  # the older connection of the same session
        self.session, session.transport, session.disconnected_s = session, self.transport, None
        session.deaf_after = None
        for frame in session.frames_up_to(seq, self.sessions.faults.repeated_dispatches) + missed:
            self.transport.send(frame)
        session.dispatch("RESUMED", '{"_trace":[]}')
        self._deafen(session)
        return None

    def _request_members(self, session: GatewaySession, data: Json) -> None:
        for event, body in self.sessions.backend.member_chunks(session, data):
            session.dispatch(event, dumps(body))

    def _send(self, op: int, d: Any) -> None:
        self.transport.send(frames.encode(op, d))
