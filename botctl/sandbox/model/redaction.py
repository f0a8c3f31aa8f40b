"""What recorded traffic has in the place of a secret."""

from __future__ import annotations

from typing import Any, Final

MARK: Final = "[removed]"
_TEXT_MOST = 8000  # characters: a picture is longer


def bare(data: Any, keys: frozenset[str]) -> Any:
    """``data`` without the texts that stand under ``keys``, and with long texts cut."""
    if isinstance(data, dict):
        return {key: MARK if key in keys and isinstance(one, str) else bare(one, keys) for key, one in data.items()}
    if isinstance(data, list):
        return [bare(one, keys) for one in data]
    return data[:_TEXT_MOST] + "…" if isinstance(data, str) and len(data) > _TEXT_MOST else data
