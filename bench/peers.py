"""The libraries that benchmarks compare with and botctl does not need, in a virtual environment of their own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "peers.txt"
"""Pinned with hashes. To renew: ``uv pip compile --universal --generate-hashes --upgrade`` of aiohttp, python-socketio
and uvloop."""
CACHE = Path(__file__).parent.parent / ".botctl" / "bench"


def peers_python() -> Path:
    """The Python that has the peers; installs them the first time."""
    pinned = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"peers-py{sys.version_info.major}.{sys.version_info.minor}-{pinned}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"bench: installing the peers of {REQUIREMENTS.name}", file=sys.stderr)
        subprocess.run((sys.executable, "-m", "venv", str(folder)), check=True)
        options = ("--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:")
        subprocess.run((str(python), "-m", "pip", "install", *options, "-r", str(REQUIREMENTS)), check=True)
        (folder / "complete").touch()
    return python
