"""What is wrong with the files of ``commands/``: where, in a sentence, all at once."""

from __future__ import annotations

import inspect
import logging
import re
import traceback
from pathlib import Path
from typing import Final

from disnake.ext import commands

from botctl.core.errors import CommandFaults

PACKAGE: Final = "_botctl_commands_"
"""How the packages begin into which command files are imported. People do not know them by that name."""
_INTERNAL: Final = re.compile(rf"\b{PACKAGE}[0-9a-f]+\.")
_log = logging.getLogger(__name__)


class LoadFaults:
    """What is wrong, as ``file:line: sentence``, with paths seen from ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: set[tuple[Path, int, str]] = set()

    def add(self, path: Path, line: int, sentence: str) -> None:
        """Note a fault; the same one only once."""
        self._found.add((path, line, " ".join(_INTERNAL.sub("", sentence).split())))

    @property
    def files(self) -> set[Path]:
        """The files with faults."""
        return {path for path, _, _ in self._found}

    def settle(self, *, skip_broken: bool) -> set[Path]:
        """The files to leave out.

        Raises:
            CommandFaults: there are faults, and ``skip_broken`` is not set.
        """
        lines = [f"{self._shown(path)}:{line}: {sentence}" for path, line, sentence in sorted(self._found)]
        if lines and not skip_broken:
            raise CommandFaults(lines)
        for fault in lines:
            _log.warning("left out: %s", fault)
        return self.files

    def _shown(self, path: Path) -> Path:
        return path.relative_to(self._root) if path.is_relative_to(self._root) else path


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
