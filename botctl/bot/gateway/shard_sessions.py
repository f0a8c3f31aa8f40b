"""What the shards need from whatever keeps their sessions across restarts: `StoredSessions`, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from botctl.bot.gateway.guild_payloads import GuildPayloads
from botctl.core.contracts.shards import ShardSession


class CommandLedger(Protocol):
    """Notes the commands under way, for the next process."""

    def begin(self, interaction: int, name: str) -> None: ...

    def end(self, interaction: int) -> None: ...


class ShardSessions(Protocol):
    """Keeps the sessions of the shards of a process. No method raises."""

    @property
    def commands(self) -> CommandLedger: ...

    async def begin(self, shards: int, token: str) -> Mapping[int, ShardSession]:
        """Hear how many shards there are; return the sessions that they resume, by shard."""
        ...

    def take(self, shard: int) -> GuildPayloads | None:
        """Return the guilds that go with such a session."""
        ...

    def record(self, shard: int, event: str, data: Any, text: str, *, is_heard: bool = True) -> None:
        """Hear of an event, before the library does. ``text``: the message that it came in.

        ``is_heard``: whether listeners hear of it.
        """
        ...

    def mark_begun(self, shard: int, sequence: int) -> None:
        """Hear that the listeners of ``sequence`` begin now."""
        ...

    def mark(self, shard: int, sequence: int) -> None:
        """Hear that all events up to ``sequence`` are handled."""
        ...

    def end(self, shard: int) -> None:
        """Hear that a session is over."""
        ...


class NoLedger:
    """Notes nothing."""

    def begin(self, interaction: int, name: str) -> None: ...

    def end(self, interaction: int) -> None: ...


class NoStoredSessions:
    """Keeps nothing: each process logs in."""

    def __init__(self) -> None:
        self.commands = NoLedger()

    async def begin(self, shards: int, token: str) -> Mapping[int, ShardSession]:  # noqa: ARG002
        return {}

    def take(self, shard: int) -> GuildPayloads | None:  # noqa: ARG002
        return None

    def record(self, shard: int, event: str, data: Any, text: str, *, is_heard: bool = True) -> None: ...

    def mark_begun(self, shard: int, sequence: int) -> None: ...

    def mark(self, shard: int, sequence: int) -> None: ...

    def end(self, shard: int) -> None: ...
