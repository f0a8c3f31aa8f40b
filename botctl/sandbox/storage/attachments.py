"""The bytes of attachments: the newest in memory, and all in a folder next to the state file, if there is one."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from botctl.core.private_files import make_private_folder, write_private

MEMORY_BYTES_MAX = 64 * 1024 * 1024  # of attachments in memory; the oldest are dropped first


class AttachmentStore:
    """Attachments by id. Without a ``folder`` they are kept in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._in_memory: dict[str, tuple[str, bytes]] = {}
        self._size = 0

    def put(self, attachment_id: str, content_type: str, data: bytes) -> None:
        self._in_memory[attachment_id] = (content_type, data)
        self._size += len(data)
        while self._size > MEMORY_BYTES_MAX and len(self._in_memory) > 1:
            oldest = next(iter(self._in_memory))
            self._size -= len(self._in_memory.pop(oldest)[1])
        if self._folder is not None:
            make_private_folder(self._folder)
            write_private(self._folder / attachment_id, data)
            write_private(self._folder / f"{attachment_id}.json", json.dumps(content_type))

    def retain_only(self, wanted: Collection[str]) -> None:
        """Delete the files in the folder of attachments whose id is not in ``wanted``."""
        if self._folder is None or not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if path.name.removesuffix(".json") not in wanted:
                path.unlink()

    def get(self, attachment_id: str) -> tuple[str, bytes] | None:
        """The content type and the bytes, or None. May read a file, so call it in a thread."""
        cached = self._in_memory.get(attachment_id)
        if cached is not None:
            return cached
        if self._folder is None or not attachment_id.isdecimal():
            return None
        try:
            data = (self._folder / attachment_id).read_bytes()
            return str(json.loads((self._folder / f"{attachment_id}.json").read_text())), data
        except (OSError, ValueError):  # ValueError: damaged
            return None
