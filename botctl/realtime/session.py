"""One client's conversation: first its key, then what it asks for. A message is answered before the next is read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from websockets.exceptions import ConnectionClosed

from botctl.core.contracts.api_keys import ApiKey, ApiKeys, KeyRefused
from botctl.core.contracts.protocols import Limiter
from botctl.core.contracts.throttle import Limit, Scope, address_subject
from botctl.core.errors import Unreachable
from botctl.realtime.hub import History, Hub, HubFull
from botctl.realtime.protocol import (
    Auth,
    BadMessage,
    CloseReason,
    Ping,
    Request,
    RequestId,
    Subscribe,
    Unsubscribe,
    parse,
    place,
    pushes,
    refusal,
    reply,
)
from botctl.realtime.socket import Socket, chunks, text_frame

MESSAGES: Final = "realtime.message"
"""The name under which messages are counted by the limiter."""
_MAX_PAUSE_S: Final = 1.0


class Admission(Protocol):
    """Who lets keys in, and knows who is in."""

    def checking(self) -> AbstractContextManager[None]:
        """From before a key is looked up until it is admitted: what is revoked meanwhile is not let in."""
        ...

    def admit(self, client: Socket, key: ApiKey) -> CloseReason | None:
        """Count ``client`` as one of ``key``; why not, if it may not come in."""
        ...

    def refused(self, client: Socket, why: str) -> None:
        """``client`` has shown a key that does not open."""
        ...


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one connection may do."""

    topics: int
    messages: Sequence[Limit]


@dataclass(eq=False, slots=True)
class RealtimeSession:
    """The conversation with ``client``."""

    client: Socket
    hub: Hub
    keys: ApiKeys
    limiter: Limiter
    admission: Admission
    limits: SessionLimits
    key: ApiKey | None = field(default=None, init=False)
    topics: set[str] = field(default_factory=set, init=False)

    async def run(self) -> None:
        """Answer until the connection ends."""
        try:
            async for text in self.client:
                if not self.client.is_open:
                    return
                await self._hear(text)
        except ConnectionClosed:
            return
        finally:
            self.hub.leave(self.client, self.topics)

    async def _hear(self, text: str | bytes) -> None:
        try:
            request = parse(text)
        except BadMessage as error:
            self._refuse(error.request_id, "bad message", str(error))
            self.client.cut(CloseReason.BAD_MESSAGE, reason=str(error))
            return
        if self.key is None:
            await self._authenticate(request)
            return
        if not await self._within_limits(request.id, self.key):
            return
        try:
            await self._do(request, self.key)
        except Unreachable:
            self._refuse(request.id, "unavailable", "the events cannot be read at the moment", temporary=True)

    async def _do(self, request: Request, key: ApiKey) -> None:
        match request:
            case Subscribe():
                await self._subscribe(request, key)
            case Unsubscribe():
                self.hub.leave(self.client, request.topics)
                self.topics.difference_update(request.topics)
                self._say(reply(request.id, "unsubscribe", topics=sorted(self.topics)))
            case Ping():
                self._say(reply(request.id, "pong"))
            case Auth():
                self._refuse(request.id, "authenticated", "this connection has its key already")

    async def _authenticate(self, request: Request) -> None:
        if not isinstance(request, Auth):
            self._refuse(request.id, "not authenticated", "the first message is auth, with a key")
            self.client.cut(CloseReason.NOT_AUTHENTICATED)
            return
        with self.admission.checking():
            await self._show(request)

    async def _show(self, request: Auth) -> None:
        try:
            key = await self.keys.check(request.key)
        except KeyRefused as error:
            self.admission.refused(self.client, str(error))
            self._refuse(request.id, "bad key", str(error))
            self.client.cut(CloseReason.BAD_KEY, reason=str(error))
            return
        except Unreachable:
            self._refuse(request.id, "unavailable", "keys cannot be checked at the moment", temporary=True)
            self.client.cut(CloseReason.UNAVAILABLE)
            return
        if not self.client.is_open:
            return
        if (why := self.admission.admit(self.client, key)) is not None:
            self._refuse(request.id, why.words, f"this key may not come in: {why.words}")
            self.client.cut(why)
            return
        self.key = key
        self.client.mark_authenticated()
        self._say(reply(request.id, "auth", key={"id": key.id, "name": key.name, "topics": key.topics}))

    async def _within_limits(self, request_id: RequestId, key: ApiKey) -> bool:
        """Whether the message may be answered. If not, the next one is not read before it may be."""
        subjects = {Scope.KEY: key.id, Scope.ADDRESS: address_subject(self.client.address)}
        verdict = await self.limiter.check_subjects(MESSAGES, subjects, self.limits.messages)
        if not verdict.allowed:
            wait_s = round(verdict.retry_after_s, 3)
            self._refuse(request_id, "throttled", f"limit: {verdict.limit}", temporary=True, retry_after_s=wait_s)
            await asyncio.sleep(min(verdict.retry_after_s, _MAX_PAUSE_S))
        return verdict.allowed

    async def _subscribe(self, request: Subscribe, key: ApiKey) -> None:
        if closed := [topic for topic in request.topics if not key.may_read(topic)]:
            self._refuse(request.id, "forbidden", f"this key does not open {', '.join(closed)}")
            return
        if len(self.topics.union(request.topics)) > self.limits.topics:
            self._refuse(request.id, "too many topics", f"a connection has at most {self.limits.topics} topics")
            return
        self.hub.leave(self.client, request.topics)  # where it subscribes anew
        self.topics.difference_update(request.topics)
        found = await self._histories(request)
        said = [_said(topic, history, request) for topic, history in found.items()]
        self._say(reply(request.id, "subscribe", topics=said))
        for topic, history in found.items():
            frames = map(text_frame, pushes(topic, history.position.epoch, history.entries))
            for piece in chunks(frames):
                self.client.push(piece)
        for topic, history in found.items():
            try:
                await self.hub.join(self.client, topic, history.position)
            except HubFull:
                self._refuse(request.id, "too many topics", f"the server cannot read {topic} as well", temporary=True)
            except Unreachable:  # it was told that all is well: let it come back, and say where it is
                self.client.cut(CloseReason.UNAVAILABLE)
            else:
                self.topics.add(topic)

    async def _histories(self, request: Subscribe) -> dict[str, History]:
        """What it missed, topic by topic, as far as there is room: its own history must not cut a client that reads."""
        found: dict[str, History] = {}
        room_bytes = max(0, self.hub.recover_bytes - self.client.queued_bytes)
        for topic in request.topics:
            found[topic] = await self.hub.history(topic, request.after.get(topic), room_bytes=room_bytes)
            room_bytes -= found[topic].size_bytes
        return found

    def _say(self, data: bytes) -> None:
        self.client.push(text_frame(data))

    def _refuse(self, request_id: RequestId, code: str, sentence: str, **more: object) -> None:
        self._say(refusal(request_id, code, sentence, **more))  # type: ignore[arg-type]


def _said(topic: str, history: History, request: Subscribe) -> dict[str, object]:
    """Where the pushes of ``topic`` go on, and whether that is where the client was."""
    after = request.after.get(topic)
    if after is None:
        return place(topic, history.position)
    start = after._replace(epoch=history.position.epoch) if history.recovered else history.position
    return place(topic, start) | {"recovered": history.recovered}
