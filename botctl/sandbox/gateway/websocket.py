"""The gateway's websocket: frames between a client and its `GatewayConnection`, plain or compressed.

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

from botctl.core.own_tasks import create_watched_task
from botctl.sandbox.gateway.connection import GatewayConnection
from botctl.sandbox.model.faults import Faults
from botctl.sandbox.model.gateway.opcodes import CloseCode
from botctl.sandbox.model.gateway.session import GatewaySession
from botctl.sandbox.sandbox import Sandbox
from botctl.sandbox.web.keys import SANDBOX
from botctl.sandbox.web.traffic import TRAFFIC, Traffic

_MAX_FRAME_BYTES = 1 << 16  # aiohttp rejects larger frames; Discord's limit is lower and closes with 4002
_MAX_QUEUED = 20_000  # frames for a client that does not read; then the connection is aborted and the client may RESUME
_CLOSE_WAIT_S = 1.0
_CONNECTION_NUMBERS = itertools.count(1)
_SESSION_ENDING_CODES = frozenset({1000, 1001})  # from the client (Discord: Gateway > Disconnecting)

Encode = Callable[[str], bytes]
Record = Callable[[str, str | bytes | int], None]  # direction, content; see `Traffic.record_frame`
Outgoing = str | tuple[int, str] | Encode  # a payload, a close (code, reason), or the encoding to use from now on


def zlib_stream() -> Encode:
    """One zlib context for the connection; every payload ends with a sync flush."""
    stream = zlib.compressobj(1)
    return lambda text: stream.compress(text.encode()) + stream.flush(zlib.Z_SYNC_FLUSH)


def zstd_stream() -> Encode:
    """One zstd context for the connection; every payload ends with a flushed block."""
    stream = zstd.ZstdCompressor(1)
    return lambda text: stream.compress(text.encode(), zstd.ZstdCompressor.FLUSH_BLOCK)


def zlib_payload(text: str) -> bytes:
    """One payload by itself, for clients with `compress` in their IDENTIFY."""
    return zlib.compress(text.encode(), 1)


_STREAMS: dict[str, Callable[[], Encode]] = {"zlib-stream": zlib_stream, "zstd-stream": zstd_stream}


def _record_nothing(_direction: str, _content: str | bytes | int) -> None:
    pass


@dataclass(eq=False)
class WebsocketTransport:
    """A `session.Transport` over one websocket. Frames are queued, and one task writes them in order."""

    socket: web.WebSocketResponse
    tcp: asyncio.BaseTransport  # below the websocket: to abort it, and to stop reading
    encode: Encode | None  # None: plain text
    faults: Faults  # simulated failures: latency, an unreachable resume URL
    record: Record = _record_nothing
    closing: bool = False  # a close is queued, or the connection is aborted
    muted: bool = False
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    queue: asyncio.Queue[tuple[float, Outgoing]] = field(default_factory=asyncio.Queue)  # due time in s (0: now), item

    def send(self, text: str, *, after_s: float = 0.0) -> None:
        if self.closing or self.muted:
            return
        if after_s:
            asyncio.get_running_loop().call_later(after_s, self.send, text)
            return
        if self.queue.qsize() >= _MAX_QUEUED:
            self.abort()
            return
        self._enqueue(text)

    def close(self, code: int, reason: str) -> None:
        if not (self.closing or self.muted):
            self.closing = True
            self._enqueue((code, reason))

    def abort(self) -> None:
        self.closing = True
        self.aborted.set()
        cast(asyncio.WriteTransport, self.tcp).abort()  # uvloop's transports have no asyncio base class

    def compress(self) -> None:
        if self.encode is None:
            self._enqueue(zlib_payload)

    def mute(self) -> None:
        """Stop sending and reading: pings and closes of the client get no answer either."""
        self.muted = True
        if not self.tcp.is_closing():
            cast(asyncio.ReadTransport, self.tcp).pause_reading()

    async def stay_open(self, for_s: float) -> None:
        """Keep a muted connection open for ``for_s``, or until it is aborted."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await self.aborted.wait()
        self.abort()

    async def write(self) -> None:
        """Write the queue until a close is written or the connection is lost."""
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
                return  # the reader notices it too, and keeps the session for a RESUME

    def _enqueue(self, item: Outgoing) -> None:
        """Queue ``item`` with the simulated latency, which never changes the order of frames."""
        latency_s = self.faults.latency_s()
        self.queue.put_nowait((asyncio.get_running_loop().time() + latency_s if latency_s else 0.0, item))

    async def _write(self, text: str) -> None:
        self.record("sent", text)
        if self.encode is None:
            await self.socket.send_str(text)
        else:
            await self.socket.send_bytes(self.encode(text))


async def handle(request: web.Request) -> web.StreamResponse:
    """Serve one gateway connection until it ends."""
    sandbox = request.app[SANDBOX]
    if request.transport is not None and sandbox.faults.drops_connection():
        cast(asyncio.WriteTransport, request.transport).abort()
        return web.Response()
    socket = web.WebSocketResponse(timeout=_CLOSE_WAIT_S, max_msg_size=_MAX_FRAME_BYTES, compress=False)
    await socket.prepare(request)
    tcp_transport = request.transport
    if tcp_transport is None:
        return socket
    stream = _STREAMS.get(request.query.get("compress", ""))
    record = _make_recorder(request.app[TRAFFIC], lambda: connection.session)
    transport = WebsocketTransport(socket, tcp_transport, stream() if stream else None, sandbox.faults, record)
    connection = GatewayConnection(sandbox.sessions, transport)
    request.app[TRANSPORTS].add(transport)
    writer = create_watched_task(transport.write(), name="gateway writer")
    try:
        await _run_connection(request, transport, connection, sandbox)
        if transport.muted:
            await transport.stay_open(sandbox.limits.resume_window_s)
    finally:
        request.app[TRANSPORTS].discard(transport)
        if transport.closing and not socket.closed:
            await asyncio.wait((writer,), timeout=_CLOSE_WAIT_S)
        writer.cancel()
        await asyncio.wait((writer,))
    return socket


def _make_recorder(traffic: Traffic, current_session: Callable[[], GatewaySession | None]) -> Record:
    """A `Record` function for the bot of ``current_session``."""
    number = next(_CONNECTION_NUMBERS)

    def record(direction: str, content: str | bytes | int) -> None:
        if traffic.has_subscribers:
            session = current_session()
            bot = session.application_id if session else ""
            traffic.record_frame(number, bot, direction, content)

    return record


async def _run_connection(
    request: web.Request, transport: WebsocketTransport, connection: GatewayConnection, sandbox: Sandbox
) -> None:
    connection.send_hello(sandbox.clock.base.monotonic())
    if request.query.get("v", "10") != "10":
        transport.close(*CloseCode.INVALID_VERSION)
    if (encoding := request.query.get("encoding", "json")) != "json":
        transport.close(CloseCode.DECODE_ERROR[0], f"The sandbox supports the encoding json, not {encoding[:20]}.")
    if (compress := request.query.get("compress", "zlib-stream")) not in _STREAMS:
        transport.close(CloseCode.DECODE_ERROR[0], f"Unknown compression {compress[:20]}.")
    ended = False
    try:
        ended = await _receive_frames(transport, connection, sandbox)
    finally:
        if connection.session is not None:
            sandbox.sessions.disconnect(connection.session, transport, sandbox.clock.monotonic(), ended=ended)


async def _receive_frames(transport: WebsocketTransport, connection: GatewayConnection, sandbox: Sandbox) -> bool:
    """Pass every frame to ``connection``; True when the client's close code ends its session."""
    now, real = sandbox.clock.monotonic, sandbox.clock.base.monotonic
    while True:
        try:
            frame = await transport.socket.receive(timeout=connection.heartbeat_timeout_s(real()))
        except TimeoutError:
            if connection.heartbeat_overdue(real()):
                if transport.muted:
                    return False
                # With a session the client can RESUME; without one it must start again.
                transport.close(*(CloseCode.UNKNOWN_ERROR if connection.session else CloseCode.SESSION_TIMED_OUT))
                connection.last_heartbeat_s = real()
            continue
        if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            if not transport.closing and not transport.muted:
                transport.record("heard", frame.data)
                connection.receive(frame.data, now(), real())
        elif frame.type is WSMsgType.CLOSE:
            if not transport.closing:
                transport.record("left", frame.data or 0)
            return not transport.closing and frame.data in _SESSION_ENDING_CODES
        else:
            return False


TRANSPORTS = web.AppKey("connections", set[WebsocketTransport])
