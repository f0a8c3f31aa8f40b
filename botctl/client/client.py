"""The client: one task that holds the connection, and readers that take what it hands them."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy

from botctl.client.ends import end_sentence, require_address
from botctl.client.outcomes import (
    ConnectionEnded,
    EventGap,
    OutcomeUnknown,
    ReceivedEvent,
    RequestFailed,
    WatchedState,
)
from botctl.client.streams import EventStream, StateStream
from botctl.core.contracts.event_log import Position, is_topic
from botctl.core.event_loop.tasks import create_watched_task

MAX_WAITING: Final = 1000
"""Events that may wait for readers. Then the client stops reading, and the server soon disconnects it."""
_HANDSHAKE_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.25
_LAST_PAUSE_S: Final = 60.0
_FINAL: Final = 4500
"""From this close code on, something must change before a new connection helps."""

Message = Mapping[str, Any]
EventItem = ReceivedEvent | EventGap


@dataclass(slots=True)
class _Request:
    """A request that waits for its reply. ``lost``: called if the connection ends before it."""

    done: Callable[[Message], None]
    lost: Callable[[], None]


class RealtimeClient:
    """A connection to the realtime server at ``url``, with an API key.

    Entering it connects, and raises ConnectionEnded if that fails for ``connect_s`` or cannot succeed. From then on it
    connects again by itself, after pauses that grow; subscriptions go on where they were.

    ``positions``: by topic, where to begin; without one, a subscription begins with the next event. The attribute of
    that name is kept up to date, an event after its reader asked for the next one: store it (a Position is a pair of
    text and number), and a restart misses nothing.
    """

    def __init__(
        self, url: str, key: str, *, positions: Mapping[str, Position] | None = None, connect_s: float = 10.0
    ) -> None:
        self.positions = {topic: Position(*position) for topic, position in (positions or {}).items()}
        self.reconnects = 0
        self._url = url
        self._key = key.strip()  # a file that it was written to ends with a newline
        self._connect_s = connect_s
        self._outgoing: asyncio.Queue[str | None] | None = None  # of the connection; None in it closes it
        self._requests: dict[int, _Request] = {}
        self._ids = itertools.count(1)
        self._streams: dict[str, EventStream] = {}  # by topic
        self._states: dict[str, StateStream] = {}
        self._connected = asyncio.Event()
        self._taken = asyncio.Event()  # a reader took an event, or a request began to wait
        self._ended: ConnectionEnded | None = None
        self._pause_s: float | None = None  # that the server asked for
        self._why = ""  # the last attempt to connect failed
        self._random = Random()  # noqa: S311  spreads reconnects

    async def __aenter__(self) -> Self:
        require_address(self._url)
        self._task = create_watched_task(self._run(), name="realtime client")
        try:
            async with asyncio.timeout(self._connect_s):
                await self._connected.wait()
            if self._ended is not None:
                raise self._ended
        except BaseException as error:
            await self._close()
            if isinstance(error, TimeoutError):
                sentence = f"{self._url} could not be reached within {self._connect_s:g} s{self._why}"
                raise ConnectionEnded(sentence) from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def events(self, *topics: str) -> AsyncIterator[EventItem]:
        """The events of ``topics`` from now on, or from `positions` on, for ever; an EventGap where some are lost.

        Raises:
            RequestFailed: the key may not read a topic (``forbidden``), …
            ConnectionEnded: the client does not connect again.
            ValueError: another reader has one of the topics, there is none, or one is not a name of a topic.
        """
        if wrong := [topic for topic in topics or ("",) if not is_topic(topic)]:
            raise ValueError(f"{wrong[0]!r} is not the name of a topic")
        if taken := [topic for topic in topics if topic in self._streams]:
            raise ValueError(f"this client reads {taken[0]} already")
        if self._ended is not None:
            raise self._ended
        stream = EventStream(topics, self.positions)
        self._streams |= dict.fromkeys(topics, stream)
        try:
            self._subscribe(stream)
            while True:
                item = await stream.take()
                self._taken.set()
                yield item
                self.positions[item.topic] = item.position
        finally:
            for topic in topics:
                del self._streams[topic]
            self._send("unsubscribe", topics=list(topics))

    async def watch(self, state: str) -> AsyncIterator[WatchedState]:
        """The state, and again after each change, for ever. Changes in quick succession may come as one.

        Raises: as `events`.
        """
        if state in self._states:
            raise ValueError(f"this client watches {state} already")
        if self._ended is not None:
            raise self._ended
        stream = self._states[state] = StateStream()
        try:
            self._watch(state)
            while True:
                yield await stream.take()
        finally:
            del self._states[state]
            self._send("unwatch", states=[state])

    async def do(self, action: str, *, reason: str, **arguments: Any) -> Mapping[str, Any]:
        """Perform ``action`` and return its result. ``reason`` goes into the audit log.

        While there is no connection, it waits for one. It never repeats an action.

        Raises:
            RequestFailed: the server refused it, and said why.
            OutcomeUnknown: the connection ended before the reply.
            ConnectionEnded: the client does not connect again.
        """
        done = await self._ask("do", action=action, args=arguments, reason=reason)
        result: Mapping[str, Any] = done["result"]
        return result

    async def actions(self) -> list[Mapping[str, Any]]:
        """The actions that this key may perform: ``{action, permission, args}``. Raises as `do`."""
        offered: list[Mapping[str, Any]] = (await self._ask("actions"))["actions"]
        return offered

    # --- requests --------------------------------------------------------------------------------------------------

    async def _ask(self, kind: str, **fields: Any) -> Message:
        while self._outgoing is None:
            if self._ended is not None:
                raise self._ended
            await self._connected.wait()
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def lost() -> None:
            if not reply.done():
                reply.set_exception(OutcomeUnknown(f"the connection ended before the reply to {kind}"))

        def done(message: Message) -> None:
            if not reply.done():
                reply.set_result(message)

        self._send(kind, _Request(done, lost), **fields)
        message = await reply
        if message["type"] == "error":
            raise _failure(message)
        return message

    def _send(self, kind: str, request: _Request | None = None, **fields: Any) -> None:
        """Send a request; nothing without a connection, which begins with a new subscription for every stream."""
        if self._outgoing is None:
            return
        request_id = next(self._ids)
        if request is not None:
            self._requests[request_id] = request
            self._taken.set()
        self._outgoing.put_nowait(json.dumps({"type": kind, "id": request_id} | fields))

    def _subscribe(self, stream: EventStream) -> None:
        """Ask for what follows the stream's positions."""

        def done(message: Message) -> None:
            if message["type"] == "error":
                self._on_refused(message, stream.fail)
                return
            for at in message["topics"]:
                stream.begin(at["topic"], _position(at), recovered=at.get("recovered", True))
                self.positions.setdefault(at["topic"], _position(at))

        after = {topic: position._asdict() for topic, position in stream.after.items()}
        self._send("subscribe", _Request(done, lambda: None), topics=list(stream.topics), after=after)

    def _watch(self, state: str) -> None:
        stream = self._states[state]

        def done(message: Message) -> None:
            if message["type"] == "error":
                self._on_refused(message, stream.fail)
            else:
                stream.begin(message["states"][state])

        self._send("watch", _Request(done, lambda: None), states=[state])

    def _on_refused(self, message: Message, fail: Callable[[Exception], None]) -> None:
        """A temporary refusal is tried again with a new connection; any other one ends the stream."""
        failure = _failure(message)
        if failure.temporary and self._outgoing is not None:
            self._pause_s = failure.retry_after_s
            self._outgoing.put_nowait(None)
        else:
            fail(failure)

    # --- the connection --------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Connect again and again, until the server says that this cannot help."""
        failures = 0
        while self._ended is None:
            began_s = asyncio.get_running_loop().time()
            try:
                async with connect(self._url, compression=None, open_timeout=_HANDSHAKE_S) as connection:
                    await self._serve(connection)
            except (OSError, InvalidHandshake) as error:  # also a TimeoutError
                self._why = f": {error}" if str(error) else ""
            except ConnectionClosed as end:
                if end.rcvd is not None and end.rcvd.code >= _FINAL:
                    self._end(ConnectionEnded(end_sentence(end.rcvd.code, end.rcvd.reason), end.rcvd.code))
            except InvalidProxy as error:
                self._end(ConnectionEnded(f"the proxy in the environment cannot be used: {error}"))
            except (KeyError, TypeError, ValueError) as error:
                self._end(ConnectionEnded(f"{self._url} does not speak the protocol of botctl: {error!r}"))
            was_connected = self._outgoing is not None
            self._lose_connection()
            failures = 0 if was_connected and asyncio.get_running_loop().time() - began_s > _HANDSHAKE_S else failures
            pause_s = min(_LAST_PAUSE_S, _FIRST_PAUSE_S * 2**failures) * self._random.uniform(0.5, 1)
            failures += 1
            if self._ended is None:
                await asyncio.sleep(max(self._pause_s or 0.0, pause_s))
                self.reconnects += was_connected
            self._pause_s = None

    async def _serve(self, connection: ClientConnection) -> None:
        """Authenticate, begin all streams again, and hand out what arrives. Raises ConnectionClosed, TimeoutError."""
        silence_s = 2 * (await _receive(connection, _HANDSHAKE_S))["heartbeat_s"]
        await connection.send(json.dumps({"type": "auth", "id": 0, "key": self._key}))
        while (reply := await _receive(connection, _HANDSHAKE_S)).get("id") != 0:
            pass
        if reply["type"] == "error" and not reply["temporary"]:
            await connection.wait_closed()  # its close code says more
            raise ConnectionClosed(connection.protocol.close_rcvd, None)
        if reply["type"] == "error":
            return
        self._outgoing = asyncio.Queue()
        self._connected.set()
        for stream in set(self._streams.values()):
            self._subscribe(stream)
        for state in self._states:
            self._watch(state)
        writer = create_watched_task(_write(connection, self._outgoing), name="realtime client's writer")
        try:
            await self._read(connection, silence_s)
        finally:
            writer.cancel()

    async def _read(self, connection: ClientConnection, silence_s: float) -> None:
        while True:
            self._handle(await _receive(connection, silence_s))
            while not self._requests and sum(map(len, set(self._streams.values()))) >= MAX_WAITING:
                self._taken.clear()
                await self._taken.wait()

    def _handle(self, message: Message) -> None:
        match message:
            case {"id": request_id}:
                if (request := self._requests.pop(request_id, None)) is not None:
                    request.done(message)
            case {"type": "event", "topic": topic, "event": envelope} if topic in self._streams:
                self._streams[topic].add(ReceivedEvent(topic, _position(message), envelope))
            case {"type": "gap", "topic": topic} if topic in self._streams:
                self._streams[topic].add(EventGap(topic, _position(message)))
            case {"type": "change", "state": state, "key": key, "value": value} if state in self._states:
                self._states[state].change(key, value)
            case {"type": "stale" | "fresh" as kind, "state": state} if state in self._states:
                self._states[state].mark(stale=kind == "stale")
            case {"type": "closing", "retry_after_s": pause_s}:
                self._pause_s = pause_s

    def _lose_connection(self) -> None:
        self._outgoing = None
        self._connected.clear()
        requests, self._requests = self._requests, {}
        for request in requests.values():
            request.lost()

    def _end(self, error: ConnectionEnded) -> None:
        """Tell all readers that nothing comes any more."""
        self._ended = error
        self._connected.set()
        for events in self._streams.values():
            events.fail(error)
        for state in self._states.values():
            state.fail(error)

    async def _close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._lose_connection()
        self._end(self._ended or ConnectionEnded("the client is closed"))


async def _receive(connection: ClientConnection, limit_s: float) -> Message:
    """The next message. Raises TimeoutError after ``limit_s``, ConnectionClosed."""
    async with asyncio.timeout(limit_s):
        message: Message = json.loads(await connection.recv())
    return message


async def _write(connection: ClientConnection, outgoing: asyncio.Queue[str | None]) -> None:
    """Send what is put into ``outgoing``; who reads the connection notices when it ends."""
    with suppress(ConnectionClosed):
        while (text := await outgoing.get()) is not None:
            await connection.send(text)
        await connection.close()


def _position(message: Message) -> Position:
    return Position(message["epoch"], message["offset"])


def _failure(message: Message) -> RequestFailed:
    return RequestFailed(
        message["code"],
        message["message"],
        temporary=message["temporary"],
        retry_after_s=message.get("retry_after_s"),
    )
