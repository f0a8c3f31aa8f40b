"""Numbers and times as short text."""

from __future__ import annotations

import pytest

from botctl.cli.number_format import format_duration, format_ms, format_time, sparkline


@pytest.mark.parametrize(
    ("value", "words"), [(None, "-"), (0.04, "0.0 ms"), (9.96, "10.0 ms"), (41.6, "42 ms"), (1840, "1.8 s")]
)
def test_milliseconds_are_formatted_with_a_unit(value: float | None, words: str) -> None:
    assert format_ms(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(59, "59 s"), (60, "1 min"), (7500, "2 h 5 min"), (90000, "1 d 1 h"), (864000, "10 d 0 h")]
)
def test_duration_has_two_units(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


def test_smallest_number_above_zero_is_a_visible_bar() -> None:
    assert sparkline([0, 1, 1000]) == "▁▂█"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""


def test_invalid_time_is_a_question_mark() -> None:
    """The text comes from another process, so it can be anything."""
    assert format_time("soon") == "?"
