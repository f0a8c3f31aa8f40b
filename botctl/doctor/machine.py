"""What is well on this machine: versions, file modes, the clock, disks, descriptors, the port, what runs. Pure."""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from botctl.core.escape import safe
from botctl.doctor.finding import Finding, fault, ok, unknown

MAX_SKEW_S: Final = 5.0
"""More than a Date in whole seconds and a slow answer explain."""
MIN_FREE_BYTES: Final = 200_000_000
"""Beside what the log may still grow by. A store needs about as much to write its files again."""
MIN_FREE_INODES: Final = 1_000
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class VersionEvidence:
    """Versions as texts; ``*_wanted`` as in the metadata of the package: ``>=3.11,<3.14``. None: not installed."""

    python: str
    python_wanted: str
    botctl: str
    disnake: str | None
    disnake_wanted: str


def assess_versions(seen: VersionEvidence) -> list[Finding]:
    if satisfies(seen.python, seen.python_wanted):
        python = ok("python", seen.python)
    else:
        mend = "Make a virtual environment with such a Python, and install botctl there."
        python = fault("python", f"{seen.python}, but botctl needs {seen.python_wanted}", mend)
    versions = f"botctl {seen.botctl}, disnake {seen.disnake}"
    if seen.disnake is None:
        mend = "Install botctl again: `pip install --force-reinstall botctl`."
        return [python, fault("versions", f"botctl {seen.botctl}, without disnake", mend)]
    if not satisfies(seen.disnake, seen.disnake_wanted):
        mend = f"pip install 'disnake{seen.disnake_wanted}'"
        return [python, fault("versions", f"{versions}, but it is made for {seen.disnake_wanted}", mend)]
    return [python, ok("versions", versions)]


def satisfies(version: str, wanted: str) -> bool:
    """Whether ``version`` (``2.12.2``) is in ``wanted`` (``>=2.12.2,<2.13``). A suffix (``rc1``) is not looked at."""
    have = _numbers(version)
    for condition in filter(None, map(str.strip, wanted.split(","))):
        match = re.fullmatch(r"(>=|<=|==|<|>)\s*([\d.]+)", condition)
        if match is None:
            continue
        want = _numbers(match[2])
        holds = {">=": have >= want, "<=": have <= want, "==": have == want, "<": have < want, ">": have > want}
        if not holds[match[1]]:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return (*numbers, 0, 0, 0)[:3]


@dataclass(frozen=True, slots=True)
class FileMode:
    """A file or folder that only its owner may use; ``mode`` and ``uid`` as of `os.stat`."""

    path: str
    mode: int
    uid: int


def assess_modes(files: Sequence[FileMode], *, uid: int) -> list[Finding]:
    """``uid``: who runs botctl. Root may use the files of another user."""
    faults = []
    for file in files:
        shown, name = safe(file.path), shlex.quote(file.path)
        if uid not in (0, file.uid):
            mend = f"chown {uid} {name}, or run botctl as that user."
            faults.append(fault("files", f"{shown} belongs to the user {file.uid}, not to {uid}", mend))
        elif file.mode & _OTHERS:
            mend = f"chmod go= {name}"
            sentence = f"{shown} has mode {stat.S_IMODE(file.mode):04o}: other users may use it, and it holds secrets"
            faults.append(fault("files", sentence, mend))
    if faults:
        return faults
    shown = ", ".join(safe(file.path) for file in files)
    return [ok("files", f"only their owner can read {shown}" if files else "there are no files with secrets yet")]


@dataclass(frozen=True, slots=True)
class DiskEvidence:
    """``free_inodes``: None where the file system does not count them. ``folders``: those of ours that are on it."""

    folders: tuple[str, ...]
    free_bytes: int
    free_inodes: int | None
    log_bytes: int  # by which the log may still grow


def assess_disk(seen: DiskEvidence) -> Finding:
    where, free = safe(" and ".join(seen.folders)), _size(seen.free_bytes)
    needed = MIN_FREE_BYTES + seen.log_bytes
    if seen.free_bytes < needed:
        mend = f"Free {_size(needed - seen.free_bytes)} there, or lower logs.rotate_bytes or logs.keep."
        return fault("disk", f"{free} free for {where}; the log and the stores need {_size(needed)}", mend)
    if seen.free_inodes is not None and seen.free_inodes < MIN_FREE_INODES:
        mend = "Delete files there that no one needs: it is their number that is limited."
        return fault("disk", f"only {seen.free_inodes} more files fit on the disk of {where}", mend)
    return ok("disk", f"{free} free for {where}")


def _size(count: int) -> str:
    """Bytes for people: ``1.2 GB``."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004
            return f"{size:.1f} {unit}" if unit == "GB" else f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


@dataclass(frozen=True, slots=True)
class ClockEvidence:
    """The clock of this machine against the ``Date`` of an answer of Discord. ``ahead_s`` is positive if ours is ahead.

    ``margin_s``: how much of it the time that the answer took may explain.
    """

    ahead_s: float
    margin_s: float


def assess_clock(seen: ClockEvidence) -> Finding:
    if abs(seen.ahead_s) - seen.margin_s <= MAX_SKEW_S:
        return ok("clock", "this machine and Discord have the same time")
    how = "ahead of" if seen.ahead_s > 0 else "behind"
    mend = "Turn time synchronisation on (`timedatectl set-ntp true`). TLS, logs, jobs and keys go by this clock."
    return fault("clock", f"this machine's clock is {abs(seen.ahead_s):.0f} s {how} Discord's", mend)


@dataclass(frozen=True, slots=True)
class DescriptorEvidence:
    """``hard``: the limit to which a process may raise its own; None: no limit. ``whose``: ``this shell``."""

    whose: str
    hard: int | None
    needed: int
    connections: int


def assess_descriptors(seen: DescriptorEvidence) -> Finding:
    if seen.hard is None or seen.hard >= seen.needed:
        limit = "no limit" if seen.hard is None else f"{seen.hard} allowed"
        return ok("descriptors", f"{limit} in {seen.whose}, {seen.needed} needed for {seen.connections} connections")
    sentence = f"{seen.hard} open files allowed in {seen.whose}; realtime.connections = {seen.connections} need "
    mend = f"LimitNOFILE={seen.needed} in the systemd unit (or `ulimit -Hn`), or lower realtime.connections."
    return fault("descriptors", f"{sentence}{seen.needed}", mend)


@dataclass(frozen=True, slots=True)
class PortEvidence:
    """``error``: the errno of a try to bind to ``port``, or None. ``holder``: our process that has it."""

    host: str
    port: int
    error: int | None
    holder: int | None = None


def assess_port(seen: PortEvidence, *, setting: str) -> Finding:
    """``setting``: the section that has the port, ``realtime`` or ``web``."""
    if seen.port == 0:
        return ok("port", f"{setting}.port is 0: `botctl run` takes that of the last run, or a free one")
    where = f"port {seen.port} of {safe(seen.host)} ({setting})"
    if seen.holder is not None:
        return ok("port", f"{where} is ours: process {seen.holder}")
    if seen.error is None:
        return ok("port", f"{where} is free")
    reason = os.strerror(seen.error).lower()
    if seen.error == errno.EADDRINUSE:
        mend = f"`ss -ltnp sport = :{seen.port}` names it. End it, or set {setting}.port to another port."
        return fault("port", f"another program has {where}", mend)
    mend = f"Set {setting}.host to an address of this machine, and {setting}.port to 1024 or more."
    return fault("port", f"{where} cannot be had: {reason}", mend)


@dataclass(frozen=True, slots=True)
class RunEvidence:
    """A `botctl run` of this project. ``pid``: None if a full disk kept it from writing that down."""

    pid: int | None
    roles: tuple[str, ...]
    since: datetime | None


def assess_runs(runs: Sequence[RunEvidence]) -> list[Finding]:
    if not runs:
        return [unknown("run", "no `botctl run` of this project is up on this machine")]
    return [
        ok(
            "run",
            f"{'a process' if run.pid is None else f'process {run.pid}'} has the roles {', '.join(run.roles)}"
            + (f", since {run.since:%Y-%m-%d %H:%M:%S}" if run.since else ""),
        )
        for run in runs
    ]
