"""Budgets and limits that are counted in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.throttle import API_SCOPES, Scope, parse
from botctl.realtime.budgets import (
    BEFORE_KEY,
    FRAME_UNITS,
    Buckets,
    LocalLimits,
    Refill,
    TokenBucket,
    WorkBudget,
    WorkLimits,
    limits_with_key,
    read_units,
)

PONG_BYTES = 6


@given(
    st.floats(0, 50),
    st.floats(1, 100),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 20)), max_size=60),
)
def test_bucket_never_gives_more_than_its_burst_and_refill(
    per_s: float, burst: float, calls: list[tuple[float, float]]
) -> None:
    bucket = TokenBucket(Refill(per_s, burst), 0.0)
    now_s = taken = 0.0
    for pause_s, units in calls:
        now_s += pause_s
        if bucket.take(units, now_s):
            taken += units
        else:
            assert bucket.missing(units, now_s) > 0
    assert taken <= burst + now_s * per_s + 0.001


def test_wait_is_when_the_units_are_there() -> None:
    bucket = TokenBucket(Refill(2, 4), 0.0)
    assert bucket.take(4, 0.0)
    assert bucket.wait_s(1, 0.0) == pytest.approx(0.5)
    assert not bucket.take(1, 0.4)
    assert bucket.take(1, 0.5)


def test_clock_that_goes_back_gives_no_units() -> None:
    bucket = TokenBucket(Refill(1, 1), 100.0)
    assert bucket.take(1, 100.0)
    assert not bucket.take(1, 50.0)
    assert not bucket.take(1, 100.5)


def test_subjects_are_limited_and_the_oldest_is_forgotten() -> None:
    buckets = Buckets(Refill(0, 1), max_subjects=2)
    first = buckets.of("a", 0)
    buckets.of("b", 0)
    assert buckets.of("a", 0) is first  # used last now
    buckets.of("c", 0)
    assert len(buckets) == 2
    assert buckets.of("a", 0) is first


class TestLocalLimits:
    LIMITS = parse("2/1s per key, 3/10s per address, 100/1s global", scopes=API_SCOPES)

    def test_call_counts_against_all_limits_or_none(self) -> None:
        limits = LocalLimits(self.LIMITS)
        one, other = ({Scope.KEY: key, Scope.ADDRESS: "192.0.2.1"} for key in "ab")
        assert [limits.check(one, 0).allowed for _ in range(3)] == [True, True, False]
        assert limits.check(other, 0).allowed  # the refused call took nothing of the address
        refused = limits.check(other, 0)
        assert refused.limit == self.LIMITS[1]
        assert refused.retry_after_s == pytest.approx(10 / 3)

    def test_limit_without_a_subject_is_not_counted(self) -> None:
        limits = LocalLimits(self.LIMITS[:2])
        assert all(limits.check({}, 0).allowed for _ in range(50))

    def test_global_limit_counts_everyone(self) -> None:
        limits = LocalLimits(parse("2/1s global", scopes=API_SCOPES))
        assert [limits.check({Scope.KEY: key}, 0).allowed for key in "abc"] == [True, True, False]


class TestWork:
    def test_connection_has_a_reserve_when_its_address_has_none(self) -> None:
        limits = WorkLimits(own=Refill(0, 100), shared=Refill(0, 10), reserved=Refill(0, 3))
        shared = TokenBucket(limits.shared, 0)
        flood, quiet = (WorkBudget(limits, shared, 0) for _ in range(2))
        assert [flood.spend(1, 0) for _ in range(14)] == [True] * 13 + [False]
        assert [quiet.spend(1, 0) for _ in range(4)] == [True] * 3 + [False]

    def test_connection_without_a_key_may_send_only_a_few_frames(self) -> None:
        budget = WorkBudget(BEFORE_KEY, None, 0)
        assert sum(budget.spend(FRAME_UNITS, second) for second in range(1000)) == 32
        assert not WorkBudget(BEFORE_KEY, None, 0).spend(read_units(65_536), 0)

    @pytest.mark.parametrize(
        ("throttle", "message_bytes"),
        [("20/1s burst 100 per key", 16_384), ("1000/1s per key", 1_048_576), ("1/1h per address", 256), ("", 16_384)],
    )
    def test_client_within_the_message_limits_is_never_over_budget(self, throttle: str, message_bytes: int) -> None:
        """Its messages have the largest size, it answers a ping each second, and its address has no budget left."""
        messages = parse(throttle, scopes=API_SCOPES)
        limits = limits_with_key(messages, message_bytes)
        budget, local = WorkBudget(limits, None, 0), LocalLimits(messages or parse("20/1s per key", scopes=API_SCOPES))
        for tenth in range(300):
            now_s = tenth / 10
            if tenth % 10 == 0:
                assert budget.spend(read_units(PONG_BYTES) + FRAME_UNITS, now_s)
            while local.check({Scope.KEY: "a", Scope.ADDRESS: "b"}, now_s).allowed:
                assert budget.spend(read_units(message_bytes) + FRAME_UNITS, now_s)

    def test_answers_to_pings_fit_into_the_reserve(self) -> None:
        empty = TokenBucket(Refill(0, 0), 0)
        budget = WorkBudget(limits_with_key((), 16_384), empty, 0)
        assert all(budget.spend(read_units(PONG_BYTES) + FRAME_UNITS, second) for second in range(3600))
