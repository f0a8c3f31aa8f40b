"""The port that a server with port 0 had in its last run: open pages and clients find it there after a restart.

``.botctl/<name>.port`` contains it. It is a wish only: who comes first has a port, and then another one is free.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from botctl.core.files.private import write_private

_MAX_PORT: Final = 65_535
_log = logging.getLogger(__name__)


def ports_to_try(folder: Path, name: str, port: int) -> tuple[int, ...]:
    """The ports to try in turn, for the server ``name`` with the setting ``port``; the last one 0 means any free one.

    ``folder``: the ``.botctl`` of the project.
    """
    last = None if port else _last_port(folder, name)
    return (port,) if last is None else (last, 0)


def remember_port(folder: Path, name: str, port: int) -> None:
    """Write down that ``name`` has ``port``. If that fails, the next run may get another one."""
    if port == _last_port(folder, name):
        return
    path = _file(folder, name)
    try:
        new_file = path.with_suffix(".port-new")
        write_private(new_file, f"{port}\n")
        new_file.replace(path)
    except OSError as error:
        _log.warning("%s cannot be written: %s; the next run may have another port", path, error.strerror)


def _last_port(folder: Path, name: str) -> int | None:
    try:
        text = _file(folder, name).read_bytes()[:8].strip()
    except OSError:  # the first run; or the folder cannot be read, which others say
        return None
    port = int(text) if text.isdigit() else 0
    return port if 0 < port <= _MAX_PORT else None


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.port"
