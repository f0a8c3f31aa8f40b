"""How long a key or a grant counts, as a person types it."""

from __future__ import annotations

from datetime import timedelta

from botctl.core.errors import UsageError
from botctl.core.timeparse import parse_duration


def parse_lifetime(text: str | None) -> timedelta | None:
    """``12h``, ``30d`` as a duration; None without a text. Raises UsageError."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{error}.") from None
