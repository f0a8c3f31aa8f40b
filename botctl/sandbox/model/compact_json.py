"""JSON as it goes over the wire: without spaces, and without the search for circles, which plain data has none of.

NaN and Infinity, which Python would read, are no JSON: nobody could read what they would be passed on in.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def loads(raw: bytes) -> Any:
    """Raises ValueError, and RecursionError."""
    return _DECODER.decode(raw.decode())


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)


_DECODER = json.JSONDecoder(parse_constant=_refuse)
