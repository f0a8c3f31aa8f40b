"""Suggest what a mistyped word means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final

_SIMILAR: Final = 0.6  # as `difflib` has it
_NEARLY_EQUAL: Final = 0.85
_SEPARATOR: Final = re.compile(r"__|\.")


def suggest(word: str, words: Sequence[str]) -> str:
    """The end of a sentence: ``; did you mean …?`` with the most similar of ``words``, or a full stop."""
    close = difflib.get_close_matches(word, words, 1)
    return f"; did you mean {close[0]}?" if close else "."


def suggest_name(name: str, names: Sequence[str], *, prefix: str = "") -> str:
    """As `suggest`, for settings and their variables, which all begin with ``prefix``.

    Each part must be similar: ``discord.colour`` has the section of ``discord.token``, and nothing else of it.
    """
    word = name.removeprefix(prefix)
    near = {other.removeprefix(prefix): other for other in names if _is_near(word, other.removeprefix(prefix))}
    close = difflib.get_close_matches(word, near, 1, cutoff=0)
    return f"; did you mean {near[close[0]]}?" if close else "."


def _is_near(name: str, other: str) -> bool:
    parts, other_parts = _SEPARATOR.split(name), _SEPARATOR.split(other)
    if len(parts) == len(other_parts):
        return all(_likeness(*pair) >= _SIMILAR for pair in zip(parts, other_parts, strict=True))
    without_section = len(parts) == 1 and parts[0] == other_parts[-1]
    return without_section or _likeness(name, other) >= _NEARLY_EQUAL


def _likeness(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()
