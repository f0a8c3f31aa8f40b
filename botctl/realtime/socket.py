"""One connection, in a way that a stalled reader costs next to nothing. All that relies on the insides of `websockets`.

Why not the library's own: `send` and `close` wait without a limit for a reader that does not read, `broadcast` fills
memory for it, and the keepalive waits for it, too, so that it is never cut (17.4: ``Connection.drain`` has no time
limit). Here nothing waits: frames go to the transport until that is full, then to a queue with a limit in bytes; and
every connection that has to end is aborted after a grace, whatever its peer does.
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
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from botctl.core.escape import safe
from botctl.realtime.liveness import ConnectionHealth
from botctl.realtime.protocol import CloseReason

WRITE_LIMIT_BYTES: Final = 65_536
"""What the transport holds before it says that it is full; also what the kernel holds unsent (Linux)."""
CHUNK_BYTES: Final = 65_536
MAX_HEADER_BYTES: Final = 10
"""Of a frame that a server sends. RFC 6455, section 5.2."""
_FLOOD_BYTES: Final = 4 * WRITE_LIMIT_BYTES  # answers to pings that nobody reads
_MAX_REASON_BYTES: Final = 123  # RFC 6455, section 5.5: a control frame has 125, two are the code
_USER_TIMEOUT_MS: Final = 20_000  # the kernel ends a connection whose peer acknowledges nothing for so long


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """``queue_bytes``: what may wait beyond the transport. ``grace_s``: from the close frame to the abort."""

    queue_bytes: int
    grace_s: float


class ConnectionObserver(Protocol):
    """Who knows all connections."""

    socket_limits: SocketLimits

    def opened(self, client: Socket) -> bool:
        """A peer has connected; False when there is no room for it."""
        ...

    def lost(self, client: Socket) -> None:
        """It is gone."""
        ...


def text_frame(data: bytes) -> bytes:
    """``data`` (UTF-8) as a text frame, the same for every client: servers do not mask. RFC 6455, section 5.2."""
    return Frame(Opcode.TEXT, data).serialize(mask=False)


def chunks(frames: Iterable[bytes]) -> Iterator[bytes]:
    """``frames`` joined into pieces of about `CHUNK_BYTES`, to be written at once."""
    piece: list[bytes] = []
    size = 0
    for frame in frames:
        piece.append(frame)
        size += len(frame)
        if size >= CHUNK_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


class Socket(ServerConnection):
    """A connection. ``closed_for`` is why the server ended it, if it did."""

    def __init__(
        self, protocol: ServerProtocol, server: Server, *, observer: ConnectionObserver, **options: Any
    ) -> None:
        super().__init__(protocol, server, **options)
        self._observer = observer
        self._queue: deque[bytes] = deque()
        self._abort: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0  # in the transport, when it was last looked at
        self.queued_bytes = 0
        self.closed_for: CloseReason | None = None
        now_s = self.loop.time()
        self.health = ConnectionHealth(now_s, now_s, now_s)

    @property
    def address(self) -> str:
        """The peer's address, without its port."""
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else str(peer or "")

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self.closed_for is None and self.protocol.state is OPEN

    @property
    def held_bytes(self) -> int:
        """What is kept for it in this process."""
        return self.queued_bytes + self.transport.get_write_buffer_size()

    def push(self, frames: bytes) -> None:
        """Send whole frames. Never waits; a client for whom too much waits is cut."""
        if not self.is_open:
            return
        if not self.paused and not self._queue:
            self.transport.write(frames)
        elif self.queued_bytes + len(frames) > self._observer.socket_limits.queue_bytes:
            self.cut(CloseReason.SLOW)
        else:
            self._queue.append(frames)
            self.queued_bytes += len(frames)

    def ask_for_life(self) -> None:
        """Ask for a sign of life, unless what was sent before has not gone out yet: then that is the sign."""
        if self.is_open and not self.paused:
            self.protocol.send_ping(b"")
            self.send_data()

    def mark_authenticated(self) -> None:
        """Its key is good."""
        self.health.authenticated = True

    def cut(self, why: CloseReason, *, reason: str = "") -> None:
        """End the connection: a close frame for a peer that reads, and the abort for one that does not."""
        if self.closed_for is None:
            self.closed_for = why
            self._drop_queue()
            if self.protocol.state is OPEN:
                self.protocol.send_close(int(why), _reason(reason or why.words))
                self.send_data()
        self.abort_later()

    def abort_later(self) -> None:
        """Abort when the grace is over; what ends before is not aborted."""
        if self._abort is None:
            self._abort = self.loop.call_later(self._observer.socket_limits.grace_s, self.transport.abort)

    def check_health(self, now_s: float) -> ConnectionHealth:
        """Its health at ``now_s``. To be called often enough that progress can be told from none."""
        waiting = self.paused or bool(self._queue)
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes < self._unsent_bytes or (waiting and not self.health.waiting):
            self.health.drained_s = now_s
        self._unsent_bytes = unsent_bytes
        self.health.waiting = waiting
        return self.health

    def _drop_queue(self) -> None:
        self._queue.clear()
        self.queued_bytes = 0

    # --- called by the event loop ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        _set_options(transport.get_extra_info("socket"))
        if not self._observer.opened(self):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._abort is not None:
            self._abort.cancel()
        self._drop_queue()
        super().connection_lost(exc)
        self._observer.lost(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.health.drained_s = self.loop.time()
        while self._queue and not self.paused:
            frames = self._queue.popleft()
            self.queued_bytes -= len(frames)
            self.transport.write(frames)
        self._unsent_bytes = self.transport.get_write_buffer_size()

    def data_received(self, data: bytes) -> None:
        self.health.heard_s = self.loop.time()
        super().data_received(data)
        if self.protocol.close_expected():  # by either side; the library would wait for the peer for ever
            self.abort_later()
        if self.transport.get_write_buffer_size() > _FLOOD_BYTES:
            self.transport.abort()

    def eof_received(self) -> None:
        super().eof_received()
        self.abort_later()  # the loop closes the transport only when everything is written, and nobody reads it


def _reason(text: str) -> str:
    """``text``, which may quote the peer, as the reason in a close frame."""
    return safe(text, _MAX_REASON_BYTES).encode()[:_MAX_REASON_BYTES].decode(errors="ignore")


def _set_options(sock: Any) -> None:
    """Without these the kernel takes megabytes for a peer that does not read, and nobody notices for long."""
    for name, value in (("TCP_NOTSENT_LOWAT", WRITE_LIMIT_BYTES), ("TCP_USER_TIMEOUT", _USER_TIMEOUT_MS)):
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
