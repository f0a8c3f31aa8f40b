"""Moments as a person types them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.timeparse import EXAMPLE, parse_duration, parse_time

NOW = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", datetime(2026, 3, 8, 12, 0, tzinfo=UTC)),
        ("1h30m", datetime(2026, 3, 15, 10, 30, tzinfo=UTC)),
        (" 2W 1d ", datetime(2026, 2, 28, 12, 0, tzinfo=UTC)),
        ("0s", NOW),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31t18:00", datetime(2026, 1, 31, 18, tzinfo=UTC)),
        ("2026-01-31 18:00:30+02:00", datetime(2026, 1, 31, 16, 0, 30, tzinfo=UTC)),
        ("2026-01-31T18:00:00.123Z", datetime(2026, 1, 31, 18, 0, 0, 123_000, tzinfo=UTC)),
    ],
)
def test_parse_time_accepts_durations_and_dates(text, expected):
    assert parse_time(text, NOW) == expected


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_parts_of_a_duration_are_added(hours, minutes):
    assert parse_time(f"{hours}h{minutes}m", NOW) == NOW - timedelta(hours=hours, minutes=minutes)


@given(
    st.text(alphabet="0123456789wdhms-:TZ+. ٣x\n", max_size=25)
    | st.just("999999999w")
    | st.just("0001-01-01T00:00+14:00")
)
def test_any_text_is_a_utc_time_or_explained(text):
    try:
        found, sentence = parse_time(text, NOW), EXAMPLE
    except ValueError as error:
        found, sentence = NOW, str(error)
    assert found.utcoffset() == timedelta()
    assert EXAMPLE in sentence


@pytest.mark.parametrize(
    ("text", "means"), [("30d", timedelta(days=30)), (" 1H30m ", timedelta(minutes=90)), ("8w", timedelta(weeks=8))]
)
def test_duration_is_parsed(text: str, means: timedelta) -> None:
    assert parse_duration(text) == means


@pytest.mark.parametrize("text", ["", "0d", "30", "d", "-1d", "soon", "999999999w", "2026-01-31"])
def test_invalid_duration_is_explained(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration; write for example 30d"):
        parse_duration(text)
