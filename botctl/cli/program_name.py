"""The name or path with which to call botctl here, for commands that a user copies."""

from __future__ import annotations

import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path


def program_name(*, absolute: bool = False) -> str:
    """``botctl`` if that is on PATH, else its path: relative if it is below the current folder, unless ``absolute``."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":  # python -m botctl: use the script beside that Python if there is one
        program = Path(sys.executable).with_name("botctl")
        if not program.exists():
            return f"{shlex.quote(sys.executable)} -m botctl"
    found = shutil.which(program.name)
    path = program
    with suppress(FileNotFoundError):  # the working directory is deleted
        path = program.resolve()
        if found and Path(found).resolve() == path:
            return program.name
        if not absolute and path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())
    return shlex.quote(str(path))
