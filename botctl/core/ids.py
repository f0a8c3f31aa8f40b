"""Identifiers that botctl generates."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # without 0, o, 1, l, i: people read ids aloud


def error_id() -> str:
    """A short id that a user can tell the staff: 8 characters, about 40 bits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))


def event_id() -> str:
    """A unique id that sorts by time: 12 hex digits of milliseconds, 5 of the nanoseconds in one, 11 random ones."""
    ms, rest_ns = divmod(time.time_ns(), 1_000_000)
    return f"{ms:012x}{rest_ns:05x}{secrets.randbits(44):011x}"
