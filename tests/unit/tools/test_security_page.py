"""docs/security.md lists every permission, and each of its rows is held by a test that exists, or says no."""

from __future__ import annotations

import ast
import re
from functools import cache

from botctl.core.contracts.permissions import BUILT_IN_ROLES
from tests.support import ROOT
from tools.security_page import PAGE, with_table

TEXT = PAGE.read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+(?:::\w+)?)`")
ROWS = re.findall(r"^\| (\d+\.\d+\.\d+) \| (L\d) \| (.+) \| (.+) \|$", TEXT, re.MULTILINE)


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8")) if (ROOT / file).exists() else ast.Module([], [])
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = {node.name for node in tree.body if isinstance(node, functions)}
    for group in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        names |= {f"{group.name}::{node.name}" for node in group.body if isinstance(node, functions)}
    return frozenset(names)


def test_permissions_of_the_page_are_the_current_ones() -> None:
    assert with_table(TEXT) == TEXT, "run: python tools/security_page.py"
    assert all(f"`{role}`" in TEXT for role in BUILT_IN_ROLES)


def test_every_test_that_the_page_names_exists() -> None:
    named = NAMED.findall(TEXT)
    assert named
    assert not [f"{file}::{name}" for file, name in named if name not in names_in(file)]


def test_every_requirement_names_a_test_or_says_no() -> None:
    """ASVS rows are ``| number | level | what botctl does | a test, no, or does not apply |``."""
    assert len(ROWS) == len(re.findall(r"^\| \d", TEXT, re.MULTILINE))
    assert not [
        number
        for number, _, _, held_by in ROWS
        if not (NAMED.search(held_by) or held_by.startswith(("no", "does not apply")))
    ]
