"""Python environments of their own for tests, each with one package, made once under ``.botctl``."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_OFFLINE = ("NewConnectionError", "Temporary failure in name resolution", "ConnectTimeout", "ProxyError")


def python(requirement: str) -> Path:
    """The Python of an environment with ``requirement``; skips the test where it cannot be had."""
    folder = ROOT / ".botctl" / "libraries" / requirement
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be at it
        program = folder / "bin" / "python"
        if (folder / "complete").exists():
            return program
        subprocess.run((sys.executable, "-m", "venv", str(folder)), check=True)
        pip = (str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement)
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if any(word in done.stderr for word in _OFFLINE):
            pytest.skip("libraries: pip cannot reach its index")
        assert done.returncode == 0, done.stderr
        (folder / "complete").touch()
        return program
