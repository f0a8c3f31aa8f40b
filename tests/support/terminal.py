"""A terminal of a given size for tests that type and read: tmux with a private server."""

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

from tests.support.waiting import LIMIT_S


class Terminal:
    """One pane. After the end of its command, `text` contains the exit code."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def __call__(self, *words: str) -> str:
        call = ("tmux", "-S", str(self._socket), "-f", "/dev/null", *words)
        return subprocess.run(call, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout

    @property
    def text(self) -> str:
        """The visible text."""
        return self("capture-pane", "-p", "-t", "main")

    def wait_for_text(self, *words: str, limit_s: float = LIMIT_S) -> str:
        """Wait until all ``words`` are visible at the same time; returns the visible text."""
        deadline = time.monotonic() + limit_s
        while not all(word in (text := self.text) for word in words):
            assert time.monotonic() < deadline, f"{words} are not visible:\n{text}"
            time.sleep(0.05)  # each read of the text starts a process
        return text

    def press(self, *keys: str) -> None:
        self("send-keys", "-t", "main", *keys)

    def resize(self, width: int, height: int) -> None:
        self("resize-window", "-t", "main", "-x", str(width), "-y", str(height))


@contextmanager
def terminal(command: Sequence[str], folder: Path, width: int, height: int) -> Iterator[Terminal]:
    """Run ``command`` in a terminal; after its end the terminal shows ``ended with <exit code>``."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux: it is not installed")
    line = f"trap : INT; {shlex.join(command)}; echo ended with $?; exec sleep 600"
    with tempfile.TemporaryDirectory(prefix="bt") as short:  # the path of a socket must be short
        pane = Terminal(Path(short) / "s")
        env = [word for name, value in os.environ.items() if name == "PATH" for word in ("-e", f"{name}={value}")]
        size = ("-x", str(width), "-y", str(height))
        pane("new-session", "-d", "-s", "main", *size, "-c", str(folder), *env, "sh", "-c", line)
        try:
            yield pane
        finally:
            pane("kill-server")
