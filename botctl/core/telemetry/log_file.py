"""A log file with rotation that several processes can share. Its errors never reach the caller.

Each line is one ``write`` to a file opened for appending, so a crash loses nothing. loguru's own file sink (0.7.3) is
not used: it has no lock for the rotation, and prints or raises its errors with the whole record and its secrets.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import Final

from botctl.core.clock import Clock, SystemClock
from botctl.core.private_files import make_private_folder

CHECK_S: Final = 1.0  # how often to check for a rotation by another process
RETRY_S: Final = 10.0  # the delay after a failure


class LogFile:
    """Appends lines to ``path``, rotates it at ``rotate_bytes``, and keeps the newest ``keep`` rotated files.

    A rotated file is named for the time of its rotation: ``botctl.20260102T030405.678Z.jsonl``. Raises nothing:
    ``warn`` gets one sentence when the file cannot be written, and one when it can be written again.
    """

    def __init__(
        self, path: Path, rotate_bytes: int, keep: int, *, warn: Callable[[str], None], clock: Clock | None = None
    ) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._warn = warn
        self._clock = clock or SystemClock()
        self._fd = -1
        self._size_bytes = 0
        self._check_at_s = 0.0
        self._retry_at_s = 0.0
        self._rotate_at_s = 0.0
        self._lost = 0

    def write(self, line: bytes) -> None:
        """Append ``line``, which ends with a newline."""
        now = self._clock.monotonic()
        try:
            if not self._ready(now):
                self._lost += 1
                return
            if self._size_bytes + len(line) > self._rotate_bytes and self._size_bytes and now >= self._rotate_at_s:
                self._rotate(now)
            written = os.write(self._fd, line)
            if written < len(line):  # the disk became full during the write
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size_bytes += written
        except OSError as error:
            self._fail(error, now)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _ready(self, now: float) -> bool:
        """Open or reopen the file if needed. Returns False during the delay after a failure (`RETRY_S`)."""
        if self._fd >= 0 and now < self._check_at_s:
            return True
        if self._fd < 0 and now < self._retry_at_s:
            return False
        self._check_at_s = now + CHECK_S
        if self._fd >= 0 and self._is_at_path():
            self._size_bytes = os.fstat(self._fd).st_size  # other processes write too
            return True
        self.close()
        self._open()
        return True

    def _is_at_path(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        make_private_folder(self._path.parent)
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._has_partial_last_line():
            os.write(self._fd, b"\n")  # so that the next line is not damaged
        self._size_bytes = os.fstat(self._fd).st_size
        if self._lost:
            self._warn(f"{self._path} can be written again. {self._lost} lines were lost.")
            self._lost = 0

    def _has_partial_last_line(self) -> bool:
        """Whether the last line was left incomplete by a crash.

        Another process may be writing it now, page by page (Linux). fchmod with the same mode waits for that write.
        """
        before = os.fstat(self._fd)
        if not before.st_size or os.pread(self._fd, 1, before.st_size - 1) == b"\n":
            return False
        with suppress(PermissionError):  # another user's file
            os.fchmod(self._fd, stat.S_IMODE(before.st_mode))
        return os.fstat(self._fd).st_size == before.st_size

    def _rotate(self, now: float) -> None:
        """Rename the file, unless another process has just done so, and open a new one."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)  # until the file is closed
            if self._is_at_path():
                self._path.rename(self._rotated_path())
                for old in self._rotated_files()[: -self._keep or None]:
                    old.unlink(missing_ok=True)
        except OSError as error:
            self._warn(f"{self._path} cannot be rotated: {error.strerror}. It keeps growing.")
            self._rotate_at_s = now + RETRY_S
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            return
        self.close()
        self._open()

    def _rotated_path(self) -> Path:
        at = self._clock.now().astimezone(UTC)
        stamp = f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03}Z"
        for suffix in ("", *(f"-{count}" for count in range(1, 1000))):
            path = self._path.with_suffix(f".{stamp}{suffix}{self._path.suffix}")
            if not path.exists():
                return path
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _rotated_files(self) -> list[Path]:
        return sorted(self._path.parent.glob(f"{self._path.stem}.*{self._path.suffix}"))

    def _fail(self, error: OSError, now: float) -> None:
        self.close()
        self._retry_at_s = now + RETRY_S
        if not self._lost:
            self._warn(f"{self._path} cannot be written: {error.strerror}. The bot runs on without it.")
        self._lost += 1
