"""A receiver of the frames that the hub and the states push, without a socket."""

from __future__ import annotations

import json
from typing import Any


class Listener:
    """A receiver that decodes frames."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def push(self, frames: bytes) -> None:
        while frames:
            size, at = frames[1], 2
            if size == 126:
                size, at = int.from_bytes(frames[2:4], "big"), 4
            self.messages.append(json.loads(frames[at : at + size]))
            frames = frames[at + size :]

    @property
    def offsets(self) -> list[int]:
        return [message["offset"] for message in self.messages if message["type"] == "event"]

    @property
    def serials(self) -> list[int]:
        """The events themselves, whatever their offsets are."""
        return [message["event"] for message in self.messages if message["type"] == "event"]

    @property
    def gaps(self) -> list[int]:
        return [message["offset"] for message in self.messages if message["type"] == "gap"]

    def has_no_duplicates_or_unreported_gaps(self) -> bool:
        if len(set(self.serials)) < len(self.serials):
            return False
        epoch, offset = None, None
        for message in self.messages:
            if message["type"] == "gap":
                epoch, offset = message["epoch"], message["offset"]
                continue
            before = (epoch or message["epoch"], offset)  # an empty epoch: before the first event of any
            if epoch is not None and before != (message["epoch"], message["offset"] - 1):
                return False
            epoch, offset = message["epoch"], message["offset"]
        return True
