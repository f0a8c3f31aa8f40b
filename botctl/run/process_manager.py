"""Communicate with the program that started this process and restarts it: PM2, systemd, or none.

PM2 gives each process that it forks a socket; ``NODE_CHANNEL_FD`` is its descriptor. Both sides send JSON, one value a
line: ``"ready"`` from us (PM2's option ``wait_ready``), ``"shutdown"`` from PM2 (``shutdown_with_message``). systemd
names a datagram socket in ``NOTIFY_SOCKET`` (sd_notify(3)). A missing, closed or wrong channel never stops a bot.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import socket
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Final

from botctl.core.redact import redact

START_EXTENSION_S: Final = 120.0
"""How long systemd waits for the next sign of a start that goes on. See `Supervisor.extend_start`."""
_PM2_CHANNEL: Final = "NODE_CHANNEL_FD"
_PM2_SERIALIZATION: Final = "NODE_CHANNEL_SERIALIZATION_MODE"
_SYSTEMD_SOCKET: Final = "NOTIFY_SOCKET"
_WATCHDOG_USEC: Final = "WATCHDOG_USEC"
_WATCHDOG_PID: Final = "WATCHDOG_PID"
_MAX_ALIVE_EVERY_S: Final = 10.0
_MAX_LINE_BYTES: Final = 65_536  # PM2 sends no longer message to us
_MAX_STATUS: Final = 500

_log = logging.getLogger(__name__)


class Supervisor:
    """The connection to the process manager, if there is one. `connect_supervisor` creates it.

    ``alive_every_s``: how often systemd wants to hear `notify_alive`; None if it has no watchdog for this process.
    """

    def __init__(
        self, pm2_channel: socket.socket | None, systemd_address: str | None, alive_every_s: float | None = None
    ) -> None:
        self._pm2_channel = pm2_channel
        self._systemd_address = systemd_address
        self.alive_every_s = alive_every_s
        self._buffer = b""
        self._status = ""  # what `systemctl status` shows

    def notify_ready(self) -> None:
        """Tell the process manager that every service runs: a bot receives events from now on."""
        if self._pm2_channel is not None:
            with contextlib.suppress(OSError):  # PM2 has ended, or does not read
                self._pm2_channel.send(b'"ready"\n')
        self._status = "running"
        self._notify_systemd(b"READY=1\nSTATUS=running")

    def extend_start(self) -> None:
        """Tell systemd that the start goes on: it may take `START_EXTENSION_S` more from now."""
        self._notify_systemd(f"EXTEND_TIMEOUT_USEC={round(START_EXTENSION_S * 1_000_000)}".encode())

    def notify_status(self, text: str) -> None:
        """Show ``text`` in `systemctl status`. Does nothing if it is shown already."""
        line = " ".join(redact(text).split())[:_MAX_STATUS]
        if line == self._status:
            return
        self._status = line
        self._notify_systemd(f"STATUS={line}".encode(errors="replace"))

    def notify_stopping(self) -> None:
        self._notify_systemd(b"STOPPING=1")

    def notify_alive(self) -> None:
        """Keep the watchdog of systemd (``WatchdogSec=``) from ending this process."""
        self._notify_systemd(b"WATCHDOG=1")

    def _notify_systemd(self, state: bytes) -> None:
        address = self._systemd_address
        if address is None:
            return
        address = "\0" + address[1:] if address.startswith("@") else address  # abstract: unix(7)
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state, address)

    def read_messages(self, channel: socket.socket, on_shutdown: Callable[[], None]) -> None:
        """Read what PM2 has sent; call ``on_shutdown`` if it asks this process to stop."""
        try:
            data = channel.recv(_MAX_LINE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(channel)
            _log.warning("PM2 has ended; this process continues without it")
            return
        *lines, rest = (self._buffer + data).split(b"\n")
        self._buffer = rest if len(rest) <= _MAX_LINE_BYTES else b""
        if any(_parse_json(line) == "shutdown" for line in lines):
            on_shutdown()


@contextmanager
def connect_supervisor(
    on_shutdown: Callable[[], None], env: MutableMapping[str, str] = os.environ
) -> Iterator[Supervisor]:
    """Connect to the process manager that ``env`` names, until the block ends. Needs a running event loop.

    PM2 may ask the process to stop by a message instead of a signal: then ``on_shutdown`` is called. The variables are
    removed from ``env``, because a child process (especially Node) would use the channel as its own.
    """
    channel = _open_channel(env.pop(_PM2_CHANNEL, ""))
    env.pop(_PM2_SERIALIZATION, None)
    alive_every_s = _alive_every_s(env.pop(_WATCHDOG_USEC, ""), env.pop(_WATCHDOG_PID, ""))
    supervisor = Supervisor(channel, env.pop(_SYSTEMD_SOCKET, None), alive_every_s)
    if channel is None:
        yield supervisor
        return
    loop = asyncio.get_running_loop()
    with channel:
        loop.add_reader(channel, supervisor.read_messages, channel, on_shutdown)
        try:
            yield supervisor
        finally:
            loop.remove_reader(channel)


def _alive_every_s(watchdog_usec: str, watchdog_pid: str) -> float | None:
    """A third of the time that systemd waits; see sd_watchdog_enabled(3). None if it waits for no one, or another."""
    limit_s = _parse_number(watchdog_usec) / 1_000_000
    is_ours = not watchdog_pid or watchdog_pid == str(os.getpid())
    return min(limit_s / 3, _MAX_ALIVE_EVERY_S) if is_ours and 0 < limit_s < math.inf else None


def pm2_warnings(env: Mapping[str, str], *, max_stop_s: float) -> list[str]:
    """What is wrong with the PM2 options of this process, one sentence each. PM2 puts its options into ``env``.

    ``max_stop_s``: the longest time that a stop may take.
    """
    if "pm_id" not in env:
        return []
    warnings = []
    kill_ms = _parse_number(env.get("kill_timeout")) or 1_600  # PM2's own default
    if kill_ms < max_stop_s * 1000:
        warnings.append(
            f"PM2 kills this process {kill_ms / 1000:g} s after it asks it to stop, but a stop may take "
            f"{max_stop_s:g} s: set kill_timeout to {max_stop_s * 1000:.0f} or more"
        )
    if env.get("treekill") != "false":
        warnings.append("PM2 stops the children of this process while it still needs them: set treekill to false")
    return warnings


def _open_channel(number: str) -> socket.socket | None:
    """The socket with the descriptor ``number``, or None if PM2 did not give us such a socket."""
    try:
        descriptor = int(number)
        # An inherited descriptor is inheritable, one that Python opened is not (PEP 446). The variable may have come
        # through a process that closed the descriptor; then the number may belong to our own event loop by now.
        if descriptor <= 2 or not os.get_inheritable(descriptor):  # noqa: PLR2004  the standard streams
            return None
        channel = socket.socket(fileno=descriptor)
    except (ValueError, OverflowError, OSError):
        return None
    if (channel.family, channel.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        channel.detach()  # another part of this process uses the descriptor: do not close it
        return None
    channel.set_inheritable(False)
    channel.setblocking(False)
    return channel


def _parse_json(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _parse_number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
