"""A connection with limited memory for a client that does not read. Only this module uses internals of `websockets`.

`websockets` 17.4 waits without a limit for such a client: in `send`, in `close` and in its keepalive
(``Connection.drain`` has no timeout), and `broadcast` buffers without a limit. Here nothing waits: frames go to the
transport until it is full, then to a queue limited in bytes. Every closing connection is aborted after a grace period.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from websockets.asyncio.server import Server, ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import CONNECTING, OPEN
from websockets.server import ServerProtocol

from botctl.core.escape import safe
from botctl.core.redact import redact_values
from botctl.realtime.budgets import FRAME_UNITS, WorkBudget, read_units
from botctl.realtime.listener import peer_of
from botctl.realtime.liveness import ConnectionHealth
from botctl.realtime.protocol import CloseReason

WRITE_LIMIT_BYTES: Final = 65_536
"""Maximum size of the transport's buffer, and of the kernel's unsent data (Linux)."""
CHUNK_BYTES: Final = 65_536
MAX_HEADER_BYTES: Final = 10
"""The largest header of a frame that a server sends. RFC 6455, section 5.2."""
_FLOOD_BYTES: Final = 4 * WRITE_LIMIT_BYTES  # maximum size of pongs that the client asks for and does not read
_MAX_REASON_BYTES: Final = 123  # RFC 6455, section 5.5: 125 bytes, two for the code
_USER_TIMEOUT_MS: Final = 20_000  # TCP_USER_TIMEOUT: how long sent data may stay unacknowledged


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """``queue_bytes``: size of the queue beyond the transport. ``grace_s``: from the close frame to the abort."""

    queue_bytes: int
    grace_s: float


class ConnectionObserver(Protocol):
    """Gets every connection when it opens and when it closes."""

    socket_limits: SocketLimits

    def work_budget(self, client: Socket) -> WorkBudget:
        """The work that ``client`` may cost from now on."""
        ...

    def on_open(self, client: Socket) -> bool:
        """Handle a new connection; False to reject it."""
        ...

    def on_close(self, client: Socket) -> None:
        """Handle a closed connection."""
        ...


def text_frame(data: bytes) -> bytes:
    """Return ``data`` (UTF-8) as a text frame, the same for every client, as servers do not mask. RFC 6455, 5.2."""
    return Frame(Opcode.TEXT, data).serialize(mask=False)


def chunks(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Join ``frames`` into chunks of about `CHUNK_BYTES`, each for one write."""
    chunk: list[bytes] = []
    size = 0
    for frame in frames:
        chunk.append(frame)
        size += len(frame)
        if size >= CHUNK_BYTES:
            yield b"".join(chunk)
            chunk, size = [], 0
    if chunk:
        yield b"".join(chunk)


class Socket(ServerConnection):
    """A connection. ``disconnect_reason``: why the server closed it; None if it did not."""

    def __init__(
        self, protocol: ServerProtocol, server: Server, *, observer: ConnectionObserver, **options: Any
    ) -> None:
        super().__init__(protocol, server, **options)
        self._observer = observer
        self._queue: deque[bytes] = deque()
        self._abort_timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0  # in the transport at the last check
        self.queued_bytes = 0
        self.disconnect_reason: CloseReason | None = None
        now_s = self.loop.time()
        self.health = ConnectionHealth(now_s, now_s, now_s)
        self.address = ""  # the client's, without the port: of the peer, or what a trusted proxy says
        self.budget: WorkBudget  # set when the connection is made
        self._is_over_budget = False
        protocol.recv_frame = self._receive_frame  # type: ignore[method-assign]

    @property
    def is_open(self) -> bool:
        return self.disconnect_reason is None and self.protocol.state is OPEN

    @property
    def buffered_bytes(self) -> int:
        """Bytes in the queue and the transport."""
        return self.queued_bytes + self.transport.get_write_buffer_size()

    def push(self, frames: bytes) -> None:
        """Send whole frames without waiting; disconnect a client whose queue is full."""
        if not self.is_open:
            return
        if not self.paused and not self._queue:
            self.transport.write(frames)
        elif self.queued_bytes + len(frames) > self._observer.socket_limits.queue_bytes:
            self.disconnect(CloseReason.SLOW)
        else:
            self._queue.append(frames)
            self.queued_bytes += len(frames)

    def send_keepalive_ping(self) -> None:
        """Send a ping, unless earlier data is unsent: then the client shows that it is alive by taking that."""
        if self.is_open and not self.paused:
            self.protocol.send_ping(b"")
            self.send_data()

    def mark_authenticated(self) -> None:
        self.health.authenticated = True
        self.budget = self._observer.work_budget(self)

    def disconnect(self, reason: CloseReason, *, detail: str = "") -> None:
        """Close the connection: send a close frame, and abort later if the client does not answer."""
        if self.disconnect_reason is None:
            self.disconnect_reason = reason
            self._drop_queue()
            if self.protocol.state is OPEN:
                self.protocol.send_close(int(reason), _close_phrase(detail or reason.phrase))
                self.send_data()
        self.schedule_abort()

    def schedule_abort(self) -> None:
        """Abort the connection after the grace period, if it is still open."""
        if self._abort_timer is None:
            self._abort_timer = self.loop.call_later(self._observer.socket_limits.grace_s, self.transport.abort)

    def check_health(self, now_s: float) -> ConnectionHealth:
        """Return the health at ``now_s``. Call it often: it compares the unsent bytes with the last call."""
        has_backlog = self.paused or bool(self._queue)
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes < self._unsent_bytes or (has_backlog and not self.health.has_backlog):
            self.health.last_drained_s = now_s
        self._unsent_bytes = unsent_bytes
        self.health.has_backlog = has_backlog
        return self.health

    def _drop_queue(self) -> None:
        self._queue.clear()
        self.queued_bytes = 0

    # --- called by the event loop ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.address = peer_of(transport.get_extra_info("peername"))
        self.budget = self._observer.work_budget(self)
        _set_tcp_options(transport.get_extra_info("socket"))
        if not self._observer.on_open(self):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._drop_queue()
        super().connection_lost(exc)
        self._observer.on_close(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.health.last_drained_s = self.loop.time()
        while self._queue and not self.paused:
            frames = self._queue.popleft()
            self.queued_bytes -= len(frames)
            self.transport.write(frames)
        self._unsent_bytes = self.transport.get_write_buffer_size()

    def data_received(self, data: bytes) -> None:
        self.health.last_received_s = self.loop.time()
        if not self._is_over_budget:
            if self.budget.spend(read_units(len(data)), self.health.last_received_s):
                super().data_received(data)
            else:
                self._end_work()
                self.send_data()
        if self._is_over_budget:
            self.transport.pause_reading()  # again each time: websockets resumes when its queue has room
        if self.protocol.close_expected():  # websockets would wait for the peer for ever
            self.schedule_abort()
        if self.transport.get_write_buffer_size() > _FLOOD_BYTES:
            self.transport.abort()

    def _receive_frame(self, frame: Frame) -> None:
        """Called by the parser for each frame of any kind, also within one read."""
        if self.budget.spend(FRAME_UNITS, self.health.last_received_s):
            ServerProtocol.recv_frame(self.protocol, frame)
        else:
            self._end_work()

    def _end_work(self) -> None:
        """Close the connection, and parse and read nothing more of it."""
        self._is_over_budget = True
        if self.disconnect_reason is None:
            self.disconnect_reason = CloseReason.FLOOD
            self._drop_queue()
        if self.protocol.state is CONNECTING:
            self.transport.abort()
        self.protocol.fail(int(CloseReason.FLOOD), CloseReason.FLOOD.phrase)
        self.schedule_abort()

    def eof_received(self) -> None:
        super().eof_received()
        self.schedule_abort()  # asyncio closes the transport only after everything is written


def _close_phrase(text: str) -> str:
    """Return ``text``, which may quote the client, as the reason of a close frame."""
    return safe(redact_values(text), _MAX_REASON_BYTES).encode()[:_MAX_REASON_BYTES].decode(errors="ignore")


def _set_tcp_options(sock: Any) -> None:
    """Limit how much the kernel buffers for a client that does not read, and how long it waits for acknowledgements."""
    for name, value in (("TCP_NOTSENT_LOWAT", WRITE_LIMIT_BYTES), ("TCP_USER_TIMEOUT", _USER_TIMEOUT_MS)):
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
