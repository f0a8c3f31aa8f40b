"""Listening sockets that refuse a peer before anything is made for it.

asyncio makes the objects of a connection, and with TLS waits for the handshake, before it tells the server of a socket.
Here the socket's own ``accept`` decides first. A refused socket costs one system call to accept and one to close.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final, Protocol

ACCEPTS_PER_TURN: Final = 16
"""How many sockets are accepted before the event loop does something else."""
_REFUSALS_PER_TURN: Final = 64
_KERNEL_BACKLOG: Final = 512  # sockets that wait to be accepted


class SocketGate(Protocol):
    """Decides which sockets are accepted."""

    def accept(self, peer: str) -> bool: ...

    def release(self, peer: str) -> None: ...


class AcceptedSocket(socket.socket):
    """A socket that counts until it is closed."""

    gate: SocketGate | None = None
    peer = ""

    def close(self) -> None:
        super().close()
        if self.gate is not None:
            gate, self.gate = self.gate, None
            gate.release(self.peer)


class ListeningSocket(socket.socket):
    """A listening socket whose ``accept`` asks ``gate``."""

    gate: SocketGate

    def listen(self, _: int = 0, /) -> None:
        """Listen. asyncio's number is that of `ACCEPTS_PER_TURN`; the kernel may hold more."""
        super().listen(_KERNEL_BACKLOG)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept the next socket that is not refused. Raises BlockingIOError when it is another one's turn."""
        for _ in range(_REFUSALS_PER_TURN):
            accepted, address = super().accept()
            peer = peer_of(address)
            if self.gate.accept(peer):
                kept = AcceptedSocket(self.family, self.type, self.proto, fileno=accepted.detach())
                kept.gate, kept.peer = self.gate, peer
                return kept, address
            accepted.close()
        raise BlockingIOError


def peer_of(address: Any) -> str:
    """The address without the port, of what a socket gives as the peer's."""
    return str(address[0]) if isinstance(address, tuple) else str(address or "")


async def listening_sockets(host: str, port: int, gate: SocketGate) -> list[ListeningSocket]:
    """Sockets that are bound to ``port`` of all addresses of ``host`` (0: a free port, the same for all).

    Raises OSError.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE, proto=socket.IPPROTO_TCP
    )
    sockets: list[ListeningSocket] = []
    try:
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            sockets.append(_bound(family, (address[0], port, *address[2:]), gate))
            port = port or sockets[0].getsockname()[1]
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bound(family: int, address: tuple[Any, ...], gate: SocketGate) -> ListeningSocket:
    sock = ListeningSocket(family, socket.SOCK_STREAM)
    try:
        sock.gate = gate
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock
