"""``botctl health`` of a running bot compared with ``botctl --version``: user CPU, since containers call it often."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.rounds import Threshold, interleave, report
from bench.start import BOTCTL
from botctl.cli.init.scaffold import create
from botctl.core.processes.process import child_environment

THRESHOLDS = [Threshold("botctl health", "botctl --version", "cpu_s", 1.6)]


def _cpu(*command: str) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def main(rounds: int = 21) -> bool:
    with tempfile.TemporaryDirectory(prefix="botctl-bench-") as folder:
        root = Path(folder) / "health"
        create(root)
        command = (str(BOTCTL), "run")
        bot = subprocess.Popen(command, cwd=root, env=child_environment(), stderr=subprocess.PIPE, text=True)
        assert bot.stderr is not None
        try:
            if not any(line.startswith("botctl ") for line in bot.stderr):  # the banner: the bot is ready
                raise SystemExit("botctl run stopped before it was ready")
            contenders = {
                "botctl --version": lambda: _cpu(str(BOTCTL), "--version"),
                "botctl health": lambda: _cpu(str(BOTCTL), "health", "--project", str(root)),
            }
            return report("health", interleave(contenders, rounds), THRESHOLDS)
        finally:
            bot.send_signal(signal.SIGTERM)
            bot.communicate(timeout=30)


if __name__ == "__main__":
    sys.exit(not main())
