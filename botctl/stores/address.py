"""Addresses of stores: shown without their secrets, and short enough for a socket."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from botctl.core.errors import ConfigError
from botctl.core.escape import safe

SOCKET_BYTES: Final = 100  # sun_path holds 108 bytes on Linux and 104 on macOS; see unix(7)

_CREDENTIALS: Final = re.compile(
    r"(?<=://).*@", re.DOTALL
)  # to the last @: a password may hold one that nobody escaped
_CREDENTIALS_OF_PATH: Final = re.compile(r"(?<=://)[^/]*@")


def display_url(url: str) -> str:
    """``url`` without user, password and options, fit to be printed."""
    credentials = _CREDENTIALS_OF_PATH if url.startswith("unix://") else _CREDENTIALS
    return safe(credentials.sub("", url).partition("?")[0])


def socket_path(folder: Path, name: str) -> Path:
    """Where in ``folder`` a Unix socket called ``name`` goes; in a private temporary folder if that path is too long.

    Raises:
        ConfigError: the temporary folder is not ours alone.
    """
    path = folder.resolve() / name
    if len(os.fsencode(path)) <= SOCKET_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return _make_private_folder(Path(tempfile.gettempdir()) / f"botctl-{os.getuid()}-{digest}") / name


def remove_socket_folder(path: Path) -> None:
    """Remove the temporary folder that `socket_path` may have made for ``path``, where nothing is in it any more."""
    if path.parent.parent == Path(tempfile.gettempdir()) and path.parent.name.startswith(f"botctl-{os.getuid()}-"):
        with suppress(OSError):
            path.parent.rmdir()


def _make_private_folder(folder: Path) -> Path:
    """``folder``, made if it is missing. Anybody can make folders there, so it is checked whose it is."""
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise ConfigError(
            f"{folder} does not belong to this user alone.", hint="Remove it, or move the project to a shorter path."
        )
    return folder
