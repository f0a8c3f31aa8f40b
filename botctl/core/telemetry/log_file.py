"""A file of lines that grows, is put aside when it is full, and never stops whoever writes to it.

Each line is one ``write`` to a file opened for appending: nothing waits in memory to be lost by a crash, and several
processes can share the file. It costs about half a microsecond. loguru 0.7.3's own file sink has no lock: of two
processes that find the file full, the second fails to rename it, or puts aside what the first has just begun; and an
error is raised where the line was logged, or printed with the whole record, secrets and all, for every line.
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

CHECK_S: Final = 1.0  # how often another process's rotation is looked for
RETRY_S: Final = 10.0  # how long after a failure nothing is tried


class LogFile:
    """Lines appended to ``path``, which is put aside at ``rotate_bytes``; the newest ``keep`` old files stay.

    An old file is named for the time at which it was put aside: ``botctl.20260102T030405.678Z.jsonl``. Nothing here
    raises: that the disk is full, or writable again, is told to ``complain`` once, in a sentence.
    """

    def __init__(
        self, path: Path, rotate_bytes: int, keep: int, *, complain: Callable[[str], None], clock: Clock | None = None
    ) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._complain = complain
        self._clock = clock or SystemClock()
        self._fd = -1
        self._size_bytes = 0
        self._look_at = 0.0
        self._retry_at = 0.0
        self._rotate_at = 0.0
        self._lost = 0

    def write(self, line: bytes) -> None:
        """Append ``line``, which ends with a newline."""
        now = self._clock.monotonic()
        try:
            if not self._ready(now):
                self._lost += 1
                return
            if self._size_bytes + len(line) > self._rotate_bytes and self._size_bytes and now >= self._rotate_at:
                self._rotate(now)
            written = os.write(self._fd, line)
            if written < len(line):  # the disk became full within the line
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size_bytes += written
        except OSError as error:
            self._fail(error, now)

    def close(self) -> None:
        """Close the file; the next line would open it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _ready(self, now: float) -> bool:
        """Whether the file is open, and still the one at the path."""
        if self._fd >= 0 and now < self._look_at:
            return True
        if self._fd < 0 and now < self._retry_at:
            return False
        self._look_at = now + CHECK_S
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
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._ends_in_half_a_line():
            os.write(self._fd, b"\n")  # it spoils itself, not the next
        self._size_bytes = os.fstat(self._fd).st_size
        if self._lost:
            self._complain(f"{self._path} is written again; {self._lost} lines were lost.")
            self._lost = 0

    def _ends_in_half_a_line(self) -> bool:
        """Whether somebody was stopped in the middle of a line; not whether another process is in the middle of one.

        Of a line that is being written others see the beginning first (Linux: a write is one page after another). To
        set the mode, which changes nothing here, waits for the end of such a write.
        """
        before = os.fstat(self._fd)
        if not before.st_size or os.pread(self._fd, 1, before.st_size - 1) == b"\n":
            return False
        with suppress(PermissionError):  # another user's file
            os.fchmod(self._fd, stat.S_IMODE(before.st_mode))
        return os.fstat(self._fd).st_size == before.st_size

    def _rotate(self, now: float) -> None:
        """Put the file aside, unless another process has just done so, and begin a new one."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)  # held until the file is closed, by whoever gets it first
            if self._is_at_path():
                self._path.rename(self._aside())
                for old in self._old()[: -self._keep or None]:
                    old.unlink(missing_ok=True)
        except OSError as error:
            self._complain(f"{self._path} cannot be put aside: {error.strerror}; it goes on growing.")
            self._rotate_at = now + RETRY_S
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            return
        self.close()
        self._open()

    def _aside(self) -> Path:
        at = self._clock.now().astimezone(UTC)
        stamp = f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03}Z"
        for more in ("", *(f"-{count}" for count in range(1, 1000))):
            aside = self._path.with_suffix(f".{stamp}{more}{self._path.suffix}")
            if not aside.exists():
                return aside
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _old(self) -> list[Path]:
        """The files put aside, oldest first."""
        return sorted(self._path.parent.glob(f"{self._path.stem}.*{self._path.suffix}"))

    def _fail(self, error: OSError, now: float) -> None:
        self.close()
        self._retry_at = now + RETRY_S
        if not self._lost:
            self._complain(f"{self._path} cannot be written: {error.strerror}; the bot goes on without it.")
        self._lost += 1
