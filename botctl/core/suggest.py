"""Suggest what a mistyped word means."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def suggest(word: str, words: Sequence[str]) -> str:
    """The end of a sentence: ``; did you mean …?`` with the most similar of ``words``, or a full stop."""
    close = difflib.get_close_matches(word, words, 1)
    return f"; did you mean {close[0]}?" if close else "."
