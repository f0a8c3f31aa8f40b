"""Text from outside cannot move a cursor, turn a sentence round, or forge a line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.escape import ELLIPSIS, escape_json, escape_unprintable, safe

any_text = st.text(st.characters(codec=None))  # lone surrogates included


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ann", "ann"),
        ("ann\nERROR forged", "ann\\nERROR forged"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
        ("naïve 日本 🎲", "naïve 日本 🎲"),
        ("👩\u200d👧", "👩\u200d👧"),
    ],
)
def test_unprintable_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert escape_unprintable(text) == safe(text) == shown


@given(any_text, st.integers(1, 60))
def test_result_is_one_printable_line_within_the_limit(text: str, limit: int) -> None:
    shown = safe(text, limit)
    assert len(shown) <= limit
    assert shown.replace("\u200d", "").replace("\u200c", "").isprintable()
    assert shown == escape_unprintable(text) or shown.endswith(ELLIPSIS)
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve 日本 🎲 👩\u200d👧", "naïve 日本 🎲 👩\u200d👧"),
        ("\x9b31mred", "\\u009b31mred"),
        ("\x7f\x85", "\\u007f\\u0085"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("\U000e0001", "\\udb40\\udc01"),
        ("\ud800", "\\ud800"),
    ],
)
def test_unprintable_characters_in_json_are_escaped(text: str, shown: str) -> None:
    assert escape_json(json.dumps(text, ensure_ascii=False)) == f'"{shown}"'


@given(any_text)
def test_escaped_json_means_the_same(value: str) -> None:
    shown = escape_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(shown) == value
    assert shown.replace("\u200d", "").replace("\u200c", "").isprintable()


def test_a_cut_does_not_split_an_escape() -> None:
    assert safe("ab\u202ecd", 7) == "ab…"


def test_text_that_fits_exactly_is_not_cut() -> None:
    assert safe("abcdef", 6) == "abcdef"
    assert safe("abcdefg", 6) == "abcde…"


def test_a_huge_text_costs_no_more_than_its_limit() -> None:
    assert len(safe("\n" * 10_000_000, 100)) <= 100


def test_other_values_are_shown_by_their_str() -> None:
    assert safe(ValueError("a\tb")) == "a\\tb"
