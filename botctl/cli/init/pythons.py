"""Which Python the files of a new bot name."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

_READ_BY_SHELL_IN_QUOTES: Final = re.compile(r'["$`\\]')
_PRINT_VERSION: Final = "import sys; print(*sys.version_info[:2])"
_LIMIT_S: Final = 5.0


@cache
def base_python() -> str:
    """How to call, in a shell, a Python of this version that is outside of any virtual environment.

    ``python3`` or ``python3.X`` if PATH has it, else the absolute path: a machine's ``python3`` may be a version that
    botctl does not run with.
    """
    base = Path(getattr(sys, "_base_executable", None) or sys.executable)
    own = Path(sys.prefix, "bin") if sys.prefix != sys.base_prefix else None
    outside = os.pathsep.join(folder for folder in os.get_exec_path() if Path(folder) != own)
    for name in ("python3", f"python3.{sys.version_info.minor}"):
        found = shutil.which(name, path=outside)
        if found and (Path(found).resolve() == base.resolve() or _is_of_this_version(found)):
            return name
    return shlex.quote(str(base))


def _is_of_this_version(program: str) -> bool:
    """Whether ``program`` is a Python like this one. It may be a script that looks for one, as pyenv has them."""
    command = (program, "-I", "-c", _PRINT_VERSION)
    try:
        done = subprocess.run(command, capture_output=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.split() == [b"%d" % part for part in sys.version_info[:2]]


def program_prefix(folder: Path) -> str:
    """What stands before the name of a program of the virtual environment in ``folder``.

    pip writes scripts that name their Python in double quotes, in which a shell still reads some characters.
    """
    return ".venv/bin/python -m " if _READ_BY_SHELL_IN_QUOTES.search(str(folder.resolve())) else ".venv/bin/"
