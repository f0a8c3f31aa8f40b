"""Moments and durations as a person types them: ``7d`` (ago), or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

EXAMPLE: Final = "7d, 1h30m, 2026-01-31 or 2026-01-31T18:00"
_UNITS: Final = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_PART: Final = re.compile(r"(\d{1,9})\s*([wdhms])\s*", re.ASCII)
_AGO: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


def moment(text: str, now: datetime) -> datetime:
    """The moment that ``text`` means, in UTC: so long before ``now``, or a date with or without a time (ISO 8601).

    A date is its first moment; without an offset (``+02:00``, ``Z``) it is in UTC.

    Raises:
        ValueError: a sentence with an example.
    """
    text = text.strip().lower()
    try:
        if _AGO.fullmatch(text):
            return now.astimezone(UTC) - _sum(text)
        found = datetime.fromisoformat(text.upper())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is no moment; write for example {EXAMPLE}") from None


def duration(text: str) -> timedelta:
    """The duration that ``text`` means: ``30d``, ``1h30m``.

    Raises:
        ValueError: a sentence with an example.
    """
    text = text.strip().lower()
    try:
        if _AGO.fullmatch(text) and (found := _sum(text)):
            return found
    except OverflowError:
        pass
    raise ValueError(f"{text[:40]!r} is no duration; write for example 30d or 1h30m")


def _sum(text: str) -> timedelta:
    return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in _PART.findall(text)), timedelta())
