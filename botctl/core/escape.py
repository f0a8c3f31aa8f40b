"""Escape text from outside before it is printed: names, command text, error bodies.

A control character can move the cursor, a bidirectional override can reverse a sentence, and a newline can fake a log
line. Each of them is replaced by its Python escape.
"""

from __future__ import annotations

import json
from typing import Final

ELLIPSIS: Final = "…"
_JOINERS: Final = "\u200c\u200d"  # not printable for Python, but emoji and Persian need them


def _escape_char(char: str) -> str:
    if char.isprintable() or char in _JOINERS:
        return char
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def escape_unprintable(text: str) -> str:
    """``text`` with every unprintable character, lone surrogates included, replaced by its escape."""
    return text if text.isprintable() else "".join(map(_escape_char, text))


def escape_json(text: str) -> str:
    """JSON ``text`` with every unprintable character in its strings as a JSON escape: it means the same.

    JSON itself escapes only ASCII's control characters, so those of C1, bidirectional overrides and lone surrogates
    would reach the terminal.
    """
    return text if text.isprintable() else "".join(map(_escape_json_char, text))


def _escape_json_char(char: str) -> str:
    if char.isprintable() or char in _JOINERS or char == "\n":  # a newline stands between values, never in a string
        return char
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


def without_surrogates(text: str) -> str:
    """``text`` with ``?`` instead of lone surrogates (half characters), which UTF-8 cannot encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def safe(value: object, limit: int = 200) -> str:
    """``str(value)`` escaped, on one line of at most ``limit`` characters. If it is cut, it ends in …."""
    text = str(value)
    if len(text) <= limit and text.isprintable():
        return text
    pieces: list[str] = []
    left = limit
    for char in text:
        piece = _escape_char(char)
        left -= len(piece)
        if left < 0:
            return _truncate(pieces, limit)
        pieces.append(piece)
    return "".join(pieces)


def _truncate(pieces: list[str], limit: int) -> str:
    """Join as many whole ``pieces`` (a character or its escape) as fit, and an ellipsis."""
    length = sum(map(len, pieces))
    while pieces and length > limit - 1:
        length -= len(pieces.pop())
    return ("".join(pieces) + ELLIPSIS)[:limit]
