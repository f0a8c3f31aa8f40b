"""The pauses between starts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.errors import ExitCode
from botctl.logins.pauses import (
    FREE_STOPS,
    LIMIT_S,
    LOOP_CRASHES,
    NO_LOGIN_LIMIT_S,
    RESUMED_LIMIT_S,
    STABLE_S,
    Series,
    StartRecord,
    pause_s,
    series_of,
)

DAY_S = 86_400.0


def start(*, lived_s: float = 2.0, logins: int = 1, code: int | None = 1, **more: object) -> StartRecord:
    return StartRecord(at_s=0.0, seen_s=lived_s, boot="b", logins=logins, exit_code=code, **more)  # type: ignore[arg-type]


def crashes(count: int, **more: object) -> Series:
    return Series(tuple(start(**more) for _ in range(count)))  # type: ignore[arg-type]


def pauses(count: int, *, affordable: float, **more: object) -> list[float]:
    return [pause_s(crashes(n, **more), affordable=affordable - n, left_s=DAY_S) for n in range(1, count + 1)]


class TestPause:
    def test_first_crash_costs_none_and_later_ones_double(self) -> None:
        assert pauses(6, affordable=950) == [0, 5, 10, 20, 40, 80]
        assert pauses(60, affordable=950)[-1] == LIMIT_S

    def test_dear_starts_grow_faster_so_that_the_day_is_covered(self) -> None:
        """Nine starts are left: they are spread over the day, not spent in ten minutes."""
        found = pauses(9, affordable=9)
        assert found[:2] == [0, 5]
        assert sum(found) > DAY_S / 3

    def test_starts_without_a_login_pause_for_a_minute_at_most(self) -> None:
        assert pauses(8, affordable=950, logins=0)[-1] == NO_LOGIN_LIMIT_S

    def test_runs_that_had_resumed_cost_nothing(self) -> None:
        assert pauses(30, affordable=950, logins=0, ready=True, code=None)[-1] == RESUMED_LIMIT_S

    def test_few_ordered_stops_are_free_and_many_are_not(self) -> None:
        def stops(count: int) -> float:
            return pause_s(crashes(count, code=ExitCode.INTERRUPTED), affordable=900, left_s=DAY_S)

        assert [stops(0), stops(1), stops(FREE_STOPS), stops(FREE_STOPS + 1), stops(FREE_STOPS + 2)] == [0, 0, 0, 5, 10]

    @given(count=st.integers(1, 200), affordable=st.floats(0, 1e6), left_s=st.floats(0, DAY_S))
    def test_never_longer_than_the_reset_or_the_limit(self, count: int, affordable: float, left_s: float) -> None:
        assert 0 <= pause_s(crashes(count), affordable=affordable, left_s=left_s) <= max(LIMIT_S, left_s)


class TestSeries:
    def of(self, *records: StartRecord, now_s: float = 1e6, boot: str = "b") -> int:
        shifted = [
            replace(record, at_s=now_s - 100 * n, seen_s=now_s - 100 * n + record.seen_s)
            for n, record in zip(range(len(records), 0, -1), records, strict=True)
        ]
        return len(series_of(shifted, now_s, boot=boot, total=1000).starts)

    def test_goes_back_to_the_last_stable_run(self) -> None:
        assert self.of(start(), start(lived_s=STABLE_S), start(), start()) == 2

    def test_run_with_dear_start_must_last_longer(self) -> None:
        assert self.of(start(lived_s=STABLE_S, logins=100)) == 1
        assert self.of(start(lived_s=DAY_S / 10, logins=100)) == 0

    @pytest.mark.parametrize("code", [ExitCode.CONFIG, ExitCode.PENDING, ExitCode.HELD])
    def test_start_that_a_person_must_repeat_ends_it(self, code: int) -> None:
        assert self.of(start(), start(code=code), start()) == 1

    def test_end_of_the_host_is_no_crash(self) -> None:
        assert self.of(start(code=None), boot="another") == 0

    def test_closed_record_ends_it(self) -> None:
        assert self.of(start(), start(closed=True), start()) == 1

    def test_old_starts_do_not_count(self) -> None:
        assert series_of([start()], 3 * DAY_S, boot="b", total=1000).starts == ()


class TestLoop:
    def test_same_crash_again_and_again_is_for_a_person(self) -> None:
        assert not crashes(LOOP_CRASHES - 1, reason="x").is_loop
        assert crashes(LOOP_CRASHES, reason="x").is_loop
        assert crashes(LOOP_CRASHES, code=None).is_loop, "killed each time"
        assert Series(tuple(start(reason=f"port {n} is taken") for n in range(LOOP_CRASHES))).is_loop

    def test_person_is_told_what_crashed_how_often_and_at_what_cost(self) -> None:
        error = crashes(LOOP_CRASHES, reason="bot did not start: ValueError: boom", logins=2).loop_error()
        assert str(error) == (
            "The bot has crashed 20 times in a row since 1970-01-01 00:00 UTC, each time with: "
            "bot did not start: ValueError: boom. That cost 40 logins."
        )
        assert error.exit_code == ExitCode.CONFIG

    def test_different_reasons_and_outages_are_not(self) -> None:
        different = Series(tuple(start(reason="ab"[n % 2]) for n in range(LOOP_CRASHES)))
        assert not different.is_loop
        assert not crashes(3 * LOOP_CRASHES, code=ExitCode.UNREACHABLE, reason="MongoDB does not answer").is_loop

    def test_bot_that_works_and_is_killed_is_not(self) -> None:
        assert not crashes(3 * LOOP_CRASHES, code=None, ready=True).is_loop

    def test_stops_are_no_loop(self) -> None:
        assert not crashes(3 * LOOP_CRASHES, code=ExitCode.INTERRUPTED).is_loop
