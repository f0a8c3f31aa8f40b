"""Schedules: due times that every host computes alike, and how many of them passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.schedule import MAX_COUNTED, parse

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
TEXTS = ["every 7s", "every 1m", "every 3h", "every 2w", "* * * * *", "*/7 * * * *", "30 4 * * 1-5", "0 0 1,15 * *"]
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
SCHEDULES = st.sampled_from([parse(text) for text in TEXTS])


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("every 10s", "2026-01-05T00:00:10"),
        ("Every  1h", "2026-01-05T01:00:00"),
        ("every 1d", "2026-01-06T00:00:00"),
        ("every 1w", "2026-01-12T00:00:00"),
        ("*/5 * * * *", "2026-01-05T00:05:00"),
        ("30 9 * * *", "2026-01-05T09:30:00"),
        ("0 0 * * 0", "2026-01-11T00:00:00"),
        ("0 0 * * 7", "2026-01-11T00:00:00"),
        ("0 0 * * sun", "2026-01-11T00:00:00"),
        ("0 0 * * 2-4/2", "2026-01-06T00:00:00"),
        ("0 0 * * fri-sun", "2026-01-09T00:00:00"),
        ("0 0 * * */2", "2026-01-06T00:00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00"),
    ],
)
def test_next_due_time_follows_the_schedule(text: str, due: str) -> None:
    """Weekdays are those of cron: 0 and 7 are Sunday. The first due time is after the moment, never at it."""
    assert parse(text).next_after(MONDAY) == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("", "hourly", "every", "every 0s", "every 10", "every 367d", "every -1s", "every ten s", "* * * *"),
        *(
            "61 * * * *",
            "* * * * mon-tue-wed",
            "* * * * 8",
            "* * * * fri-tue",
            "* * * * noday",
            "0 0 30 2 *",
            "0 0 1 * 1",
        ),
    ],
)
def test_invalid_schedule_error_has_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write for example 'every 10s'"):
        parse(text)


@given(SCHEDULES, MOMENTS)
def test_due_times_do_not_depend_on_the_start(schedule, moment) -> None:
    """Between a moment and its next due time, that is everybody's next."""
    due = schedule.next_after(moment)
    assert due > moment
    assert schedule.next_after(due - timedelta(microseconds=1)) == due
    assert schedule.next_after(moment + (due - moment) / 2) == due


@given(SCHEDULES, MOMENTS, st.integers(0, 50), st.floats(0, 0.999))
def test_passed_due_times_are_counted_up_to_the_latest(schedule, moment, count, part) -> None:
    dues = [schedule.next_after(moment)]
    for _ in range(count + 1):
        dues.append(schedule.next_after(dues[-1]))
    now = dues[-2] + (dues[-1] - dues[-2]) * part
    assert schedule.count_due(dues[0], now) == (dues[-2], count + 1)


@pytest.mark.parametrize("text", ["every 1s", "* * * * *", "*/5 2-4 * * *"])
def test_count_of_passed_due_times_is_capped(text: str) -> None:
    schedule = parse(text)
    now = MONDAY + timedelta(days=500, hours=2, seconds=1)
    latest, count = schedule.count_due(schedule.next_after(MONDAY), now)
    assert count == MAX_COUNTED
    assert latest <= now < schedule.next_after(latest)
