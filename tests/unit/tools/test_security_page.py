"""docs/security.md lists every permission, and each of its rows is held by a test that exists, or says no."""

from __future__ import annotations

import re

from botctl.core.contracts.permissions import BUILT_IN_ROLES
from tests.support.page_tests import named_tests, without_test
from tools.security_page import PAGE, with_table

TEXT = PAGE.read_text(encoding="utf-8")
LEVELS = {
    "3.1": "3", "3.2": "113", "3.3": "12223", "3.4": "11222233", "3.5": "11122333", "3.6": "3", "3.7": "22333",
    "4.1": "12233", "4.2": "23333", "4.3": "22", "4.4": "1222",
    "6.1": "122", "6.3": "11223333", "6.5": "22222333", "6.8": "2222",
    "7.1": "222", "7.2": "1111", "7.3": "22", "7.4": "11222", "7.5": "223", "7.6": "22",
    "8.1": "1233", "8.2": "1123", "8.3": "133", "8.4": "23",
    "10.1": "22", "10.2": "223", "10.3": "22223", "10.4": "1111122222233333", "10.5": "22222", "10.6": "22",
    "10.7": "222",
    "12.1": "12233", "12.2": "11", "12.3": "22223", "13.1": "2333", "13.2": "222223", "13.3": "2233", "13.4": "1222233",
}  # fmt: skip
"""Of ASVS 5.0: by section, the level of each requirement."""
ROWS = re.findall(r"^\| (\d+\.\d+\.\d+) \| (L\d) \| (.+) \| (.+) \|$", TEXT, re.MULTILINE)


def test_permissions_of_the_page_are_the_current_ones() -> None:
    assert with_table(TEXT) == TEXT, "run: python tools/security_page.py"
    assert all(f"`{role}`" in TEXT for role in BUILT_IN_ROLES)


def test_every_test_that_the_page_names_exists() -> None:
    assert named_tests(TEXT)
    assert without_test(TEXT) == []


def test_every_requirement_names_a_test_or_says_no() -> None:
    """ASVS rows are ``| number | level | what botctl does | a test, no, or does not apply |``."""
    assert len(ROWS) == len(re.findall(r"^\| \d", TEXT, re.MULTILINE))
    assert not [
        number
        for number, _, _, held_by in ROWS
        if not (named_tests(held_by) or held_by.startswith(("no", "does not apply")))
    ]


def test_no_requirement_of_a_section_is_left_out() -> None:
    expected = [(f"{name}.{at}", f"L{level}") for name, levels in LEVELS.items() for at, level in enumerate(levels, 1)]
    assert [(number, level) for number, level, *_ in ROWS] == expected
