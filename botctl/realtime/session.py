"""The session of one client, which authenticates, then sends requests. Each is answered before the next is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from websockets.exceptions import ConnectionClosed

from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.api_keys import KeyRefused
from botctl.core.contracts.callers import Caller, Guilds, readable_guilds
from botctl.core.contracts.states import STATE_PERMISSIONS
from botctl.core.contracts.throttle import Scope, address_subject
from botctl.core.errors import STORE_FAULTS
from botctl.core.escape import safe
from botctl.realtime.actions import ActionRefused, Actions
from botctl.realtime.authentication import Authenticator, caller_fields
from botctl.realtime.hub import History, Hub, HubFull
from botctl.realtime.limits import PolicyLimiter
from botctl.realtime.protocol import (
    MAX_ID,
    Auth,
    BadMessage,
    CloseReason,
    Do,
    ListActions,
    Ping,
    Request,
    RequestId,
    Subscribe,
    Unsubscribe,
    Unwatch,
    Watch,
    encode_error,
    encode_events,
    encode_reply,
    parse_request,
    position_fields,
)
from botctl.realtime.socket import Socket, chunks, text_frame
from botctl.realtime.states import StateHub, encode_stale

MESSAGE_POLICY: Final = "realtime.message"
"""The rate limit policy of messages."""
_MAX_PAUSE_S: Final = 1.0  # the longest wait after a message over the limit


class Admission(Protocol):
    """Admits clients by their callers."""

    def checking(self) -> AbstractContextManager[None]:
        """Enclose the check of a caller and `admit`, so that one that ends in between is not admitted."""
        ...

    def admit(self, client: Socket, caller: Caller, keeps_rights: Callable[[], bool]) -> CloseReason | None:
        """Count ``client`` under ``caller``; return why it is not admitted, or None.

        ``keeps_rights``: whether the caller may still do what the connection does; asked when grants change.
        """
        ...

    def record_refused(self, client: Socket, what: str, reason: str) -> None:
        """Record that ``client`` sent an invalid ``what``: a key or a ticket."""
        ...


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The limits of one connection."""

    topics: int  # subscribed to at once


@dataclass(eq=False, slots=True)
class RealtimeSession:
    """The session of ``client``, from its connection to its end: `run`.

    ``caller``: whose key or ticket it sent; None before that. ``limiter`` counts its messages, by `MESSAGE_POLICY`.
    """

    client: Socket
    hub: Hub
    states: StateHub
    actions: Actions
    authenticator: Authenticator
    access: AccessControl
    limiter: PolicyLimiter
    admission: Admission
    limits: SessionLimits
    caller: Caller | None = field(default=None, init=False)
    topics: dict[str, Guilds] = field(default_factory=dict, init=False)  # with the guilds whose events it gets
    watched: set[str] = field(default_factory=set, init=False)  # states

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
            self.states.unwatch(self.client, self.watched)

    async def _handle_message(self, text: str | bytes) -> None:
        try:
            request = parse_request(text)
        except BadMessage as error:
            self._send_error(error.request_id, "bad message", str(error))
            self.client.disconnect(CloseReason.BAD_MESSAGE, detail=str(error))
            return
        if self.caller is None:
            await self._authenticate(request)
            return
        if not await self._within_limits(request, self.caller):
            return
        try:
            await self._handle_request(request, self.caller)
        except STORE_FAULTS:
            self._send_unavailable(request)

    async def _handle_request(self, request: Request, caller: Caller) -> None:
        match request:
            case Subscribe():
                await self._subscribe(request, caller)
            case Unsubscribe():
                self._leave(request.topics)
                self._send(encode_reply(request.id, "unsubscribe", topics=sorted(self.topics)))
            case Watch():
                await self._watch(request, caller)
            case Unwatch():
                self.states.unwatch(self.client, request.states)
                self.watched.difference_update(request.states)
                self._send(encode_reply(request.id, "unwatch", states=sorted(self.watched)))
            case Do():
                await self._do(request, caller)
            case ListActions():
                self._send(encode_reply(request.id, "actions", actions=self.actions.offered(caller)))
            case Ping():
                self._send(encode_reply(request.id, "pong"))
            case Auth():
                self._send_error(request.id, "authenticated", "this connection is authenticated already")

    async def _authenticate(self, request: Request) -> None:
        if not isinstance(request, Auth):
            self._send_error(request.id, "not authenticated", "the first message must be auth")
            self.client.disconnect(CloseReason.NOT_AUTHENTICATED)
            return
        with self.admission.checking():
            await self._check_caller(request)

    async def _check_caller(self, request: Auth) -> None:
        try:
            caller = await self.authenticator.check(request, address_subject(self.client.address))
        except KeyRefused as error:
            what = "key" if request.ticket is None else "ticket"
            self.admission.record_refused(self.client, what, str(error))
            self._send_error(request.id, f"bad {what}", str(error))
            self.client.disconnect(CloseReason.BAD_KEY, detail=str(error))
            return
        except STORE_FAULTS:
            self._send_error(request.id, "unavailable", "this cannot be checked at the moment", temporary=True)
            self.client.disconnect(CloseReason.UNAVAILABLE)
            return
        if not self.client.is_open:
            return
        if (reason := self.admission.admit(self.client, caller, self.keeps_rights)) is not None:
            self._send_error(request.id, reason.phrase, f"this client is not admitted: {reason.phrase}")
            self.client.disconnect(reason)
            return
        self.caller = caller
        self.client.mark_authenticated()
        self._send(encode_reply(request.id, "auth", **caller_fields(caller)))

    async def _within_limits(self, request: Request, caller: Caller) -> bool:
        """Whether the rate limits admit the message. If not, send an error, and wait until the next one can pass."""
        address = address_subject(self.client.address)
        subjects = {Scope.KEY: caller.id, Scope.ADDRESS: address, Scope.CONNECTION: str(self.client.id)}
        verdict = await self.limiter.check(subjects, kind=type(request).__name__)
        if not verdict.allowed:
            wait_s = round(verdict.retry_after_s, 3)
            self._send_error(request.id, "throttled", f"limit: {verdict.limit}", temporary=True, retry_after_s=wait_s)
            await asyncio.sleep(min(verdict.retry_after_s, _MAX_PAUSE_S))
        return verdict.allowed

    async def _subscribe(self, request: Subscribe, caller: Caller) -> None:
        readable = {topic: readable_guilds(self.access, caller, topic) for topic in request.topics}
        if forbidden := [topic for topic, guilds in readable.items() if guilds is not None and not guilds]:
            self._send_error(request.id, "forbidden", f"this client may not read {', '.join(forbidden)}")
            return
        if len(self.topics.keys() | request.topics) > self.limits.topics:
            self._send_error(request.id, "too many topics", f"a connection has at most {self.limits.topics} topics")
            return
        left = self.topics.keys() & request.topics
        self._leave(left)  # it subscribes again, and must not get events of both subscriptions
        try:
            histories = await self._histories(request, readable)
        except STORE_FAULTS:
            self._send_unavailable(request)
            if left:  # it would miss their events without a word, so it must reconnect with its position
                self.client.disconnect(CloseReason.UNAVAILABLE)
            return
        topics = [_topic_fields(topic, history, request) for topic, history in histories.items()]
        self._send(encode_reply(request.id, "subscribe", topics=topics))
        for topic, history in histories.items():
            frames = map(text_frame, encode_events(topic, history.position.epoch, history.entries))
            for chunk in chunks(frames):
                self.client.push(chunk)
        await self._join(request, caller, readable, histories)
        self._require_rights()

    async def _join(
        self, request: Subscribe, caller: Caller, readable: Mapping[str, Guilds], histories: Mapping[str, History]
    ) -> None:
        """Get the events after ``histories`` from now on."""
        for topic, history in histories.items():
            try:
                await self.hub.join(self.client, topic, history.position, guilds=readable[topic], caller=caller.id)
            except HubFull as error:
                self._send_error(request.id, "too many topics", f"{error} to add {topic}", temporary=True)
            except STORE_FAULTS:  # it has the reply already, so it must reconnect with its position
                self.client.disconnect(CloseReason.UNAVAILABLE)
            else:
                self.topics[topic] = readable[topic]

    def _leave(self, topics: Iterable[str]) -> None:
        self.hub.leave(self.client, topics)
        for topic in topics:
            self.topics.pop(topic, None)

    async def _watch(self, request: Watch, caller: Caller) -> None:
        if unknown := [name for name in request.states if name not in self.states.names]:
            sentence = f"there is no state {safe(unknown[0], MAX_ID)!r}; there are {', '.join(self.states.names)}"
            self._send_error(request.id, "bad request", sentence)
            return
        if missing := [name for name in request.states if not self._may_watch(caller, name)]:
            needed = ", ".join(dict.fromkeys(STATE_PERMISSIONS[name] for name in missing))
            sentence = f"{', '.join(missing)}: this needs {needed} for the bot"
            self._send_error(request.id, "forbidden", sentence)
            return
        tables = await self.states.watch(self.client, request.states)
        self.watched.update(request.states)
        self._send(encode_reply(request.id, "watch", states=tables))
        for name in request.states:
            if (since := self.states.stale_since(name)) is not None:
                self._send(encode_stale(name, since))
        self._require_rights()

    def _may_watch(self, caller: Caller, state: str) -> bool:
        """States are about the whole bot, so a right in one guild is not enough."""
        return self.access.decide(caller.requester(), STATE_PERMISSIONS[state]).allowed

    async def _do(self, request: Do, caller: Caller) -> None:
        try:
            result = await self.actions.do(caller, request)
        except ActionRefused as refused:
            self._send_error(request.id, refused.code, str(refused), temporary=refused.temporary)
        else:
            self._send(encode_reply(request.id, "done", action=request.action, result=result))

    def keeps_rights(self) -> bool:
        """Whether the caller may still read and watch all that it does: each topic in the guilds as it subscribed."""
        caller = self.caller
        if caller is None:
            return True
        return all(
            _includes(readable_guilds(self.access, caller, topic), guilds) for topic, guilds in self.topics.items()
        ) and all(self._may_watch(caller, state) for state in self.watched)

    def _require_rights(self) -> None:
        if not self.keeps_rights():  # the grants changed during the request
            self.client.disconnect(CloseReason.ACCESS_CHANGED)

    async def _histories(self, request: Subscribe, readable: Mapping[str, Guilds]) -> dict[str, History]:
        """Return the missed events of each topic; none of a topic whose events do not fit into the send queue."""
        histories: dict[str, History] = {}
        limit_bytes = max(0, self.hub.recover_bytes - self.client.queued_bytes)
        for topic in request.topics:
            after, guilds = request.after.get(topic), readable[topic]
            histories[topic] = await self.hub.history(topic, after, limit_bytes=limit_bytes, guilds=guilds)
            limit_bytes -= histories[topic].size_bytes
        return histories

    def _send(self, data: bytes) -> None:
        self.client.push(text_frame(data))

    def _send_unavailable(self, request: Request) -> None:
        self._send_error(request.id, "unavailable", "this cannot be read at the moment", temporary=True)

    def _send_error(self, request_id: RequestId, code: str, message: str, **fields: object) -> None:
        self._send(encode_error(request_id, code, message, **fields))  # type: ignore[arg-type]


def _includes(readable: Guilds, guilds: Guilds) -> bool:
    """Whether ``readable`` has all of ``guilds``."""
    return readable is None or (guilds is not None and guilds <= readable)


def _topic_fields(topic: str, history: History, request: Subscribe) -> dict[str, object]:
    """Return the position after which events of ``topic`` follow, and whether the missed ones were recovered."""
    after = request.after.get(topic)
    if after is None:
        return position_fields(topic, history.position)
    follows = history.recovered and history.entries
    start = after._replace(epoch=history.position.epoch) if follows else history.position
    return position_fields(topic, start) | {"recovered": history.recovered}
