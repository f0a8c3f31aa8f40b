"""Whether a disk is full: a store that fails on one says little about it, or has ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ENOUGH_BYTES: Final = 1 << 20


def full_disk(folder: Path) -> str:
    """``the disk of <folder> is full``, if almost nothing can be written there; else, or if it is not known, empty."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    blocks = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail  # some are reserved for root
    has_entries = disk.f_ffree > 0 or disk.f_files == 0  # 0 files: the file system does not count them
    return "" if blocks * disk.f_frsize >= ENOUGH_BYTES and has_entries else f"the disk of {folder} is full"
