"""Run the unit tests after every file change, the failed ones first; Ctrl-C ends it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
WATCHED = ("botctl", "commands", "migrations", "tests", "config")


def snapshot() -> dict[Path, int]:
    """Modification time, in nanoseconds, of every file that a test may depend on."""
    files = (f for folder in WATCHED for f in (ROOT / folder).rglob("*") if f.suffix in {".py", ".toml"})
    return {f: f.stat().st_mtime_ns for f in files if f.exists()}


def main() -> int:
    """Run the tests once, then after every change."""
    seen: dict[Path, int] = {}
    try:
        while True:
            now = snapshot()
            if now == seen:
                time.sleep(0.5)
                continue
            seen = now
            arguments = ["-m", "pytest", "tests/unit", "--failed-first", "--maxfail", "5", "-q", "-n", "2"]
            subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False)
            print("waiting for a change; Ctrl-C ends it", file=sys.stderr)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
