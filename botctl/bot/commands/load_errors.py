"""Collect the faults in the files of ``commands/``, and report them together, each with its line and a sentence."""

from __future__ import annotations

import inspect
import logging
import re
import traceback
from pathlib import Path
from typing import Final

from disnake.ext import commands

from botctl.core.errors import CommandFaults
from botctl.core.signatures import Key, label

PACKAGE_PREFIX: Final = "_botctl_commands_"
"""Prefix of the internal packages into which command files are imported."""
_INTERNAL: Final = re.compile(rf"\b{PACKAGE_PREFIX}[0-9a-f]+\.")
_log = logging.getLogger(__name__)


def missing_service(who: str, key: Key) -> str:
    """The sentence when ``who`` has a parameter of the type ``key``, and there is no such service."""
    return f"{who} needs {label(key)}, which no service provides"


class FaultCollector:
    """Collects faults as ``file:line: sentence``, with paths relative to ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._faults: set[tuple[Path, int, str]] = set()

    def add(self, path: Path, definition_line: int, sentence: str) -> None:
        """Add a fault; duplicates are dropped."""
        self._faults.add((path, definition_line, sentence))

    @property
    def files(self) -> set[Path]:
        return {path for path, _, _ in self._faults}

    def locate(self, path: Path, line: int, sentence: str) -> str:
        """Return the line of text for something in a file, as faults are shown."""
        return f"{self._relative(path)}:{line}: {' '.join(_INTERNAL.sub('', sentence).split())}"

    def raise_or_skip(self, *, skip_broken: bool) -> set[Path]:
        """Return the files to leave out. Raises CommandFaults if there are any, and ``skip_broken`` is not set."""
        lines = [self.locate(*fault) for fault in sorted(self._faults)]
        if lines and not skip_broken:
            raise CommandFaults(lines)
        for fault in lines:
            _log.warning("left out: %s", fault)
        return self.files

    def _relative(self, path: Path) -> Path:
        return path.relative_to(self._root) if path.is_relative_to(self._root) else path


def error_line(error: BaseException, path: Path) -> int:
    """Return the last line of ``path`` in the traceback of ``error``; 1 if there is none."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else None) or 1


def definition_line(definition: object) -> int:
    """Return the line of a class or function."""
    code = getattr(definition, "__code__", None)
    if code is not None:
        return int(code.co_firstlineno)
    try:
        return inspect.getsourcelines(definition)[1]  # type: ignore[arg-type]
    except (OSError, TypeError):
        return 1


def describe_error(error: BaseException) -> str:
    """Return a sentence that says what ``error`` is."""
    if isinstance(error, commands.CommandRegistrationError):
        return f"the command {error.name!r} is registered twice"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
