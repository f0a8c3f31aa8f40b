"""Redaction of secrets in recorded traffic."""

from __future__ import annotations

from typing import Any, Final

PLACEHOLDER: Final = "[removed]"
_TEXT_MAX = 8000  # characters; images are longer


def redact(data: Any, keys: frozenset[str]) -> Any:
    """``data`` (JSON) with a placeholder for each text under one of ``keys``, and with long texts cut."""
    if isinstance(data, dict):
        return {
            key: PLACEHOLDER if key in keys and isinstance(value, str) else redact(value, keys)
            for key, value in data.items()
        }
    if isinstance(data, list):
        return [redact(item, keys) for item in data]
    return data[:_TEXT_MAX] + "…" if isinstance(data, str) and len(data) > _TEXT_MAX else data
