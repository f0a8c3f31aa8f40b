"""TLS connections of the web server: counted from the moment they are accepted, and bounded in time.

A TLS server of asyncio tells of a connection only after its handshake. One whose client never begins it would be
counted nowhere, and a refused one could be closed only after its handshake.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from botctl.core.event_loop.accepting import accept_connections
from botctl.core.event_loop.tasks import create_watched_task, end_task

HANDSHAKE_S: Final = 10.0
"""How long the TLS handshake of a connection may take."""


class Handshakes:
    """The handshakes under way. ``new_protocol`` makes the protocol that a connection gets after its handshake."""

    def __init__(self, context: ssl.SSLContext, new_protocol: Callable[[], asyncio.Protocol]) -> None:
        self._context = context
        self._new_protocol = new_protocol
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    @asynccontextmanager
    async def listening(self, sock: socket.socket, is_full: Callable[[], bool]) -> AsyncIterator[None]:
        """Accept connections on ``sock`` until the block ends, then close it. While ``is_full``, close them at once."""
        sock.setblocking(False)

        def handle(connection: socket.socket, _: Any) -> None:
            if is_full():
                connection.close()
            else:
                self._begin(connection)

        accepting = create_watched_task(accept_connections(sock, handle), name="TLS connections")
        try:
            yield
        finally:
            await end_task(accepting)
            sock.close()
            for task in tuple(self._tasks):
                await end_task(task)

    def _begin(self, connection: socket.socket) -> None:
        task = create_watched_task(self._shake_hands(connection), name="TLS handshake")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, connection: socket.socket) -> None:
        with suppress(OSError):  # not TLS, not in time, or the client is gone
            await asyncio.get_running_loop().connect_accepted_socket(
                self._new_protocol, connection, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S
            )
