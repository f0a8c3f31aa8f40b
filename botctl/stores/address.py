"""Store addresses: display them without secrets, and choose socket paths that are short enough."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from botctl.core.errors import ConfigError
from botctl.core.escape import safe
from botctl.core.secret_parts import without_secrets

SOCKET_BYTES: Final = 100  # sun_path holds 108 bytes on Linux and 104 on macOS; see unix(7)


def display_url(url: str) -> str:
    """``url`` without user, password and options, escaped for the terminal."""
    return safe(without_secrets(url))


def socket_path(folder: Path, name: str) -> Path:
    """The path of the Unix socket ``name`` in ``folder``, or in a private temporary folder if that path is too long.

    Raises ConfigError if another user has access to the temporary folder.
    """
    path = folder.resolve() / name
    if len(os.fsencode(path)) <= SOCKET_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return _make_private_folder(Path(tempfile.gettempdir()) / f"botctl-{os.getuid()}-{digest}") / name


def remove_socket_folder(path: Path) -> None:
    """Remove the temporary folder that `socket_path` may have created for ``path``, if it is empty."""
    if path.parent.parent == Path(tempfile.gettempdir()) and path.parent.name.startswith(f"botctl-{os.getuid()}-"):
        with suppress(OSError):
            path.parent.rmdir()


def _make_private_folder(folder: Path) -> Path:
    """Create ``folder`` if it is missing. Another user may have created it, so check its owner."""
    folder.mkdir(mode=0o700, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise ConfigError(
            f"{folder} does not belong to this user alone.", hint="Remove it, or move the project to a shorter path."
        )
    return folder
