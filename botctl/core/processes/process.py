"""Identify a process of this machine by id and start time, and terminate it.

A process id is reused after its process has ended. The id and the start time together identify one process.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from botctl.core.errors import Held

KILL_S: Final = 5.0  # the longest wait after SIGKILL
_POLL_S: Final = 0.01

# A small Python process runs this, then execs the program. Linux: prctl(2), PR_SET_PDEATHSIG (1), SIGKILL (9).
# The parent may have died before the call, and then there would be no signal: so check it once more.
# SIGHUP stays ignored after the exec: only the parent stops its child, when nothing needs it any more.
_DIE_WITH_PARENT: Final = (
    "import ctypes, os, signal, sys\n"
    "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "if os.getppid() != int(sys.argv[1]): os._exit(1)\n"
)
_EXEC: Final = "import os, sys\nos.umask(0o77)\nos.execv(sys.argv[2], sys.argv[2:])\n"

# The variables that a child inherits: what its interpreter needs to start (libraries, modules, locale, memory), and
# where its files are. None holds a secret of the settings.
_INHERITED: Final = re.compile(
    r"PATH|HOME|TMPDIR|TZ|TZDIR|LANG|LANGUAGE|LC_\w+|LOCPATH"
    r"|(LD|DYLD|NIX_LD)_\w+|NIX_LD|SHLIB_PATH|LIBPATH|GLIBC_TUNABLES|MALLOC_\w+"  # ld.so(8), dyld(1), mallopt(3)
    r"|PYTHON(PATH|HOME|PLATLIBDIR|USERBASE|NOUSERSITE|UTF8|COERCECLOCALE|MALLOC|PYCACHEPREFIX|DONTWRITEBYTECODE)"
    r"|__PYVENV_LAUNCHER__"
)


def die_with_parent(command: Sequence[str]) -> tuple[str, ...]:
    """Wrap ``command`` (absolute path first): the kernel kills it when the thread that spawned it ends.

    So spawn it from the main thread. A small Python process execs it, because code between fork and exec can deadlock
    in a process with threads. Linux only; on other systems, the next start ends a child whose parent was killed. On
    all systems, only this user can read the files that it creates.
    """
    program = _DIE_WITH_PARENT + _EXEC if sys.platform == "linux" else _EXEC
    # -I ignores PYTHONHOME, without which some interpreters do not find their library.
    isolated = ("-P", "-s") if "PYTHONHOME" in os.environ else ("-I",)
    return (sys.executable, *isolated, "-S", "-c", program, str(os.getpid()), *command)


def child_environment(**more: str) -> Mapping[str, str]:
    """The environment for a child: the inherited variables and ``more``."""
    return {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)} | more


def start_time(pid: int) -> str | None:
    """The start time of process ``pid``, as text to compare; None if it does not run or is a zombie.

    On Linux it is in clock ticks since boot, which a change of the clock does not affect.
    """
    return _start_time_linux(pid) if sys.platform == "linux" else _start_time_not_linux(pid)


@functools.cache
def process_space() -> str:
    """Where process ids mean the same: this boot of this host, and its PID namespace (containers have their own)."""
    with suppress(OSError):
        return f"{_boot_id()}:{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  not a path
    return socket.gethostname()


def is_running(pid: int, start: str) -> bool:
    """Whether process ``pid`` still runs, with the start time ``start`` (`start_time`)."""
    return start_time(pid) == start


async def terminate(pid: int, start: str, *, limit_s: float) -> None:
    """Terminate process ``pid`` with start time ``start``: SIGTERM, and SIGKILL after ``limit_s``.

    Raises:
        Held: it belongs to another user, or survives.
    """
    for number, wait_s in ((signal.SIGTERM, limit_s), (signal.SIGKILL, KILL_S)):
        if not is_running(pid, start):
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        except PermissionError:
            break
        if await _wait_for_exit(pid, start, wait_s):
            return
    raise Held(f"The process {pid} is still running and cannot be ended.", hint=f"End it yourself: kill -9 {pid}")


async def _wait_for_exit(pid: int, start: str, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while is_running(pid, start):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


@functools.cache
def _boot_id() -> str:
    """The id of this start of Linux: clock ticks of different boots must not be equal."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "boot"


def _start_time_linux(pid: int) -> str | None:
    """proc_pid_stat(5): after the name in parentheses come field 3, the state, and field 22, the start time."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else f"{_boot_id()}:{int(fields[19])}"


def _start_time_not_linux(pid: int) -> str | None:
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415  slow, and only needed here

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except psutil.Error:
        return None
