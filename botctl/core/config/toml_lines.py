"""Find the line of each key of a TOML file, which `tomllib` does not report."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

Path = tuple[str, ...]

_TOKEN = re.compile(
    r'''
      (?P<text>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    | (?P<comment>\#[^\n]*)
    | (?P<newline>\n)
    | (?P<open>[\[{])
    | (?P<close>[\]}])
    | (?P<other>[^"'\#\n\[\]{}]+)
    ''',
    re.VERBOSE | re.DOTALL,
)


def key_lines(text: str) -> dict[Path, int]:
    """The line, counted from 1, of each key and table of ``text``, which must be valid TOML.

    A key inside an inline table is not listed: look up the longest listed prefix of its path. Of an array of tables,
    the first one is listed.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, statement in _statements(text):
        if statement.startswith("["):
            path = table = _path(tomllib.loads(statement))
        else:
            path = table + _path(tomllib.loads(_key(statement) + "=0"))
        for size in range(1, len(path) + 1):
            lines.setdefault(path[:size], number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each key with its value, and each table header: its first line, and its text without comments."""
    statement, start, line, depth = "", 1, 1, 0
    for token in _TOKEN.finditer(text + "\n"):
        piece = token.group()
        if token.lastgroup == "newline" and depth == 0:
            if statement.strip():
                yield start, statement.strip()
            statement, start = "", line + 1
        elif token.lastgroup != "comment":
            statement += piece
            depth += {"open": 1, "close": -1}.get(token.lastgroup or "", 0)
        line += piece.count("\n")


def _key(statement: str) -> str:
    """The key of ``key = value``. A quoted key may hold an equals sign."""
    end = 0
    for token in _TOKEN.finditer(statement):
        if token.lastgroup == "other" and "=" in token.group():
            return statement[: token.start() + token.group().index("=")]
        end = token.end()
    return statement[:end]


def _path(tree: Any) -> Path:
    """``("a", "b")`` for ``{"a": {"b": 1}}``: the keys from the outer to the inner table, which have one key each."""
    path: Path = ()
    while isinstance(tree, list | dict) and tree:
        if isinstance(tree, list):
            tree = tree[0]
        else:
            ((key, tree),) = tree.items()
            path += (key,)
    return path
