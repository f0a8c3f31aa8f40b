"""Numbers and times at a glance."""

from __future__ import annotations

import pytest

from botctl.cli.number_format import counted, duration, milliseconds, spark, time_of_day


def test_counted() -> None:
    """One is one."""
    assert [counted(number, "limit") for number in (0, 1, 2000)] == ["0 limits", "1 limit", "2,000 limits"]


@pytest.mark.parametrize(
    ("value", "words"), [(None, "-"), (0.04, "0.0 ms"), (9.96, "10.0 ms"), (41.6, "42 ms"), (1840, "1.8 s")]
)
def test_milliseconds(value: float | None, words: str) -> None:
    """As many digits as say something."""
    assert milliseconds(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(59, "59 s"), (60, "1 min"), (7500, "2 h 5 min"), (90000, "1 d 1 h"), (864000, "10 d 0 h")]
)
def test_durations(seconds: float, words: str) -> None:
    """The two largest units."""
    assert duration(seconds) == words


def test_bars_tell_something_from_nothing() -> None:
    """However much more the most is."""
    assert spark([0, 1, 1000]) == "▁▂█"
    assert spark([0, 0]) == "▁▁"
    assert spark([]) == ""


def test_a_time_that_is_none() -> None:
    """It comes from another process, so it may be anything."""
    assert time_of_day("soon") == "?"
