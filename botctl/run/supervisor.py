"""What started this process and looks after it: PM2 through its IPC channel, systemd through its socket, or nobody.

PM2 gives every process it forks a socket, whatever the interpreter, and its number in ``NODE_CHANNEL_FD``. On it go
JSON values, one a line: ``"ready"`` from us (``wait_ready``), ``"shutdown"`` from PM2 (``shutdown_with_message``).
systemd names a datagram socket in ``NOTIFY_SOCKET`` (sd_notify(3)). Neither must ever be able to stop a bot: what is
missing, closed or not what it says is passed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Final

IDENTIFY_S: Final = 86_400 / 1_000
"""The least time between two starts that may go on for ever. Discord: Gateway > Session Start Limit, 1,000 a day."""
_PM2: Final = "NODE_CHANNEL_FD"
_PM2_MODE: Final = "NODE_CHANNEL_SERIALIZATION_MODE"
_SYSTEMD: Final = "NOTIFY_SOCKET"
_LINE_BYTES: Final = 65_536  # a longer line is none of ours

_log = logging.getLogger(__name__)


class Supervisor:
    """Whoever looks after this process, as far as there is anybody; `supervised` makes one."""

    def __init__(self, channel: socket.socket | None, notify: str | None) -> None:
        self._channel = channel
        self._notify = notify
        self._heard = b""

    def ready(self) -> None:
        """All that was wanted runs: a bot receives events from now on."""
        if self._channel is not None:
            with contextlib.suppress(OSError):  # PM2 has gone, or does not read
                self._channel.send(b'"ready"\n')
        self._tell(b"READY=1")

    def stopping(self) -> None:
        """The stop was asked for and has begun."""
        self._tell(b"STOPPING=1")

    def _tell(self, state: bytes) -> None:
        if self._notify is None:
            return
        address = "\0" + self._notify[1:] if self._notify.startswith("@") else self._notify  # abstract: unix(7)
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state, address)

    def hear(self, channel: socket.socket, shut_down: Callable[[], None]) -> None:
        """Take what has come on ``channel``."""
        try:
            data = channel.recv(_LINE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(channel)
            _log.warning("PM2 has gone; this process goes on without it")
            return
        *lines, rest = (self._heard + data).split(b"\n")
        self._heard = rest if len(rest) <= _LINE_BYTES else b""
        if any(_decoded(line) == "shutdown" for line in lines):
            shut_down()


@contextmanager
def supervised(shut_down: Callable[[], None], env: MutableMapping[str, str] = os.environ) -> Iterator[Supervisor]:
    """The supervisor named in ``env``, listened to while the block runs; must be entered in a running loop.

    ``shut_down`` is called when it asks for the end by a message instead of a signal. The variables are taken out of
    ``env``: a child of ours, a Node one above all, must not take the channel for its own.
    """
    channel = _channel(env.pop(_PM2, ""))
    env.pop(_PM2_MODE, None)
    supervisor = Supervisor(channel, env.pop(_SYSTEMD, None))
    if channel is None:
        yield supervisor
        return
    loop = asyncio.get_running_loop()
    with channel:
        loop.add_reader(channel, supervisor.hear, channel, shut_down)
        try:
            yield supervisor
        finally:
            loop.remove_reader(channel)


def warnings(env: Mapping[str, str], *, stop_s: float) -> list[str]:
    """What is wrong with the way PM2 looks after this process, a sentence each; PM2 passes its options on in ``env``.

    ``stop_s``: how long a stop may take at the most.
    """
    if "pm_id" not in env:
        return []
    found = []
    kill_ms = _number(env.get("kill_timeout")) or 1_600  # PM2's own default
    if kill_ms < stop_s * 1000:
        found.append(
            f"PM2 kills this process after {kill_ms / 1000:g} s of stopping, which may take {stop_s:g} s: "
            f"set kill_timeout to {stop_s * 1000:.0f} or more"
        )
    if env.get("treekill") != "false":
        found.append("PM2 stops the children of this process before their work is done: set treekill to false")
    if _number(env.get("restart_delay")) < IDENTIFY_S * 1000:
        found.append(
            "A crash loop would spend the 1,000 logins that Discord allows in a day: set restart_delay to 90000"
        )
    return found


def _channel(number: str) -> socket.socket | None:
    """The socket behind the descriptor ``number``, or None where that is not one we were given."""
    try:
        descriptor = int(number)
        # What was handed down to us is inheritable, what Python opened itself is not (PEP 446): the variable may have
        # come through a process that closed the descriptor, and the number may be our own event loop's by now.
        if descriptor <= 2 or not os.get_inheritable(descriptor):  # noqa: PLR2004  the standard streams
            return None
        channel = socket.socket(fileno=descriptor)
    except (ValueError, OverflowError, OSError):
        return None
    if (channel.family, channel.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        channel.detach()  # somebody else's: not ours to close
        return None
    channel.set_inheritable(False)
    channel.setblocking(False)
    return channel


def _decoded(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
