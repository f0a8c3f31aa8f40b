"""Accept the connections of a listening socket in a task, on any event loop: uvloop's own server accepts in C."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Final, NoReturn

_RETRY_S: Final = 1.0  # after an error, as in asyncio
_log = logging.getLogger(__name__)


async def accept_connections(listening: socket.socket, handle: Callable[[socket.socket, Any], None]) -> NoReturn:
    """Call ``handle`` with each connection and the address of its peer. ``listening`` must not block.

    An error, such as no file descriptor that is left, is logged, and followed by a pause.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            connection, address = await loop.sock_accept(listening)
        except ConnectionAbortedError:
            continue  # the client has gone before; others wait
        except OSError as error:
            _log.warning("a connection cannot be accepted: %s", error.strerror)
            await asyncio.sleep(_RETRY_S)
            continue
        handle(connection, address)
        await asyncio.sleep(0)  # so that many connections do not hold up everything else
