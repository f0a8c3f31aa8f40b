"""Read the files in which a project's starts are kept, ``.botctl/starts-<roles>.json``. `history` writes them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from botctl.logins.pauses import StartRecord


def read_starts(path: Path) -> list[StartRecord]:
    """The starts in ``path``, the newest last.

    Raises OSError, ValueError or TypeError if it cannot be read: it is truncated, or of another version.
    """
    return [StartRecord(**record) for record in json.loads(path.read_bytes())]


def newest_start(folder: Path) -> StartRecord | None:
    """The start that was seen last, of all roles in the state ``folder``. None if no file of it can be read."""
    found: list[StartRecord] = []
    for path in folder.glob("starts-*.json"):
        with suppress(OSError, ValueError, TypeError):
            found += read_starts(path)[-1:]
    return max(found, key=lambda start: start.seen_s, default=None)
