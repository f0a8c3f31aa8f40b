"""The process that holds a lease, as the store names it: ``<host>:<process id>:<space and random>``.

The space is where process ids mean the same (`process.process_space`): only there can be seen that a holder has ended.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket

from botctl.core.escape import safe
from botctl.core.processes.process import process_space, start_time


def new_holder() -> str:
    """The name of this process as the holder of one lease."""
    return f"{socket.gethostname()}:{os.getpid()}:{_space()}-{secrets.token_hex(4)}"


def describe_holder(holder: str) -> str:
    """For people: ``process 12 on server``."""
    host, pid, _ = holder.split(":")
    return f"process {pid} on {safe(host)}"


def has_ended(holder: str) -> bool:
    """Whether it is known that ``holder`` has ended. False for processes of other hosts, and of earlier versions."""
    host, pid, mark = holder.split(":")
    is_here = host == socket.gethostname() and mark.startswith(f"{_space()}-")
    return is_here and pid.isdigit() and start_time(int(pid)) is None


def _space() -> str:
    return hashlib.sha256(process_space().encode()).hexdigest()[:8]
