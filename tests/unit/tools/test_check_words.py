"""The check of words finds what it should, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.check_words import Rules, faults, in_code

RULES = Rules({"nobody": "no one"}, {"seat": "identity"}, {}, {})


@pytest.mark.parametrize(
    "source",
    [
        "seat = 1",
        "def seat_of(): ...",
        "class SeatMap: ...",
        "x.seat",
        '"""Nobody waits."""',
        "# nobody",
        "f'{x} nobody'",
    ],
)
def test_listed_words_are_found_in_code(source: str) -> None:
    assert [line for line, _, _ in in_code(source, RULES)] == [1]


@pytest.mark.parametrize("source", ["seating = 1", "nobody = 1", "'a seat'", "receipts"])
def test_other_words_are_left_alone(source: str) -> None:
    assert list(in_code(source, RULES)) == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "botctl").mkdir()
    (tmp_path / "botctl" / "a.py").write_text("class Twice: ...\n# nobody\n")
    (tmp_path / "botctl" / "b.py").write_text("class Twice: ...\n")
    (tmp_path / "README.md").write_text("Nobody\n")
    return tmp_path


def test_every_fault_of_a_tree_is_named(tree: Path) -> None:
    assert list(faults(tree, RULES)) == [
        "botctl/a.py:2: “nobody”: write no one",
        "README.md:1: “nobody”: write no one",
        "class Twice stands in botctl/a.py, botctl/b.py: give each a name of its own",
    ]


def test_exceptions_are_left_out_and_unused_ones_named(tree: Path) -> None:
    allowed = {"botctl/a.py: nobody": "a quotation", "README.md: nobody": "a quotation", "README.md: anew": "gone"}
    rules = Rules(RULES.words, RULES.names, allowed, {"Twice": "two views"})
    assert list(faults(tree, rules)) == ["tools/words.toml: the exception “README.md: anew” is no longer needed"]
