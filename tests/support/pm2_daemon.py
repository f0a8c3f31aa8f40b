"""The real PM2 from npm, with a private PM2_HOME.

It is installed once, from the lock file in tests/support/pm2. Even ``pm2 --version`` starts a daemon, so every call
needs the private PM2_HOME, and `running_pm2` ends all that was started there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from botctl.core.processes.process import is_running, start_time
from tests.support.cli import CompletedCall
from tests.support.npm import install
from tests.support.waiting import LIMIT_S, wait_for

FOLDER = Path(__file__).parent / "pm2"
PM2 = FOLDER / "node_modules" / "pm2" / "bin" / "pm2"


@dataclass(frozen=True)
class App:
    """PM2's record of an app. ``pid`` is 0 while it does not run; ``exit_code`` is that of its last run."""

    pid: int
    status: str
    restarts: int
    exit_code: int | None


class Pm2:
    """A PM2 daemon with all its files in ``home``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {
            **os.environ,
            "PM2_HOME": str(home),
            "PM2_DISABLE_VERSION_CHECK": "true",
            "PM2_DISCRETE_MODE": "true",
            "PM2_NO_INTERACTION": "true",
            "PM2_WORKER_INTERVAL": "10000",  # ms; by default, it looks after its apps every 30 s
            "PYTHONWARNINGS": "",
            "NO_COLOR": "1",
        }

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start a call of PM2 without waiting for it."""
        pipe = subprocess.PIPE
        command = ("node", str(PM2), *words)
        return subprocess.Popen(
            command, cwd=self.home, env=self.env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
        )

    def call(self, *words: str, limit_s: float = LIMIT_S) -> CompletedCall:
        """Call PM2, and wait until it has succeeded."""
        with self.popen(*words) as process:
            try:
                out, err = process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode == 0, f"pm2 {' '.join(words)}: {out}{err}"
        return CompletedCall(process.returncode, out, err)

    def apps(self) -> dict[str, App]:
        """All apps, by name."""
        listed: list[dict[str, Any]] = json.loads(self.call("jlist").out.splitlines()[-1])
        return {
            app["name"]: App(
                app["pid"],
                app["pm2_env"]["status"],
                app["pm2_env"]["restart_time"],
                app["pm2_env"].get("exit_code"),
            )
            for app in listed
        }

    def pid(self, name: str) -> int | None:
        """The process id of an app's last run, from PM2's pid file."""
        for file in (self.home / "pids").glob(f"{name}-*.pid"):
            try:
                return int(file.read_text())
            except (OSError, ValueError):  # PM2 is writing or removing it
                return None
        return None

    def output(self, name: str) -> str:
        """The output of an app, from PM2's log files."""
        return "".join(path.read_text() for path in sorted((self.home / "logs").glob(f"{name}-*.log")))

    @property
    def daemon(self) -> int | None:
        try:
            return int((self.home / "pm2.pid").read_text())
        except (OSError, ValueError):
            return None


@contextmanager
def running_pm2() -> Iterator[Pm2]:
    """A PM2 for a test. At the end it and all its apps must have ended, or the test fails."""
    install(FOLDER, "pm2", skip="pm2")
    with tempfile.TemporaryDirectory(prefix="pm2-") as home:  # its sockets need a short path
        pm2 = Pm2(Path(home))
        try:
            pm2.call("ping")  # two calls at once that find no daemon would start two
            yield pm2
        finally:
            _end(pm2)


def _end(pm2: Pm2) -> None:
    daemon = pm2.daemon
    started = {pid: start for pid in (daemon, *_children(daemon)) if pid is not None and (start := start_time(pid))}

    def left() -> list[int]:
        return [pid for pid, start in started.items() if is_running(pid, start)]

    try:
        pm2.call("kill")
        wait_for(lambda: not left(), what="the end of PM2 and all that it started")
    finally:
        for pid in left():
            os.kill(pid, signal.SIGKILL)


def _children(pid: int | None) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)] if pid else []
    except psutil.NoSuchProcess:
        return []
