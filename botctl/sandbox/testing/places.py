"""The channels and roles of a test."""

from __future__ import annotations

from dataclasses import dataclass, field

from botctl.sandbox.testing.replies import Message
from botctl.sandbox.testing.watched_bot import WatchedBot


@dataclass(frozen=True)
class Role:
    """A role of a guild."""

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
        """What everybody sees in it, oldest first."""
        shown = self.discord.sandbox.world.messages.get(self.id, {})
        return [Message(self.discord, None, self.id, one.id) for one in shown.values() if one.only_for is None]
