"""Entries that could not be written before the end, kept in files for the next start."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from botctl.core.ids import event_id

_PATTERN: Final = "audit-*.jsonl"
_log = logging.getLogger(__name__)


class Spool:
    """A folder of files with one canonical line per entry.

    A file has its name only when all of it is on the disk, so a file that is found is whole. Two processes may drain
    the same one: entries are written once for each id.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self) -> list[Path]:
        """What earlier ends left, oldest first."""
        return sorted(self._folder.glob(_PATTERN))

    def put(self, lines: Iterable[bytes]) -> Path:
        """Write ``lines`` to a new file and on to the disk.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"audit-{event_id()}.jsonl"
        part = path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(line + b"\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name, too
        finally:
            os.close(folder)
        return path

    @staticmethod
    def lines(path: Path) -> Iterator[bytes]:
        """The lines of ``path``; none when another process has drained it meanwhile."""
        try:
            with path.open("rb") as file:
                yield from (line.rstrip(b"\n") for line in file)
        except FileNotFoundError:
            return

    @staticmethod
    def done(path: Path) -> None:
        """All of ``path`` is written elsewhere."""
        path.unlink(missing_ok=True)

    @staticmethod
    def set_aside(path: Path) -> None:
        """``path`` cannot be read: keep it for a person, out of the way."""
        _log.error("audit spool %s cannot be read; it is kept as %s.bad", path.name, path.name)
        path.rename(path.with_name(path.name + ".bad"))
