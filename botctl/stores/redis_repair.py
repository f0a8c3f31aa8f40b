"""What to do when the embedded Redis cannot read its data, for example after a power loss.

Nothing in Redis is the only copy (events that clients missed, rate limits, caches), so damaged data never keep a bot
from starting. First the readable beginning of the data is kept, then nothing. The damaged folder is always kept. If the
server does not start without data either, the data were not the cause, and everything is put back.
"""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from botctl.core.files.set_aside import set_aside

_log = logging.getLogger(__name__)

_CHECK: Final = "valkey-check-aof"  # the server is this tool when it is called by this name
_CHECK_S: Final = 60.0
_APPEND_FOLDER: Final = "appendonlydir"
_NOT_OUR_CASE: Final = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)  # it was stopped, or memory was short


class RedisRepair:
    """The repairs of ``data``, the folder of the server ``program``, one after the other (see `LaunchSpec.repair`)."""

    def __init__(self, data: Path, program: Path) -> None:
        self._data = data
        self._program = program
        self._kept: Path | None = None
        self._copied = False

    def __call__(self, status: int, attempt: int) -> str | None:
        try:
            if attempt == 0:
                return self._begin(status)
            if self._copied:
                return self._empty()
        except OSError:
            pass  # told as the error of the server
        self._undo()
        return None

    def _begin(self, status: int) -> str | None:
        """Keep the damaged data, and put a copy without its unreadable end in their place."""
        self._kept, self._copied = None, False
        if status in _NOT_OUR_CASE or not _is_readable(self._data / _APPEND_FOLDER):
            return None
        self._kept = set_aside(self._data)
        self._data.mkdir(mode=0o700)
        self._copied = self._copy_readable(self._kept)
        if not self._copied:
            return self._empty()
        return (
            "The end of the embedded Redis's data cannot be read: it goes on with what comes before. The damaged data "
            f"are kept in {self._kept}."
        )

    def _copy_readable(self, damaged: Path) -> bool:
        """Copy ``damaged``, and cut off its unreadable end. False if nothing can be saved, or the disk is full."""
        folder = self._data / _APPEND_FOLDER
        try:
            shutil.copytree(damaged / _APPEND_FOLDER, folder)
            return all(self._cut(path) for path in sorted(folder.glob("*.incr.aof")))
        except (OSError, subprocess.TimeoutExpired):
            return False

    def _cut(self, path: Path) -> bool:
        """Cut off the unreadable end of ``path``. With the manifest, the tool would take a good base for damaged."""
        command = [_CHECK, "--fix", str(path)]
        ended = subprocess.run(
            command, executable=self._program, input=b"y\n", capture_output=True, timeout=_CHECK_S, check=False
        )
        return ended.returncode == 0

    def _empty(self) -> str:
        self._copied = False
        shutil.rmtree(self._data)
        self._data.mkdir(mode=0o700)
        return (
            "The embedded Redis's data cannot be read: it starts without data. Rate limits begin again, and clients of "
            f"the realtime server miss older events. The damaged data are kept in {self._kept}."
        )

    def _undo(self) -> None:
        """The data were not the cause."""
        if self._kept is not None:
            with suppress(OSError):
                shutil.rmtree(self._data, ignore_errors=True)
                self._kept.rename(self._data)
                _log.warning("The embedded Redis does not start without data either. They are back in %s.", self._data)
            self._kept = None


def _is_readable(folder: Path) -> bool:
    """Whether there are data, and this user may read them: a missing right is no damage."""
    try:
        files = [path for path in folder.iterdir() if path.is_file()]
        for path in files:
            path.open("rb").close()
    except OSError:
        return False
    return bool(files)
