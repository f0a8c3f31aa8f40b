"""Tests of a Discord bot against the sandbox: a fixture for pytest, ``discord``, and what it gives.

Made for any disnake bot; nothing else of botctl is needed. The fixture comes by itself with an installed botctl
(`plugin`), `connected` is the same without pytest. A bot comes in, a `Discord` with people and places comes out. Read
`discord` first. Everything is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botctl.sandbox.testing.calls import Call, Calls
    from botctl.sandbox.testing.discord import Discord
    from botctl.sandbox.testing.failures import BotRaised, Failed, NoAnswer, Refused
    from botctl.sandbox.testing.guilds import Guild
    from botctl.sandbox.testing.launch import connected
    from botctl.sandbox.testing.people import Member
    from botctl.sandbox.testing.places import Channel, Role
    from botctl.sandbox.testing.replies import Button, Message, Modal, Reply, Select

__all__ = [
    "BotRaised",
    "Button",
    "Call",
    "Calls",
    "Channel",
    "Discord",
    "Failed",
    "Guild",
    "Member",
    "Message",
    "Modal",
    "NoAnswer",
    "Refused",
    "Reply",
    "Role",
    "Select",
    "connected",
]
_HOMES = {
    "calls": ("Call", "Calls"),
    "discord": ("Discord",),
    "failures": ("BotRaised", "Failed", "NoAnswer", "Refused"),
    "guilds": ("Guild",),
    "launch": ("connected",),
    "people": ("Member",),
    "places": ("Channel", "Role"),
    "replies": ("Button", "Message", "Modal", "Reply", "Select"),
}


def __getattr__(name: str) -> Any:
    """The public names, on first use (PEP 562)."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
