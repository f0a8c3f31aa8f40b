"""Files and folders that only their owner can read, whatever the umask of the process is."""

from __future__ import annotations

import os
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Create ``folder`` and its missing parents with mode 0700; one that exists keeps its mode. Raises OSError."""
    if not folder.parent.exists():
        make_private_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, content: str | bytes) -> None:
    """Write ``content`` (text as UTF-8) to ``path`` with mode 0600, also if the file exists. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - it takes a descriptor
        os.fchmod(descriptor, 0o600)  # before the content: it may be a file of an older botctl
        file.write(content.encode() if isinstance(content, str) else content)
