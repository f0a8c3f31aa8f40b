"""Files with the entries that were not written to MongoDB before the process stopped. The next start writes them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from botctl.core.files.private import make_private_folder
from botctl.core.ids import event_id

_PATTERN: Final = "audit-*.jsonl"
_log = logging.getLogger(__name__)


class Spool:
    """A folder of files with one entry per line, as JSON.

    A file gets its final name only when all of it is on the disk. Two processes may write the entries of one file to
    MongoDB, since each id is stored only once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self) -> list[Path]:
        """The files that processes left, oldest first."""
        return sorted(self._folder.glob(_PATTERN))

    def write(self, lines: Iterable[bytes]) -> Path:
        """Write ``lines`` to a new file, with fsync. Raises OSError if the folder cannot be written."""
        make_private_folder(self._folder)
        path = self._folder / f"audit-{event_id()}.jsonl"
        part = path.with_suffix(".part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.writelines(line + b"\n" for line in lines)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        except OSError:
            part.unlink(missing_ok=True)  # the disk is full: an empty file would stay for ever
            raise
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name, too
        finally:
            os.close(folder)
        return path

    @staticmethod
    def lines(path: Path) -> Iterator[bytes]:
        """The lines of ``path``; none if another process has written its entries and removed it."""
        try:
            with path.open("rb") as file:
                yield from (line.rstrip(b"\n") for line in file)
        except FileNotFoundError:
            return

    @staticmethod
    def remove(path: Path) -> None:
        """Delete ``path``, whose entries are in MongoDB."""
        path.unlink(missing_ok=True)

    @staticmethod
    def quarantine(path: Path) -> None:
        """Rename ``path``, which cannot be read, so that it is kept for the operator."""
        _log.error("audit spool %s cannot be read; it is kept as %s.bad", path.name, path.name)
        path.rename(path.with_name(path.name + ".bad"))
