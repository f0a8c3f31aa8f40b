"""``botctl --help`` compared with ``import typer``, the minimum of any Typer program."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.rounds import Threshold, interleave, report

BOTCTL = Path(sys.executable).with_name("botctl")
THRESHOLDS = [Threshold("botctl --help", "import typer", "wall_s", 2.0)]


def _wall(*command: str) -> dict[str, float]:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {"wall_s": time.perf_counter() - started}


def main(rounds: int = 15) -> bool:
    contenders = {
        "import typer": lambda: _wall(sys.executable, "-c", "import typer"),
        "botctl --help": lambda: _wall(str(BOTCTL), "--help"),
    }
    return report("help", interleave(contenders, rounds), THRESHOLDS)


if __name__ == "__main__":
    sys.exit(not main())
