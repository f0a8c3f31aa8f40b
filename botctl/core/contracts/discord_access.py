"""The token and the address of Discord, or of the sandbox (botctl's local Discord)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DiscordAccess:
    """``base_url``: the sandbox's address, such as ``http://127.0.0.1:8911``; None for Discord itself."""

    token: str = field(repr=False)
    base_url: str | None = None
