"""Ask the processes of a project on this host for their verdicts, through their sockets. Needs no store.

Each `botctl run` answers on ``.botctl/health-<role>.sock``, after the first of its roles (`health_socket`). Its role
locks say that it runs, also when it does not answer. Nothing here loads Redis, pymongo or pydantic, because
`botctl health` is called every few seconds.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from botctl.core.contracts.health import Diagnosis, Health
from botctl.core.errors import ConfigError
from botctl.core.processes.runtime import RUN_LOCKS, Run, Runtime
from botctl.stores.address import SOCKET_BYTES, socket_path

LIMIT_S: Final = 2.0
"""A process that does not answer within it is blocked: its answer needs no event loop, only a thread."""
_POLL_S: Final = 0.05
_CHUNK: Final = 65_536
_ABSENT: Final = (errno.ENOENT, errno.ECONNREFUSED)


Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """``answers``: with the fields of `HealthAnswer`. ``silent``: processes that run, and do not answer."""

    answers: tuple[Answer, ...] = ()
    silent: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True)
class _Replies:
    """By the role that names the socket. ``silent``: those that exist, and did not answer."""

    answers: dict[str, Answer]
    silent: frozenset[str]


def hear_processes(runtime: Runtime, *, limit_s: float = LIMIT_S) -> Heard:
    """Ask all processes of the project, for at most ``limit_s``. It blocks.

    A process that has just taken its role, or is about to free it, has no socket: it is waited for.

    Raises ConfigError if the sockets belong to another user.
    """
    deadline_s = time.monotonic() + limit_s
    while True:
        replies = _ask(runtime.folder, max(0.0, deadline_s - time.monotonic()))
        silent = _silent(runtime.runs(), replies)
        if time.monotonic() >= deadline_s or all(replies.silent & set(run.roles) for run in silent):
            return Heard(tuple(replies.answers.values()), silent)
        time.sleep(_POLL_S)


def unheard(run: Run) -> Diagnosis:
    """The verdict on a `botctl run` of this host that does not answer."""
    why = (
        f"{run} runs on this host, but does not answer on its health socket: it was stopped (SIGSTOP), it is frozen, "
        "or the disk was too full for a socket"
    )
    return Diagnosis(verdict=Health.BLOCKED, why=why, action="look into its log; restart it", restart_helps=True)


def socket_name(roles: Collection[str]) -> str:
    """The name of the socket of the process that has ``roles``. No other process can have one of them."""
    return f"health-{min(roles, key=RUN_LOCKS.index)}.sock"


@contextmanager
def socket_address(folder: Path, name: str, *, platform: str = sys.platform) -> Iterator[str]:
    """An address of the socket ``name`` in ``folder`` that is short enough, valid while the block runs.

    On Linux the folder's descriptor shortens a path that is too long (see proc_pid_fd(5)), so all find the same file,
    whatever their TMPDIR is. Raises OSError if there is no such folder.
    """
    path = str(folder.resolve() / name)
    if len(os.fsencode(path)) <= SOCKET_BYTES:
        yield path
    elif platform == "linux":
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{descriptor}/{name}"
        finally:
            os.close(descriptor)
    else:
        yield str(socket_path(folder, name))


def _silent(runs: Sequence[Run], replies: _Replies) -> tuple[Run, ...]:
    """The rest of ``runs``, and sockets that did not answer though no lock is seen, as those of another container."""
    heard = {role for answer in replies.answers.values() for role in answer["roles"]}
    rest = [Run(run.pid, roles) for run in runs if (roles := tuple(role for role in run.roles if role not in heard))]
    known = {role for run in rest for role in run.roles}
    return (*rest, *(Run(None, (role,)) for role in RUN_LOCKS if role in replies.silent - known))


def _ask(folder: Path, limit_s: float) -> _Replies:
    """Connect to all sockets in ``folder``, and read what comes until ``limit_s`` is over."""
    deadline_s = time.monotonic() + limit_s
    texts: dict[str, bytes] = {}
    sockets: dict[str, socket.socket] = {}
    answers: dict[str, Answer] = {}
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for role in RUN_LOCKS:
            asking = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            asking.setblocking(False)
            if (code := _connect(asking, folder, role)) in _ABSENT:
                continue
            texts[role] = b""
            if code == 0:
                sockets[role] = asking
                selector.register(asking, selectors.EVENT_READ, role)
        while selector.get_map() and (ready := selector.select(max(0.0, deadline_s - time.monotonic()))):
            for role in (key.data for key, _ in ready):
                if chunk := _receive(sockets[role]):
                    texts[role] += chunk
                    continue
                selector.unregister(sockets[role])
                if (answer := _parse(texts[role])) is not None:
                    answers[role] = answer
    return _Replies(answers, frozenset(texts.keys() - answers.keys()))


def _connect(asking: socket.socket, folder: Path, role: str) -> int:
    """0, one of `_ABSENT`, or EAGAIN if the process has left many callers before this one without an answer."""
    try:
        with socket_address(folder, socket_name((role,))) as address:
            code = asking.connect_ex(address)
    except OSError as error:  # there is no such folder
        code = error.errno or errno.ENOENT
    if code in (0, errno.EAGAIN, *_ABSENT):
        return code
    hint = "The .botctl folder must belong to the user who runs botctl."
    raise ConfigError(f"The health sockets in {folder} cannot be used: {os.strerror(code)}.", hint=hint)


def _receive(asking: socket.socket) -> bytes:
    """What has come; nothing at the end, and from a process that is killed just now."""
    try:
        return asking.recv(_CHUNK)
    except OSError:
        return b""


def _parse(text: bytes) -> Answer | None:
    try:
        answer: Answer = json.loads(text)
        roles = answer["roles"]
    except (ValueError, TypeError, KeyError):
        return None
    return answer if isinstance(roles, list) else None
