"""Tests of a Discord bot against the sandbox, with the pytest fixture ``discord``.

A test gets a `Discord`, with members and channels, to which its bot is connected. It works with any disnake bot, also
one without botctl. `connected` does without pytest what the fixture (`plugin`) does. Read `discord` first; modules are
loaded on first use.
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
_MODULES = {
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
    """Load a public name on first use (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
