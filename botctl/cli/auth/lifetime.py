"""How long a key or a grant counts, as a person types it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from botctl.core.errors import UsageError
from botctl.core.escape import safe
from botctl.core.timeparse import parse_duration

MAX_LIFETIME: Final = timedelta(days=3650)


def parse_lifetime(text: str | None) -> timedelta | None:
    """``12h``, ``30d`` as a duration; None without a text. Raises UsageError."""
    try:
        lifetime = None if text is None else parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    if lifetime is not None and lifetime > MAX_LIFETIME:
        raise UsageError(f"{safe(text or '', 40)!r} is too long.", hint="At most 3650d, which is ten years.")
    return lifetime
