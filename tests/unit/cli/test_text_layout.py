"""Lines of a known width."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from botctl.cli.text_layout import format_table, side_by_side, spread, truncate, with_label, wrap_items

words = st.text(st.characters(categories=("L", "N", "P", "So"), exclude_characters="…"), min_size=1, max_size=12)
widths = st.integers(12, 120)


@given(st.lists(words, min_size=1), widths, st.integers(1, 5))
def test_a_flow_is_never_wider_and_never_longer(items, width, max_lines):
    """And nothing is lost without being counted."""
    lines = wrap_items([Text(item) for item in items], width, max_lines=max_lines)
    assert len(lines) <= most
    assert all(line.cell_len <= width for line in lines)
    shown = [piece for line in lines for piece in line.plain.split("  ")]
    more = re.fullmatch("… ([0-9]+) more", shown[-1])
    assert len(shown) - 1 + int(more[1]) == len(items) if more else len(shown) == len(items)


def test_a_flow_counts_what_it_leaves_out():
    """In the last line."""
    lines = wrap_items([Text(f"item{n}") for n in range(9)], 20, max_lines=1)
    assert [line.plain for line in lines] == ["item0  … 8 more"]


@given(st.lists(st.tuples(words, words, words), max_size=5), widths)
def test_a_table_has_one_width(rows, width):
    """Wide characters count as what they take."""
    lines = format_table(("a", "b", "c"), rows, width, flexible=1, left="a b")
    assert len(lines) == len(rows) + 1
    assert all(line.cell_len <= width for line in lines)


def test_a_table_gives_the_rest_to_one_column():
    """Numbers end at the right."""
    lines = format_table(
        ("name", "detail", "ms"), [("redis", "a long story", "1"), ("x", "", "120")], 30, flexible=1, left="name detail"
    )
    assert [line.plain for line in lines] == [
        "name   detail               ms",
        "redis  a long story          1",
        "x                          120",
    ]


def test_a_table_without_room_cuts_that_column():
    """Not the numbers."""
    lines = format_table(
        ("name", "detail", "ms"), [("redis", "a long story", "120")], 18, flexible=1, left="name detail"
    )
    assert lines[1].plain == "redis  a lon…  120"


def test_ends_and_columns():
    """Left gives way to right."""
    assert spread(Text("left"), Text("right"), 12).plain == "left   right"
    assert spread(Text("much too long"), Text("right"), 12).plain == "much…  right"
    both = side_by_side([Text("a"), Text("bb")], [Text("x"), Text("y"), Text("z")], 3, 1)
    assert [line.plain for line in both] == ["a   x", "bb  y", "    z"]
    assert [line.plain for line in with_label("jobs", [Text("1"), Text("2")], 6)] == ["jobs  1", "      2"]
    assert with_label("jobs", [], 6) == []
    assert truncate(Text("漢字漢字"), 5).cell_len <= 5
