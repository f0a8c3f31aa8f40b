"""`botctl ratelimit`, as a person reads it."""

import pytest

from botctl.cli.ratelimit.command import _seconds, _subject, _words
from botctl.core.errors import UsageError
from botctl.ratelimit.inspect import LimitStatus


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (1.84, "1.8 s"), (119.9, "119.9 s"), (120, "2 min"), (7200, "2 h"), (3 * 86_400, "3 d")],
)
def test_two_figures_are_enough(seconds, expected):
    assert _seconds(seconds) == expected


def test_a_place_in_words():
    place = LimitStatus("roll", "user-2", "9", "5/10s per user", 5, 0, 1.84, 9.8)
    assert _words(place) == ("roll", "5/10s per user", "user:9", "5", "0", "1.8 s", "9.8 s")
    assert _words(LimitStatus("roll", "user", "9", "5/10s per user", 1, 4, 0, 2.0))[5] == "now"
    assert _words(LimitStatus("gone", "user", "9", None, None, None, None, 2.0)) == (
        "gone", "?", "user:9", "?", "?", "?", "2.0 s"
    )  # fmt: skip


def test_nobody_is_a_usage_error():
    with pytest.raises(UsageError, match="not a subject of rate limits"):
        _subject("bob")
