"""A socket on which this process says how it is. A thread serves it, so it answers while the event loop is blocked."""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final

from botctl.core.errors import BotctlError
from botctl.monitor.health_client import socket_address, socket_name

_BACKLOG: Final = 16
_SEND_S: Final = 1.0  # for a caller that does not read
_STOP_S: Final = 2 * _SEND_S  # for the answer under way
_REST_MS: Final = 100  # after a failed accept: the caller has gone, or the process has no descriptor left
_log = logging.getLogger(__name__)


@contextmanager
def health_socket(folder: Path, roles: Collection[str], answer: Callable[[], bytes]) -> Iterator[None]:
    """Answer each caller with what ``answer`` returns, which a thread calls, until the block ends.

    This process must hold the locks of ``roles``: what others with them have left is removed. A socket that
    cannot be made, as on a full disk, costs a warning.
    """
    name = socket_name(roles)
    for role in roles:
        _remove(folder, socket_name((role,)))
    try:
        listening = _listen(folder, name)
    except (OSError, BotctlError) as error:
        path = folder / name
        _log.warning("`botctl health` cannot ask this process: its socket %s cannot be made: %s", path, error)
        listening = None
    with _served(listening, answer) if listening else nullcontext():
        try:
            yield
        finally:
            _remove(folder, name)


@contextmanager
def _served(listening: socket.socket, answer: Callable[[], bytes]) -> Iterator[None]:
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=_serve, args=(listening, theirs, answer), name="health", daemon=True)
    with listening, theirs:
        thread.start()
        try:
            yield
        finally:
            ours.close()  # wakes the thread
            thread.join(_STOP_S)


def _listen(folder: Path, name: str) -> socket.socket:
    """A socket that only this user may connect to."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_address(folder, name) as address:
            listening.bind(address)
            Path(address).chmod(0o600)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _remove(folder: Path, name: str) -> None:
    with suppress(OSError, BotctlError), socket_address(folder, name) as address:
        Path(address).unlink()


def _serve(listening: socket.socket, stop: socket.socket, answer: Callable[[], bytes]) -> None:
    both, stopped = select.poll(), select.poll()
    stop_descriptor = stop.fileno()  # -1 later, if the thread is not waited for any longer
    both.register(listening, select.POLLIN)
    for poll in (both, stopped):
        poll.register(stop, select.POLLIN)
    while stop_descriptor not in dict(both.poll()):
        try:
            caller, _ = listening.accept()
        except OSError:
            stopped.poll(_REST_MS)
            continue
        with caller, suppress(OSError):
            caller.settimeout(_SEND_S)
            caller.sendall(_answer(answer))


def _answer(answer: Callable[[], bytes]) -> bytes:
    """Nothing if the answer fails: to the caller, this process does not answer then."""
    try:
        return answer()
    except Exception:  # noqa: BLE001  the thread must not end
        _log.exception("the verdict on this process cannot be told")
        return b""
