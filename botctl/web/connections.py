"""The connections of the web server are bounded: in number, and in how long they may take for the first request.

aiohttp waits for a first request without end, and accepts every connection; each has a file descriptor, of which the
bot in the same process needs some, too.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from botctl.web.handshakes import Handshakes

MAX_CONNECTIONS: Final = 400
"""Connections at once, with those in a TLS handshake. More are closed when they are accepted."""
FIRST_REQUEST_S: Final = 15.0
"""How long a connection may take until its first request is complete; with TLS, from the end of the handshake on."""
_SWEEP_S: Final = 5.0


class _Refused(asyncio.Protocol):
    """A connection that is closed at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


class WebConnections:
    """The connections of ``server``. ``served``: those that have sent a request; ended ones are removed from it.

    ``context``: None without TLS.
    """

    def __init__(self, server: web.Server, served: set[object], context: ssl.SSLContext | None = None) -> None:
        self._server = server
        self.handshakes = None if context is None else Handshakes(context, server)
        self._served = served
        self._seen_s: dict[object, float] = {}  # when each was seen first, on the clock of the event loop

    def accept(self) -> asyncio.Protocol:
        """The protocol of a new connection without TLS."""
        return _Refused() if self.is_full() else self._server()

    def is_full(self) -> bool:
        return len(self._server.connections) + len(self.handshakes or ()) >= MAX_CONNECTIONS

    async def sweep(self) -> None:
        """Close the connections that have sent no request in time. Never returns."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.close_silent(asyncio.get_running_loop().time())

    def close_silent(self, now_s: float) -> int:
        """Close those that have been silent at ``now_s``; returns how many. A connection counts from the first look."""
        connections = self._server.connections
        self._served.intersection_update(connections)
        self._seen_s = {each: self._seen_s.get(each, now_s) for each in connections}
        late_s = now_s - (FIRST_REQUEST_S - _SWEEP_S)
        silent = [each for each in connections if each not in self._served and self._seen_s[each] <= late_s]
        for connection in silent:
            if connection.transport is not None:
                connection.transport.abort()
        return len(silent)


class _BadRequestFilter(logging.Filter):
    """Leaves out the traceback that aiohttp logs for each request that is not HTTP: a stranger could fill the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def library_log() -> logging.Logger:
    """The logger for aiohttp's server."""
    log = logging.getLogger(f"{__name__}.aiohttp")
    if not log.filters:
        log.addFilter(_BadRequestFilter())
    return log


@asynccontextmanager
async def listening(connections: WebConnections, sock: socket.socket) -> AsyncIterator[None]:
    """Accept connections on ``sock`` until the block ends."""
    if connections.handshakes is not None:
        async with connections.handshakes.listening(sock, connections.is_full):
            yield
        return
    server = await asyncio.get_running_loop().create_server(connections.accept, sock=sock, backlog=128)
    try:
        yield
    finally:
        server.close()
