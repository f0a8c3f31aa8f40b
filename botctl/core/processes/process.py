"""Processes of this machine, told apart by when they began, and ended by their number.

A process id is used again after its process has ended, so an id alone proves nothing. An id together with the moment
its process began names one process for good.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from botctl.core.errors import Held

KILL_S: Final = 5.0  # the kernel needs this long only when the machine is in trouble
_POLL_S: Final = 0.01

# Run by a bare interpreter between the fork and the program. Linux: prctl(2), PR_SET_PDEATHSIG (1), SIGKILL (9).
# The parent may have died before the leash was on; then nobody would pull it, so it is asked for once more.
_DIE_WITH_PARENT: Final = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "if os.getppid() != int(sys.argv[1]): os._exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)

# What a child needs of our environment. Secrets of the settings are not among it.
_INHERITED: Final = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONPATH", "PYTHONHOME")


def die_with_parent(command: Sequence[str]) -> tuple[str, ...]:
    """``command`` (absolute program first), made to be killed by the kernel when the thread that spawns it ends.

    So spawn from the main thread. It is exec'ed by a small interpreter of its own: code between fork and exec in a
    process with threads can deadlock, and Python 3.12 warns of it. On other systems the command is as it was, and the
    next start finds and ends what a killed parent left behind.
    """
    if sys.platform != "linux":
        return tuple(command)
    return (sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command)


def child_environment(**more: str) -> Mapping[str, str]:
    """The environment for a child: the few harmless variables of ours, and ``more``."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | more


def start_time(pid: int) -> str | None:
    """When the process ``pid`` began, as text that only compares equal for the same process. None: there is none.

    A zombie has ended already. On Linux it is in clock ticks since this boot, which no change of the clock moves.
    """
    return _start_time_linux(pid) if sys.platform == "linux" else _start_time_elsewhere(pid)


def is_running(pid: int, start: str) -> bool:
    """Whether the process ``pid`` that began at ``start`` still runs."""
    return start_time(pid) == start


async def terminate(pid: int, start: str, *, limit_s: float) -> None:
    """End the process ``pid`` that began at ``start``: TERM, after ``limit_s`` KILL. No other process is ever touched.

    Raises:
        Held: it belongs to another user, or survives.
    """
    for number, patience_s in ((signal.SIGTERM, limit_s), (signal.SIGKILL, KILL_S)):
        if not is_running(pid, start):
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        except PermissionError:
            break
        if await _wait_for_exit(pid, start, patience_s):
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
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "boot"


def _start_time_linux(pid: int) -> str | None:
    """proc_pid_stat(5): the name, in parentheses, may hold any; after it field 3, the state, and 22, the start."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else f"{_boot()}:{int(fields[19])}"


def _start_time_elsewhere(pid: int) -> str | None:
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415  slow to import, and only needed here

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except psutil.Error:
        return None
