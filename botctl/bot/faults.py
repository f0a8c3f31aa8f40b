"""What is wrong with the files of ``commands/``: where, in a sentence, all at once."""

from __future__ import annotations

import inspect
import logging
import traceback
from pathlib import Path

from disnake.ext import commands

from botctl.core.errors import CommandFaults

_log = logging.getLogger(__name__)


class Faults:
    """What is wrong, as ``file:line: sentence``, with paths seen from ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.found: dict[str, Path] = {}

    def add(self, path: Path, line: int, sentence: str) -> None:
        """Note a fault; the same one only once."""
        shown = path.relative_to(self._root) if path.is_relative_to(self._root) else path
        self.found[f"{shown}:{line}: {' '.join(sentence.split())}"] = path

    def settle(self, *, skip_broken: bool) -> set[Path]:
        """The files to leave out.

        Raises:
            CommandFaults: there are faults, and ``skip_broken`` is not set.
        """
        if self.found and not skip_broken:
            raise CommandFaults(sorted(self.found))
        for fault in sorted(self.found):
            _log.warning("left out: %s", fault)
        return set(self.found.values())


def line_of(error: BaseException, path: Path) -> int:
    """The line of ``path`` where ``error`` comes from, as far as it is there; else 1."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else None) or 1


def line(where: object) -> int:
    """The line of a class or function."""
    code = getattr(where, "__code__", None)
    if code is not None:
        return int(code.co_firstlineno)
    try:
        return inspect.getsourcelines(where)[1]  # type: ignore[arg-type]
    except (OSError, TypeError):
        return 1


def words(error: BaseException) -> str:
    if isinstance(error, commands.CommandRegistrationError):
        return f"the command {error.name!r} is registered twice"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
