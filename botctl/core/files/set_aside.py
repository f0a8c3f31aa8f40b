"""Set a damaged file or folder aside: renamed beside where it was, and kept."""

from __future__ import annotations

import itertools
import time
from pathlib import Path


def set_aside(path: Path) -> Path:
    """Rename ``path`` to ``<name>.damaged-<date>``, a new name, and return the new path. Raises OSError."""
    stem = f"{path.name}.damaged-{time.strftime('%Y-%m-%d', time.gmtime())}"
    for number in itertools.count(1):
        new = path.with_name(stem if number == 1 else f"{stem}.{number}")
        if not new.exists():
            return path.rename(new)
    raise AssertionError  # count() never ends
