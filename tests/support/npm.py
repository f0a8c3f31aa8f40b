"""npm packages for tests, installed once by the lock file of a folder."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from pathlib import Path

import pytest

_NPM = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000")
_OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "ERR_SOCKET_TIMEOUT")


def install(folder: Path, package: str, *, skip: str) -> None:
    """See to it that the pinned ``package`` is in ``folder``; skips the test as ``skip`` where that cannot be."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{skip}: there is no {program}")
    with (folder / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be at it
        if _installed(folder, package) == json.load(lock)["dependencies"][package]:
            return
        done = subprocess.run(_NPM, cwd=folder, capture_output=True, text=True, check=False)
        if any(word in done.stderr for word in _OFFLINE):
            pytest.skip(f"{skip}: npm cannot reach its registry")
        assert done.returncode == 0, done.stderr


def _installed(folder: Path, package: str) -> str | None:
    there = folder / "node_modules" / package / "package.json"
    complete = folder / "node_modules" / ".package-lock.json"  # npm writes it last
    return json.loads(there.read_text())["version"] if there.exists() and complete.exists() else None
