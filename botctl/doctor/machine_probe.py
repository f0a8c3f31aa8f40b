"""Gather the evidence about this machine. Everything here may block, and is called in a thread of its own."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from botctl.core.version import __version__
from botctl.doctor.machine import (
    DescriptorEvidence,
    DiskEvidence,
    FileMode,
    PortEvidence,
    RunEvidence,
    VersionEvidence,
)


def read_versions() -> VersionEvidence:
    python_wanted = disnake_wanted = ""
    with suppress(importlib.metadata.PackageNotFoundError):
        metadata = importlib.metadata.metadata("botctl")
        python_wanted = metadata["Requires-Python"] or ""
        for line in importlib.metadata.requires("botctl") or ():
            if match := re.fullmatch(r"disnake\s*\(?([<>=\d.,\s]*)\)?", line):
                disnake_wanted = match[1]
    disnake: str | None = None
    with suppress(importlib.metadata.PackageNotFoundError):
        disnake = importlib.metadata.version("disnake")
    return VersionEvidence(platform.python_version(), python_wanted, __version__, disnake, disnake_wanted)


def read_modes(root: Path, paths: Sequence[Path]) -> list[FileMode]:
    """Those of ``paths`` that exist; shown relative to ``root``."""
    found = []
    for path in paths:
        with suppress(FileNotFoundError):
            info = path.stat()
            shown = path.relative_to(root) if path.is_relative_to(root) else path
            found.append(FileMode(str(shown), info.st_mode, info.st_uid))
    return found


def read_disks(root: Path, folders: Sequence[Path], *, log_bytes: int) -> list[DiskEvidence]:
    """One for each file system that ``folders`` are on. A folder that is not there yet counts as its parent."""
    disks: dict[int, list[Path]] = {}
    for folder in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        disks.setdefault(existing.stat().st_dev, []).append(folder)
    found = []
    for on_disk in disks.values():
        existing = next(path for path in (on_disk[0], *on_disk[0].parents) if path.exists())
        info = os.statvfs(existing)
        blocks = info.f_bfree if os.geteuid() == 0 else info.f_bavail  # some are reserved for root
        shown = tuple(str(path.relative_to(root) if path.is_relative_to(root) else path) for path in on_disk)
        inodes = info.f_ffree if info.f_files else None
        found.append(DiskEvidence(shown, blocks * info.f_frsize, inodes, log_bytes))
    return found


def read_descriptors(pid: int | None, *, needed: int, connections: int) -> DescriptorEvidence:
    """The limit of the process ``pid``, or of this shell if there is none, or it cannot be read."""
    if pid is not None and hasattr(psutil.Process, "rlimit"):
        with suppress(psutil.Error, OSError):
            _, hard = psutil.Process(pid).rlimit(resource.RLIMIT_NOFILE)
            return DescriptorEvidence(f"process {pid}", _limit(hard), needed, connections)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DescriptorEvidence("this shell", _limit(hard), needed, connections)


def _limit(hard: int) -> int | None:
    return None if hard in (resource.RLIM_INFINITY, -1) else hard


def read_port(host: str, port: int, pids: Sequence[int]) -> PortEvidence:
    """Bind to the port for a moment, unless one of our processes ``pids`` listens on it."""
    if port == 0:
        return PortEvidence(host, port, None)
    for pid in pids:
        if _listens(pid, port):
            return PortEvidence(host, port, None, pid)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
    except socket.gaierror:
        return PortEvidence(host, port, 99)  # EADDRNOTAVAIL: no such host is this machine
    except OSError as error:
        return PortEvidence(host, port, error.errno)
    return PortEvidence(host, port, None)


def _listens(pid: int, port: int) -> bool:
    with suppress(psutil.Error, OSError):
        connections = psutil.Process(pid).net_connections(kind="inet")
        return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections)
    return False


def read_run(pid: int | None, roles: Sequence[str]) -> RunEvidence:
    since: datetime | None = None
    if pid is not None:
        with suppress(psutil.Error, OSError):
            since = datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC).astimezone()
    return RunEvidence(pid, tuple(roles), since)
