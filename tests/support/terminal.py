"""A terminal of a given size that tests type into and read from: tmux, with a server of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


class Terminal:
    """One pane. What runs in it has ended when `text` holds its exit code."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def __call__(self, *words: str) -> str:
        call = ("tmux", "-S", str(self._socket), "-f", "/dev/null", *words)
        return subprocess.run(call, capture_output=True, text=True, timeout=20, check=True).stdout

    @property
    def text(self) -> str:
        """What it shows."""
        return self("capture-pane", "-p", "-t", "main")

    def until(self, *words: str, limit_s: float = 30) -> str:
        """Wait until all of ``words`` are shown at once; returns what is."""
        deadline = time.monotonic() + limit_s
        while not all(word in (seen := self.text) for word in words):
            assert time.monotonic() < deadline, f"{words} are not shown:\n{seen}"
            time.sleep(0.05)  # each look is a process
        return seen

    def press(self, *keys: str) -> None:
        self("send-keys", "-t", "main", *keys)

    def resize(self, width: int, height: int) -> None:
        self("resize-window", "-t", "main", "-x", str(width), "-y", str(height))


@contextmanager
def terminal(command: Sequence[str], folder: Path, width: int, height: int) -> Iterator[Terminal]:
    """``command`` in a terminal; after its end the terminal shows ``ended with <exit code>``."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux: it is not installed")
    line = f"trap : INT; {shlex.join(command)}; echo ended with $?; exec sleep 600"
    with tempfile.TemporaryDirectory(prefix="bt") as short:  # a path for a socket has little room
        found = Terminal(Path(short) / "s")
        env = [word for name, value in os.environ.items() if name == "PATH" for word in ("-e", f"{name}={value}")]
        size = ("-x", str(width), "-y", str(height))
        found("new-session", "-d", "-s", "main", *size, "-c", str(folder), *env, "sh", "-c", line)
        try:
            yield found
        finally:
            found("kill-server")
