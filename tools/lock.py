"""Write requirements.lock and requirements-dev.lock: pinned versions with hashes, without the name of an index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = {"requirements.lock": ["build"], "requirements-dev.lock": ["build", "dev"]}


def main() -> int:
    """Resolve for all supported Pythons and platforms at once (uv's universal mode)."""
    for name, groups in LOCKS.items():
        command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--universal"]
        command += ["--python-version", "3.11", "--generate-hashes", "--upgrade", "--quiet"]
        command += ["--no-header", "--no-emit-index-url", "--no-emit-find-links", "--output-file", name]
        command += [word for group in groups for word in ("--group", group)]
        subprocess.run(command, cwd=ROOT, check=True)
        print(f"{name}: {(ROOT / name).read_text().count('==')} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
