"""Finds the messages of a channel that are new or changed since the user last saw it."""

from __future__ import annotations

from collections.abc import Iterable

from botctl.sandbox.console.schemas import MessageSchema

_MAX_SEEN = 1000  # far more than a channel shows at once


class MessageDiff:
    def __init__(self) -> None:
        self._seen: dict[str, MessageSchema] = {}

    def mark_seen(self, messages: Iterable[MessageSchema]) -> None:
        """Remember messages that the user has seen elsewhere, for example as a reply."""
        self._seen.update((message.id, message) for message in messages)
        while len(self._seen) > _MAX_SEEN:
            del self._seen[next(iter(self._seen))]

    def take_changed(self, messages: Iterable[MessageSchema]) -> list[MessageSchema]:
        """Return the new and changed messages and mark them as seen."""
        changed = [message for message in messages if self._seen.get(message.id) != message]
        self.mark_seen(changed)
        return changed
