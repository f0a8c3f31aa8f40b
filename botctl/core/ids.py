"""Identifiers that botctl generates."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # without 0, o, 1, l, i: people read ids aloud


def error_id() -> str:
    """A short id that a user can tell the staff: 8 characters, about 40 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))


def event_id() -> str:
    """A unique id that sorts by time: 12 hex digits of milliseconds, then 16 random ones."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"
