"""A connect with a key (handshake, hello, auth and its reply) of this version against commit `BEFORE`.

The measure is the CPU time of all processes of `botctl run --only realtime`, so with what both stores need for it. Each
version has a project of its own. The older one runs from the repository's history with the libraries of this one.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil

from bench.fanout import ROOMY
from bench.fanout_clients import authenticate, open_websocket
from bench.ping import ROOT
from bench.rounds import Threshold, interleave, report
from botctl.core.processes.process import child_environment
from botctl.core.processes.runtime import Runtime

BEFORE = "99c4ddc"
"""Before keys had permissions and peers had limits of CPU time."""
WARM_UP, CONNECTS = 50, 500
THRESHOLDS = [Threshold("now", "before", "cpu_ms", 1.3)]


class Version:
    """A version of botctl with a project and a key. ``code``: the folder that has the package."""

    def __init__(self, code: Path, root: Path) -> None:
        self.code = code
        self.root = root
        self.env = {**child_environment(), **ROOMY, "PYTHONPATH": str(code), "PYTHONUNBUFFERED": "1"}
        self._botctl("init", str(root), cwd=code)
        with self.running():
            self.key = self._botctl("auth", "key", "create", "bench", cwd=root).strip()

    def _botctl(self, *arguments: str, cwd: Path) -> str:
        command = (sys.executable, "-m", "botctl", *arguments)
        return subprocess.run(command, cwd=cwd, env=self.env, check=True, stdout=subprocess.PIPE, text=True).stdout

    @contextlib.contextmanager
    def running(self) -> Iterator[psutil.Process]:
        """Run its realtime server and stores."""
        command = (sys.executable, "-m", "botctl", "run", "--only", "realtime", "--migrate")
        log = self.root.with_suffix(".txt")
        with log.open("wb") as out:
            child = subprocess.Popen(command, cwd=self.root, env=self.env, stdout=out, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 120
            while "realtime" not in Runtime(self.root).live():
                if child.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(log.read_text(encoding="utf-8"))
                time.sleep(0.05)
            yield psutil.Process(child.pid)
        finally:
            child.terminate()
            child.wait(60)

    def measure(self) -> dict[str, float]:
        """Measure CPU milliseconds of all its processes per connect, and the median time that a client waits."""
        with self.running() as process:
            url = Runtime(self.root).live()["realtime"].address
            for _ in range(WARM_UP):
                _connect_s(url, self.key)
            before = _cpu_s(process)
            waited_s = [_connect_s(url, self.key) for _ in range(CONNECTS)]
            spent_s = _cpu_s(process) - before
        return {"cpu_ms": spent_s * 1000 / CONNECTS, "wait_ms": statistics.median(waited_s) * 1000}


def _connect_s(url: str, key: str) -> float:
    began_s = time.perf_counter()
    with open_websocket(url, "/realtime") as sock:
        authenticate(sock, key)
        return time.perf_counter() - began_s


def _cpu_s(process: psutil.Process) -> float:
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def main(rounds: int = 5) -> bool:
    """Measure both versions in turn."""
    with tempfile.TemporaryDirectory(prefix="botctl-bench-") as folder:
        old = Path(folder) / "code"
        packed = subprocess.run(("git", "archive", BEFORE), cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(old, filter="data")
        versions = {"before": Version(old, Path(folder) / "before"), "now": Version(ROOT, Path(folder) / "now")}
        contenders = {name: partial(Version.measure, version) for name, version in versions.items()}
        measured = interleave(contenders, rounds)
    return report("connect", measured, THRESHOLDS, connects=CONNECTS, before=BEFORE)


if __name__ == "__main__":
    sys.exit(not main(*map(int, sys.argv[1:])))
