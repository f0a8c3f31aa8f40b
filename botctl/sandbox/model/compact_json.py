"""JSON without spaces and without a check for circular references.

NaN and Infinity are errors: they are not JSON. Half a character (a lone surrogate) is read, and written as its escape.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

LEVELS_MAX: Final = 100  # Discord's limit is not known; what walks through JSON does so by recursion
dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def loads(raw: bytes) -> Any:
    """Raises ValueError, also for more than `LEVELS_MAX` levels; RecursionError for very many."""
    value = _DECODER.decode(raw.decode())
    if raw.count(b"[") + raw.count(b"{") > LEVELS_MAX and _is_deep(value):
        raise ValueError("too many levels")
    return value


def _is_deep(value: Any) -> bool:
    """Whether ``value`` has more than `LEVELS_MAX` levels of objects and lists."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(LEVELS_MAX + 1):
        inner = [item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer)]
        level = [item for item in inner if isinstance(item, (dict, list))]
        if not level:
            return False
    return True


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_reject_constant)
