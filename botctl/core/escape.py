"""What came from outside, made fit to be shown: names, command text, bodies of errors.

A control character can move a terminal's cursor, a bidirectional override can turn a sentence round, and a newline
can forge a line of a log. None of them survives: each is shown by the escape that Python writes for it.
"""

from __future__ import annotations

from typing import Final

ELLIPSIS: Final = "…"
_JOINERS: Final = "\u200c\u200d"  # unprintable by name, but half of all emoji and Persian words need them


def _shown(char: str) -> str:
    if char.isprintable() or char in _JOINERS:
        return char
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def escape_unprintable(text: str) -> str:
    """``text`` with every unprintable character (lone surrogates too) replaced by its escape."""
    return text if text.isprintable() else "".join(map(_shown, text))


def safe(value: object, limit: int = 200) -> str:
    """``str(value)`` on one line of at most ``limit`` characters, cut with an ellipsis, never within an escape."""
    text = str(value)
    if len(text) <= limit and text.isprintable():
        return text
    pieces: list[str] = []
    room = limit
    for char in text:
        piece = _shown(char)
        room -= len(piece)
        if room < 0:
            return _cut(pieces, limit)
        pieces.append(piece)
    return "".join(pieces)


def _cut(pieces: list[str], limit: int) -> str:
    """As many of ``pieces`` as leave room for the ellipsis."""
    length = sum(map(len, pieces))
    while pieces and length > limit - 1:
        length -= len(pieces.pop())
    return ("".join(pieces) + ELLIPSIS)[:limit]
