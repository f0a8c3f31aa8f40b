"""The way to Discord, or to a Discord of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DiscordAccess:
    """How to get to Discord. ``base_url``: the sandbox's address, ``http://127.0.0.1:8911``; None is Discord itself."""

    token: str = field(repr=False)
    base_url: str | None = None
