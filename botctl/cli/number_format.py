"""Numbers and times as short text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

_BARS: Final = "▁▂▃▄▅▆▇█"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def sparkline(numbers: Sequence[int]) -> str:
    """``numbers`` as bars. 0 is the lowest bar, and every number above 0 has a higher one."""
    largest = max(numbers, default=0)
    return "".join(_BARS[-(-number * (len(_BARS) - 1) // largest) if largest else 0] for number in numbers)


def format_time(at: str) -> str:
    """The ISO 8601 time ``at`` as local time of day; ``?`` if it is none."""
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return "?"


def format_ms(value: float | None) -> str:
    """Milliseconds below one second, else seconds."""
    if value is None:
        return "-"
    if value < 10:  # noqa: PLR2004
        return f"{value:.1f} ms"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"  # noqa: PLR2004


def format_duration(seconds: float) -> str:
    """The two largest units: ``2 h 5 min``."""
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S:.0f} min"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S:.0f} h {seconds % _HOUR_S // _MINUTE_S:.0f} min"
    return f"{seconds // _DAY_S:.0f} d {seconds % _DAY_S // _HOUR_S:.0f} h"
