"""Parse times and durations as a person types them: ``7d`` (ago), or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

EXAMPLE: Final = "7d, 1h30m, 2026-01-31 or 2026-01-31T18:00"
_UNITS: Final = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_PART: Final = re.compile(r"(\d{1,9})\s*([wdhms])\s*", re.ASCII)
_AGO: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


def parse_time(text: str, now: datetime) -> datetime:
    """The time that ``text`` names, in UTC: a duration before ``now``, or a date with or without a time (ISO 8601).

    A date means 00:00. A time without an offset (``+02:00``, ``Z``) is in UTC.

    Raises:
        ValueError: a sentence with an example.
    """
    text = text.strip().lower()
    try:
        if _AGO.fullmatch(text):
            return now.astimezone(UTC) - _sum_parts(text)
        at = datetime.fromisoformat(text.upper())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is no moment; write for example {EXAMPLE}") from None


def parse_duration(text: str) -> timedelta:
    """The duration that ``text`` names: ``30d``, ``1h30m``. Raises ValueError: a sentence with an example."""
    text = text.strip().lower()
    try:
        if _AGO.fullmatch(text) and (total := _sum_parts(text)):
            return total
    except OverflowError:
        pass
    raise ValueError(f"{text[:40]!r} is no duration; write for example 30d or 1h30m")


def _sum_parts(text: str) -> timedelta:
    return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in _PART.findall(text)), timedelta())
