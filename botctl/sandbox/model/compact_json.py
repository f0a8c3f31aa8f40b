"""JSON without spaces and without a check for circular references. NaN and Infinity are errors: they are not JSON."""

from __future__ import annotations

import json
from typing import Any, NoReturn

dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def loads(raw: bytes) -> Any:
    """Raises ValueError, and RecursionError for too many levels."""
    return _DECODER.decode(raw.decode())


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_reject_constant)
