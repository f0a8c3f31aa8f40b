"""What `botctl ratelimit` prints."""

import pytest

from botctl.cli.ratelimit.command import _build_row, _format_seconds, _parse_subject
from botctl.core.errors import UsageError
from botctl.ratelimit.inspect import LimitStatus


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (1.84, "1.8 s"), (119.9, "119.9 s"), (120, "2 min"), (7200, "2 h"), (3 * 86_400, "3 d")],
)
def test_seconds_become_the_largest_unit(seconds, expected):
    assert _format_seconds(seconds) == expected


def test_limit_status_is_a_row():
    status = LimitStatus("roll", "user-2", "9", "5/10s per user", 5, 0, 1.84, 9.8)
    assert _build_row(status) == ("roll", "5/10s per user", "user:9", "5", "0", "1.8 s", "9.8 s")
    assert _build_row(LimitStatus("roll", "user", "9", "5/10s per user", 1, 4, 0, 2.0))[5] == "now"
    assert _build_row(LimitStatus("removed", "user", "9", None, None, None, None, 2.0)) == (
        "removed", "?", "user:9", "?", "?", "?", "2.0 s"
    )  # fmt: skip


def test_unknown_subject_is_a_usage_error():
    with pytest.raises(UsageError, match="not a subject of rate limits"):
        _parse_subject("bob")
