"""How a person calls botctl here, for lines that are to be copied."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def program_name(*, anywhere: bool = False) -> str:
    """By name where that works, else by path: seen from this folder, or a whole one that works ``anywhere``."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":  # python -m botctl: the script beside that Python, if it has one
        program = Path(sys.executable).with_name("botctl")
        if not program.exists():
            return f"{shlex.quote(sys.executable)} -m botctl"
    found = shutil.which(program.name)
    if found and Path(found).resolve() == program.resolve():
        return program.name
    path = program.resolve()
    if not anywhere and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return shlex.quote(str(path))
