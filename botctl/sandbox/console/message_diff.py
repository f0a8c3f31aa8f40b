"""What is new in a channel since somebody last looked. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from botctl.sandbox.console.schemas import Message

_KEPT = 1000  # far more than a channel shows at once


class Feed:
    """Remembers the messages that a person has seen, as they were then."""

    def __init__(self) -> None:
        self._seen: dict[str, Message] = {}

    def saw(self, messages: Iterable[Message]) -> None:
        """These are shown by other means."""
        self._seen.update((message.id, message) for message in messages)
        while len(self._seen) > _KEPT:
            del self._seen[next(iter(self._seen))]

    def news(self, messages: Iterable[Message]) -> list[Message]:
        """Those that are new, or have changed since; all count as seen from now on."""
        fresh = [message for message in messages if self._seen.get(message.id) != message]
        self.saw(fresh)
        return fresh
