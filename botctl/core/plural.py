"""A number with its noun, for people."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """``1 limit``, ``2,000 limits``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
