"""From spawn to ready with embedded stores, from the second start of a project on."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.rounds import Threshold, interleave, report
from botctl.cli.init.scaffold import create
from botctl.core.processes.process import child_environment

BOTCTL = Path(sys.executable).with_name("botctl")
LIMIT_S = 3.0
THRESHOLDS = [Threshold("botctl run", "3 seconds", "wall_s", 1.0)]


def _start(root: Path) -> dict[str, float]:
    started = time.perf_counter()
    command = (str(BOTCTL), "run")
    child = subprocess.Popen(command, cwd=root, env=child_environment(), stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    try:
        for line in child.stderr:
            if line.startswith("botctl "):  # the banner: the bot is ready
                return {"wall_s": time.perf_counter() - started}
        raise SystemExit("botctl run stopped before it was ready")
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=30)


def main(rounds: int = 7) -> bool:
    """Measure the wall clock of whole processes; the limit is three seconds on any machine."""
    with tempfile.TemporaryDirectory(prefix="botctl-bench-") as folder:
        root = Path(folder) / "start"
        create(root)
        _start(root)  # the first one writes .botctl
        contenders = {"3 seconds": lambda: {"wall_s": LIMIT_S}, "botctl run": lambda: _start(root)}
        return report("start", interleave(contenders, rounds), THRESHOLDS)


if __name__ == "__main__":
    sys.exit(not main())
