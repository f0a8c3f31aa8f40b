"""Clocks and the one way to write a time."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.clock import SystemClock, from_unix_ms, iso_ms, unix_ms
from tests.support.clock import ManualClock


def test_manual_clock_moves_only_when_advanced():
    clock = ManualClock()
    before = (clock.now(), clock.monotonic())
    assert (clock.now(), clock.monotonic()) == before
    clock.advance(90.5)
    assert clock.now() - before[0] == timedelta(seconds=90.5)
    assert clock.monotonic() - before[1] == 90.5


def test_the_system_clock_is_aware_and_monotonic():
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    first = clock.monotonic()
    assert clock.monotonic() >= first


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05.000Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:04:05.000Z"),
    ],
)
def test_a_time_is_written_in_utc_with_milliseconds(at, written):
    assert iso_ms(at) == written


@given(st.datetimes(timezones=st.just(UTC)))
def test_written_time_is_exact_to_milliseconds_and_sortable(at):
    back = datetime.fromisoformat(iso_ms(at))
    assert timedelta(0) <= at - back < timedelta(milliseconds=1)


@given(st.datetimes(timezones=st.just(UTC)))
def test_milliseconds_are_read_back_exactly(at):
    """Before 1970 too, and without what a float would lose."""
    read = from_unix_ms(unix_ms(at))
    assert timedelta() <= at - read < timedelta(milliseconds=1)
    assert unix_ms(read) == unix_ms(at)
