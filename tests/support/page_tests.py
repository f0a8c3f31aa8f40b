"""The tests that a page names, as ``tests/unit/test_x.py::test_y``."""

from __future__ import annotations

import ast
import re
from functools import cache

from tests.support import ROOT

_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+(?:::\w+)?)`")


def named_tests(text: str) -> list[tuple[str, str]]:
    """File and name of each test in ``text``."""
    return _NAMED.findall(text)


def without_test(text: str) -> list[str]:
    """Those in ``text`` that do not exist."""
    return [f"{file}::{name}" for file, name in named_tests(text) if name not in _names_in(file)]


@cache
def _names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8")) if (ROOT / file).exists() else ast.Module([], [])
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = {node.name for node in tree.body if isinstance(node, functions)}
    for group in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        names |= {f"{group.name}::{node.name}" for node in group.body if isinstance(node, functions)}
    return frozenset(names)
