"""What is new in a channel since somebody last looked. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from botctl.sandbox.console.schemas import MessageSchema

_KEPT = 1000  # far more than a channel shows at once


class MessageDiff:
    """Remembers the messages that a person has seen, as they were then."""

    def __init__(self) -> None:
        self._seen: dict[str, MessageSchema] = {}

    def mark_seen(self, messages: Iterable[MessageSchema]) -> None:
        """These are shown by other means."""
        self._seen.update((message.id, message) for message in messages)
        while len(self._seen) > _KEPT:
            del self._seen[next(iter(self._seen))]

    def take_changed(self, messages: Iterable[MessageSchema]) -> list[MessageSchema]:
        """Those that are new, or have changed since; all count as seen from now on."""
        fresh = [message for message in messages if self._seen.get(message.id) != message]
        self.mark_seen(fresh)
        return fresh
