"""Text lines of a fixed width."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from botctl.cli.text_layout import format_table, side_by_side, spread, truncate, with_label, wrap_items, wrap_words

words = st.text(st.characters(categories=("L", "N", "P", "So"), exclude_characters="…"), min_size=1, max_size=12)
widths = st.integers(12, 120)


@given(st.lists(words, min_size=1), widths, st.integers(1, 5))
def test_wrapped_items_keep_width_and_number_of_lines(items, width, max_lines):
    """Items that do not fit are counted."""
    lines = wrap_items([Text(item) for item in items], width, max_lines=max_lines)
    assert len(lines) <= max_lines
    assert all(line.cell_len <= width for line in lines)
    shown = [piece for line in lines for piece in line.plain.split("  ")]
    more = re.fullmatch("… ([0-9]+) more", shown[-1])
    assert len(shown) - 1 + int(more[1]) == len(items) if more else len(shown) == len(items)


def test_last_line_counts_the_items_that_do_not_fit():
    lines = wrap_items([Text(f"item{n}") for n in range(9)], 20, max_lines=1)
    assert [line.plain for line in lines] == ["item0  … 8 more"]


@given(st.lists(words), widths, st.integers(1, 5))
def test_wrapped_words_keep_width_and_number_of_lines(given_words, width, max_lines):
    """No word is lost, unless the last line or the word itself is cut."""
    lines = wrap_words(" ".join(given_words), width, max_lines=max_lines)
    assert len(lines) <= max_lines
    assert all(Text(line).cell_len <= width for line in lines)
    assert "…" in "".join(lines) or " ".join(lines).split() == given_words


@given(st.lists(st.tuples(words, words, words), max_size=5), widths)
def test_table_keeps_its_width(rows, width):
    """A wide character counts as two cells."""
    lines = format_table(("a", "b", "c"), rows, width, flexible=1, left="a b")
    assert len(lines) == len(rows) + 1
    assert all(line.cell_len <= width for line in lines)


def test_flexible_column_takes_the_remaining_width():
    lines = format_table(
        ("name", "detail", "ms"), [("redis", "a long story", "1"), ("x", "", "120")], 30, flexible=1, left="name detail"
    )
    assert [line.plain for line in lines] == [
        "name   detail               ms",
        "redis  a long story          1",
        "x                          120",
    ]


def test_flexible_column_is_cut_if_there_is_no_room():
    lines = format_table(
        ("name", "detail", "ms"), [("redis", "a long story", "120")], 18, flexible=1, left="name detail"
    )
    assert lines[1].plain == "redis  a lon…  120"


def test_spread_cuts_the_left_text():
    assert spread(Text("left"), Text("right"), 12).plain == "left   right"
    assert spread(Text("much too long"), Text("right"), 12).plain == "much…  right"


def test_columns_and_labels_are_aligned():
    both = side_by_side([Text("a"), Text("bb")], [Text("x"), Text("y"), Text("z")], 3, 1)
    assert [line.plain for line in both] == ["a   x", "bb  y", "    z"]
    assert [line.plain for line in with_label("jobs", [Text("1"), Text("2")], 6)] == ["jobs  1", "      2"]
    assert with_label("jobs", [], 6) == []


def test_truncated_text_counts_wide_characters():
    assert truncate(Text("漢字漢字"), 5).cell_len <= 5
