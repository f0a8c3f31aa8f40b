"""Durations as people write them: ``90s``, ``15m``, ``12h``, ``30d``, ``2w``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

EXAMPLE: Final = "30d"
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORM: Final = re.compile(r"(?P<number>[1-9]\d{0,5})(?P<unit>[smhdw])", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """The duration that ``text`` means.

    Raises:
        ValueError: it means none.
    """
    found = _FORM.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text[:40]!r} is no duration; write for example {EXAMPLE} (units: s, m, h, d, w)")
    return timedelta(**{_UNITS[found["unit"]]: int(found["number"])})
