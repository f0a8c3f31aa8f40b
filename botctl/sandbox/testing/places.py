"""The channels and roles of a test."""

from __future__ import annotations

from dataclasses import dataclass, field

from botctl.sandbox.testing.replies import Message
from botctl.sandbox.testing.watched_bot import WatchedBot


@dataclass(frozen=True)
class Role:
    id: str
    name: str

    @property
    def mention(self) -> str:
        return f"<@&{self.id}>"


@dataclass(frozen=True)
class Channel:
    """A text channel or thread of a guild."""

    discord: WatchedBot = field(repr=False)
    id: str
    name: str

    @property
    def mention(self) -> str:
        return f"<#{self.id}>"

    @property
    def messages(self) -> list[Message]:
        """The messages that everyone sees, oldest first."""
        messages = self.discord.sandbox.world.messages.get(self.id, {})
        return [
            Message(self.discord, None, self.id, message.id)
            for message in messages.values()
            if message.only_for is None
        ]
