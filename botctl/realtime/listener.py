"""Accept sockets, and refuse a peer before anything is made for it.

An event loop's own server makes the objects of a connection, and with TLS waits for the handshake, before it tells of
a socket; that of uvloop even accepts in C. Here a task accepts, and asks a gate first. A refused socket costs one
system call to accept and one to close.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from botctl.core.event_loop.accepting import accept_connections
from botctl.core.event_loop.tasks import create_watched_task, end_task

_KERNEL_BACKLOG: Final = 512  # sockets that wait to be accepted


class SocketGate(Protocol):
    """Decides which sockets are accepted."""

    def accept(self, peer: str) -> bool: ...

    def release(self, peer: str) -> None: ...


class AcceptedSocket(socket.socket):
    """A socket that counts until its event loop closes it: asyncio calls `close`, and uvloop `detach`."""

    gate: SocketGate | None = None
    peer = ""

    def close(self) -> None:
        super().close()
        self._release()

    def detach(self) -> int:
        self._release()
        return super().detach()

    def _release(self) -> None:
        if self.gate is not None:
            gate, self.gate = self.gate, None
            gate.release(self.peer)


@dataclass(frozen=True, slots=True)
class Handshake:
    """How TLS begins and ends, in seconds. Without a ``context`` there is none."""

    context: ssl.SSLContext | None
    begin_s: float
    end_s: float


class GatedServer:
    """What websockets' `Server` needs of an `asyncio.Server`. It listens on ``sock``, and asks ``gate``.

    ``new_protocol`` makes the protocol of an accepted connection.
    """

    def __init__(
        self, sock: socket.socket, gate: SocketGate, new_protocol: Callable[[], asyncio.Protocol], tls: Handshake
    ) -> None:
        self.sockets = (sock,)
        self._gate, self._new_protocol, self._tls = gate, new_protocol, tls
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        sock.listen(_KERNEL_BACKLOG)
        self._accepting = create_watched_task(accept_connections(sock, self._admit), name="realtime sockets")
        self._accepting.add_done_callback(lambda _: sock.close())

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return not self._accepting.done()

    def close(self) -> None:
        """Accept no more. What was accepted goes on."""
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Wait until it accepts no more, and end the handshakes under way."""
        await end_task(self._accepting)
        for task in tuple(self._opening):
            await end_task(task)

    def _admit(self, accepted: socket.socket, address: Any) -> None:
        peer = peer_of(address)
        if not self._gate.accept(peer):
            accepted.close()
            return
        kept = AcceptedSocket(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        kept.gate, kept.peer = self._gate, peer
        kept.setblocking(False)
        task = create_watched_task(self._open(kept), name="realtime socket")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, sock: AcceptedSocket) -> None:
        tls = self._tls
        limits = {"ssl_handshake_timeout": tls.begin_s, "ssl_shutdown_timeout": tls.end_s} if tls.context else {}
        with suppress(OSError):  # not TLS, not in time, or the client is gone
            await self._loop.connect_accepted_socket(self._new_protocol, sock, ssl=tls.context, **limits)


def peer_of(address: Any) -> str:
    """The address without the port, of what a socket gives as the peer's."""
    return str(address[0]) if isinstance(address, tuple) else str(address or "")


async def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets that are bound to ``port`` of all addresses of ``host`` (0: a free port, the same for all).

    Raises OSError.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE, proto=socket.IPPROTO_TCP
    )
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            sockets.append(_bound(family, (address[0], port, *address[2:])))
            port = port or sockets[0].getsockname()[1]
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock
