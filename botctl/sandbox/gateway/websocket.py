"""The gateway's websocket: frames between a client and its `connection.Link`, plain or compressed.

Discord: Gateway > Encoding and Compression.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from aiohttp import WSMsgType, web
from backports import zstd

from botctl.sandbox.gateway.connection import GatewayConnection
from botctl.sandbox.model.faults import Faults
from botctl.sandbox.model.gateway.opcodes import CloseCode
from botctl.sandbox.model.gateway.session import GatewaySession
from botctl.sandbox.server import Sandbox
from botctl.sandbox.web.keys import SANDBOX
from botctl.sandbox.web.traffic import TRAFFIC, Traffic

_FRAME_MAX = 1 << 16  # bytes that are read at all; the protocol's own limit is far below and answered with 4002
_QUEUE_MAX = 20_000  # frames for a client that does not read; then it is cut off, and may RESUME
_CLOSE_WAIT_S = 1.0
_NUMBERS = itertools.count(1)  # of connections
_GOING_AWAY = frozenset({1000, 1001})  # by these the client ends its session (Discord: Gateway > Disconnecting)

Encode = Callable[[str], bytes]
Record = Callable[[str, str | bytes | int], None]  # ``sent``, ``heard``, ``closed`` or ``left``, and what
Item = str | tuple[int, str] | Encode  # a payload, a close, or how payloads are encoded from here on


def zlib_stream() -> Encode:
    """One context for the connection; every payload ends with a sync flush."""
    stream = zlib.compressobj(1)
    return lambda text: stream.compress(text.encode()) + stream.flush(zlib.Z_SYNC_FLUSH)


def zstd_stream() -> Encode:
    """One context for the connection; every payload ends with a flushed block."""
    stream = zstd.ZstdCompressor(1)
    return lambda text: stream.compress(text.encode(), zstd.ZstdCompressor.FLUSH_BLOCK)


def zlib_payload(text: str) -> bytes:
    """By itself: what `compress` in an IDENTIFY asks for."""
    return zlib.compress(text.encode(), 1)


_STREAMS: dict[str, Callable[[], Encode]] = {"zlib-stream": zlib_stream, "zstd-stream": zstd_stream}


def _nobody(_direction: str, _said: str | bytes | int) -> None:
    """What is recorded where nobody records."""


@dataclass(eq=False)
class WebsocketTransport:
    """A `session.Line` over one websocket: what is sent is queued, one task writes it in order."""

    socket: web.WebSocketResponse
    transport: asyncio.BaseTransport
    encode: Encode | None
    trouble: Faults
    record: Record = _nobody
    closing: bool = False
    muted: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    queue: asyncio.Queue[tuple[float, Item]] = field(default_factory=asyncio.Queue)  # due when, what

    def send(self, text: str, *, after_s: float = 0.0) -> None:
        if self.closing or self.muted:
            return
        if after_s:
            asyncio.get_running_loop().call_later(after_s, self.send, text)
            return
        if self.queue.qsize() >= _QUEUE_MAX:
            self.abort()
            return
        self._put(text)

    def close(self, code: int, reason: str) -> None:
        if not (self.closing or self.muted):
            self.closing = True
            self._put((code, reason))

    def abort(self) -> None:
        self.closing = True
        self.gone.set()
        cast(asyncio.WriteTransport, self.transport).abort()  # uvloop's are of no class of asyncio

    def compress(self) -> None:
        if self.encode is None:
            self._put(zlib_payload)

    def mute(self) -> None:
        """What the client sends is not even read: no ping of its is answered, and no close."""
        self.muted = True
        if not self.transport.is_closing():
            cast(asyncio.ReadTransport, self.transport).pause_reading()

    async def stay_open(self, for_s: float) -> None:
        """Keep what is mute open after its session was given up, until it is cut or ``for_s`` are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await self.gone.wait()
        self.abort()

    async def write(self) -> None:
        """Write what is queued until a close was written or the connection is gone."""
        while True:
            due_s, item = await self.queue.get()
            if due_s:
                await asyncio.sleep(due_s - asyncio.get_running_loop().time())
            try:
                if isinstance(item, tuple):
                    self.record("closed", item[0])
                    await self.socket.close(code=item[0], message=item[1].encode())
                    return
                if isinstance(item, str):
                    await self._write(item)
                else:
                    self.encode = item
            except ConnectionError:
                return  # the reader sees it too, and keeps the session for a RESUME

    def _put(self, item: Item) -> None:
        """Frames keep their order, however late each one is."""
        late_s = self.trouble.latency_s()
        self.queue.put_nowait((asyncio.get_running_loop().time() + late_s if late_s else 0.0, item))

    async def _write(self, text: str) -> None:
        self.record("sent", text)
        if self.encode is None:
            await self.socket.send_str(text)
        else:
            await self.socket.send_bytes(self.encode(text))


async def handle_resume(request: web.Request) -> web.StreamResponse:
    """The host of ``resume_gateway_url``: the gateway, or nobody."""
    if request.app[SANDBOX].faults.resume_host_down and request.transport is not None:
        cast(asyncio.WriteTransport, request.transport).abort()
        return web.Response()
    return await handle(request)


async def handle(request: web.Request) -> web.StreamResponse:
    """One client, from HELLO to its close."""
    sandbox = request.app[SANDBOX]
    socket = web.WebSocketResponse(timeout=_CLOSE_WAIT_S, max_msg_size=_FRAME_MAX, compress=False)
    await socket.prepare(request)
    transport = request.transport
    if transport is None:
        return socket  # gone already
    stream = _STREAMS.get(request.query.get("compress", ""))
    record = _recorder(request.app[TRAFFIC], lambda: link.session)
    connection = WebsocketTransport(socket, transport, stream() if stream else None, sandbox.faults, record)
    link = GatewayConnection(sandbox.sessions, connection)
    request.app[CONNECTIONS].add(connection)
    writer = asyncio.create_task(connection.write())
    try:
        await _converse(request, connection, link, sandbox)
        if connection.muted:
            await connection.stay_open(sandbox.limits.resume_window_s)
    finally:
        request.app[CONNECTIONS].discard(connection)
        if connection.closing and not socket.closed:
            await asyncio.wait((writer,), timeout=_CLOSE_WAIT_S)
        writer.cancel()
        await asyncio.wait((writer,))
    return socket


def _recorder(traffic: Traffic, newest: Callable[[], GatewaySession | None]) -> Record:
    """Records for the bot of the connection's ``newest`` session."""
    number = next(_NUMBERS)

    def record(direction: str, said: str | bytes | int) -> None:
        if traffic.recorded:
            session = newest()
            bot = session.application_id if session else ""
            traffic.frame(number, bot, direction, said)

    return record


async def _converse(
    request: web.Request, connection: WebsocketTransport, link: GatewayConnection, sandbox: Sandbox
) -> None:
    link.hello(sandbox.clock.base.monotonic())
    if request.query.get("v", "10") != "10":
        connection.close(*CloseCode.INVALID_VERSION)
    if (encoding := request.query.get("encoding", "json")) != "json":
        connection.close(CloseCode.DECODE_ERROR[0], f"The sandbox speaks json, not {encoding[:20]}.")
    if (compress := request.query.get("compress", "zlib-stream")) not in _STREAMS:
        connection.close(CloseCode.DECODE_ERROR[0], f"There is no compression {compress[:20]}.")
    ended = False
    try:
        ended = await _listen(connection, link, sandbox)
    finally:
        if link.session is not None:
            sandbox.sessions.disconnect(link.session, connection, sandbox.clock.monotonic(), ended=ended)


async def _listen(connection: WebsocketTransport, link: GatewayConnection, sandbox: Sandbox) -> bool:
    """Hand every frame to ``link``; True when the client ended its session by the way it closed."""
    now, real = sandbox.clock.monotonic, sandbox.clock.base.monotonic
    while True:
        try:
            frame = await connection.socket.receive(timeout=link.patience(real()))
        except TimeoutError:
            if link.overdue(real()):
                if connection.muted:
                    return False
                # A session stays, and the client is to RESUME it; who never began one has nothing to come back to.
                connection.close(*(CloseCode.UNKNOWN_ERROR if link.session else CloseCode.SESSION_TIMED_OUT))
                link.heard_s = real()
            continue
        if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            if not connection.closing and not connection.muted:
                connection.record("heard", frame.data)
                link.receive(frame.data, now(), real())
        elif frame.type is WSMsgType.CLOSE:
            if not connection.closing:
                connection.record("left", frame.data or 0)
            return not connection.closing and frame.data in _GOING_AWAY
        else:
            return False


CONNECTIONS = web.AppKey("connections", set[WebsocketTransport])
