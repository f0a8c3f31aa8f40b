"""The commands that this process works on, in a file: after a kill, the next process can say which got no answer.

``.botctl/gateway/commands``: a line when a command begins, and one when it ends. The file is emptied while none is
under way. One that cannot be written costs only this knowledge.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from botctl.core.escape import safe
from botctl.core.files.private import make_private_folder

MAX_BYTES: Final = 1 << 18
_log = logging.getLogger(__name__)


class CommandsUnderWay:
    """``path``: of the file. `take_over` comes first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: dict[int, str] = {}
        self._descriptor = -1
        self._size = 0

    def take_over(self) -> dict[int, str]:
        """The commands of the process before this one that have not ended: id and name. Begins a new file."""
        left = _read(self._path)
        try:
            make_private_folder(self._path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            _log.debug("%s cannot be written: %s", self._path, error.strerror)
        return left

    def begin(self, interaction: int, name: str) -> None:
        self._names[interaction] = name
        self._write(f"+{interaction} {safe(name, 100)}\n")

    def end(self, interaction: int) -> None:
        self._names.pop(interaction, None)
        self._write(f"-{interaction}\n")
        if not self._names or self._size > MAX_BYTES:
            self._start_again()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, line: str) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                self._size += os.write(self._descriptor, line.encode())

    def _start_again(self) -> None:
        with suppress(OSError):
            if self._descriptor >= 0:
                os.ftruncate(self._descriptor, 0)
        self._size = 0
        if self._names:
            self._write("".join(f"+{interaction} {safe(name, 100)}\n" for interaction, name in self._names.items()))


def _read(path: Path) -> dict[int, str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    names: dict[int, str] = {}
    for line in lines:
        number, _, name = line[1:].partition(" ")
        if not number.isdecimal():
            continue
        if line[0] == "+":
            names[int(number)] = name
        else:
            names.pop(int(number), None)
    return names
