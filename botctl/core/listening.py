"""Listen on a port: which address is loopback on this machine, and what it means that a port cannot be had."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final
from urllib.parse import urlsplit

from botctl.core.errors import BotctlError, ConfigError, Held

LOOPBACK: Final = "127.0.0.1"
_LOOPBACK_V6: Final = "::1"
_NO_ADDRESS: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


def bound_to_loopback(port: int = 0) -> socket.socket:
    """A socket bound to ``port`` (0: any free one) on 127.0.0.1, or on ::1 if this machine has only IPv6.

    Raises OSError.
    """
    try:
        return _bound(socket.AF_INET, LOOPBACK, port)
    except OSError as error:
        if error.errno not in _NO_ADDRESS:
            raise
        return _bound(socket.AF_INET6, _LOOPBACK_V6, port)


def loopback_host() -> str:
    """127.0.0.1, or ::1 if this machine has only IPv6."""
    try:
        with bound_to_loopback() as probe:
            return str(probe.getsockname()[0])
    except OSError:
        return LOOPBACK  # who listens there says what is wrong


def in_url(host: str) -> str:
    """``host`` as it is written in a URL: an IPv6 address has brackets."""
    return f"[{host}]" if ":" in host else host


def host_of(url: str) -> str:
    """The host in ``url``, without brackets."""
    return urlsplit(url).hostname or LOOPBACK


def cannot_listen(who: str, where: str, error: OSError, *, hint: str = "") -> BotctlError:
    """The error for a port that ``who`` cannot have: Held if another program has it, else ConfigError."""
    number = error.errno or 0  # a resolver's is negative
    reason = os.strerror(number).lower() if number > 0 else error.strerror or str(error)  # asyncio's has the address
    kind = Held if error.errno == errno.EADDRINUSE else ConfigError
    return kind(f"{who} cannot listen on {where}: {reason}.", hint=hint)


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock
