"""The session of one client, which authenticates, then sends requests. Each is answered before the next is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from websockets.exceptions import ConnectionClosed

from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.api_keys import ApiKey, ApiKeys, KeyRefused
from botctl.core.contracts.permissions import EVENTS
from botctl.core.contracts.throttle import Scope, address_subject
from botctl.core.errors import STORE_FAULTS
from botctl.realtime.hub import History, Hub, HubFull
from botctl.realtime.limits import PolicyLimiter
from botctl.realtime.protocol import (
    Auth,
    BadMessage,
    CloseReason,
    Ping,
    Request,
    RequestId,
    Subscribe,
    Unsubscribe,
    encode_error,
    encode_events,
    encode_reply,
    parse_request,
    position_fields,
)
from botctl.realtime.socket import Socket, chunks, text_frame

MESSAGE_POLICY: Final = "realtime.message"
"""The rate limit policy of messages."""
_MAX_PAUSE_S: Final = 1.0  # the longest wait after a message over the limit


class Admission(Protocol):
    """Admits clients by their keys."""

    def checking_key(self) -> AbstractContextManager[None]:
        """Enclose the check of a key and `admit`, so that a key that is revoked in between is not admitted."""
        ...

    def admit(self, client: Socket, key: ApiKey, keeps_rights: Callable[[], bool]) -> CloseReason | None:
        """Count ``client`` under ``key``; return why it is not admitted, or None.

        ``keeps_rights``: whether the key may still do what the connection does; asked when grants change.
        """
        ...

    def record_refused_key(self, client: Socket, reason: str) -> None:
        """Record that ``client`` sent an invalid key."""
        ...


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The limits of one connection."""

    topics: int  # subscribed to at once


@dataclass(eq=False, slots=True)
class RealtimeSession:
    client: Socket
    hub: Hub
    keys: ApiKeys
    access: AccessControl
    limiter: PolicyLimiter
    admission: Admission
    limits: SessionLimits
    key: ApiKey | None = field(default=None, init=False)
    topics: set[str] = field(default_factory=set, init=False)

    async def run(self) -> None:
        """Answer requests until the connection closes."""
        try:
            async for text in self.client:
                if not self.client.is_open:
                    return
                await self._handle_message(text)
        except ConnectionClosed:
            return
        finally:
            self.hub.leave(self.client, self.topics)

    async def _handle_message(self, text: str | bytes) -> None:
        try:
            request = parse_request(text)
        except BadMessage as error:
            self._send_error(error.request_id, "bad message", str(error))
            self.client.disconnect(CloseReason.BAD_MESSAGE, detail=str(error))
            return
        if self.key is None:
            await self._authenticate(request)
            return
        if not await self._within_limits(request, self.key):
            return
        try:
            await self._handle_request(request, self.key)
        except STORE_FAULTS:
            self._send_error(request.id, "unavailable", "the events cannot be read at the moment", temporary=True)

    async def _handle_request(self, request: Request, key: ApiKey) -> None:
        match request:
            case Subscribe():
                await self._subscribe(request, key)
            case Unsubscribe():
                self.hub.leave(self.client, request.topics)
                self.topics.difference_update(request.topics)
                self._send(encode_reply(request.id, "unsubscribe", topics=sorted(self.topics)))
            case Ping():
                self._send(encode_reply(request.id, "pong"))
            case Auth():
                self._send_error(request.id, "authenticated", "this connection is authenticated already")

    async def _authenticate(self, request: Request) -> None:
        if not isinstance(request, Auth):
            self._send_error(request.id, "not authenticated", "the first message must be auth, with a key")
            self.client.disconnect(CloseReason.NOT_AUTHENTICATED)
            return
        with self.admission.checking_key():
            await self._check_key(request)

    async def _check_key(self, request: Auth) -> None:
        try:
            key = await self.keys.check(request.key, address=address_subject(self.client.address))
        except KeyRefused as error:
            self.admission.record_refused_key(self.client, str(error))
            self._send_error(request.id, "bad key", str(error))
            self.client.disconnect(CloseReason.BAD_KEY, detail=str(error))
            return
        except STORE_FAULTS:
            self._send_error(request.id, "unavailable", "keys cannot be checked at the moment", temporary=True)
            self.client.disconnect(CloseReason.UNAVAILABLE)
            return
        if not self.client.is_open:
            return
        if (reason := self.admission.admit(self.client, key, self.keeps_rights)) is not None:
            self._send_error(request.id, reason.phrase, f"this key is not admitted: {reason.phrase}")
            self.client.disconnect(reason)
            return
        self.key = key
        self.client.mark_authenticated()
        self._send(encode_reply(request.id, "auth", key=_key_fields(key)))

    async def _within_limits(self, request: Request, key: ApiKey) -> bool:
        """Whether the rate limits admit the message. If not, send an error, and wait until the next one can pass."""
        address = address_subject(self.client.address)
        subjects = {Scope.KEY: key.id, Scope.ADDRESS: address, Scope.CONNECTION: str(self.client.id)}
        verdict = await self.limiter.check(subjects, kind=type(request).__name__)
        if not verdict.allowed:
            wait_s = round(verdict.retry_after_s, 3)
            self._send_error(request.id, "throttled", f"limit: {verdict.limit}", temporary=True, retry_after_s=wait_s)
            await asyncio.sleep(min(verdict.retry_after_s, _MAX_PAUSE_S))
        return verdict.allowed

    async def _subscribe(self, request: Subscribe, key: ApiKey) -> None:
        if forbidden := [topic for topic in request.topics if not self._may_read(key, topic)]:
            self._send_error(request.id, "forbidden", f"this key may not read {', '.join(forbidden)}")
            return
        if len(self.topics.union(request.topics)) > self.limits.topics:
            self._send_error(request.id, "too many topics", f"a connection has at most {self.limits.topics} topics")
            return
        self.hub.leave(self.client, request.topics)  # if it subscribes again
        self.topics.difference_update(request.topics)
        histories = await self._histories(request)
        topics = [_topic_fields(topic, history, request) for topic, history in histories.items()]
        self._send(encode_reply(request.id, "subscribe", topics=topics))
        for topic, history in histories.items():
            frames = map(text_frame, encode_events(topic, history.position.epoch, history.entries))
            for chunk in chunks(frames):
                self.client.push(chunk)
        for topic, history in histories.items():
            try:
                await self.hub.join(self.client, topic, history.position, key=key.id)
            except HubFull as error:
                self._send_error(request.id, "too many topics", f"{error} to add {topic}", temporary=True)
            except STORE_FAULTS:  # it has the reply already, so it must reconnect with its position
                self.client.disconnect(CloseReason.UNAVAILABLE)
            else:
                self.topics.add(topic)
        if not self.keeps_rights():  # the grants changed in the meantime
            self.client.disconnect(CloseReason.ACCESS_CHANGED)

    def keeps_rights(self) -> bool:
        """Whether the key may still read all topics that the connection is subscribed to."""
        return self.key is None or all(self._may_read(self.key, topic) for topic in self.topics)

    def _may_read(self, key: ApiKey, topic: str) -> bool:
        """Topics have the events of all guilds, so a right in one guild is not enough."""
        return self.access.decide(key.requester(), f"{EVENTS}{topic}").allowed

    async def _histories(self, request: Subscribe) -> dict[str, History]:
        """Return the missed events of each topic; none of a topic whose events do not fit into the send queue."""
        histories: dict[str, History] = {}
        limit_bytes = max(0, self.hub.recover_bytes - self.client.queued_bytes)
        for topic in request.topics:
            histories[topic] = await self.hub.history(topic, request.after.get(topic), limit_bytes=limit_bytes)
            limit_bytes -= histories[topic].size_bytes
        return histories

    def _send(self, data: bytes) -> None:
        self.client.push(text_frame(data))

    def _send_error(self, request_id: RequestId, code: str, message: str, **fields: object) -> None:
        self._send(encode_error(request_id, code, message, **fields))  # type: ignore[arg-type]


def _key_fields(key: ApiKey) -> dict[str, object]:
    return {"id": key.id, "name": key.name, "permissions": key.permissions, "guild": key.guild}


def _topic_fields(topic: str, history: History, request: Subscribe) -> dict[str, object]:
    """Return the position after which events of ``topic`` follow, and whether the missed ones were recovered."""
    after = request.after.get(topic)
    if after is None:
        return position_fields(topic, history.position)
    start = after._replace(epoch=history.position.epoch) if history.recovered else history.position
    return position_fields(topic, start) | {"recovered": history.recovered}
