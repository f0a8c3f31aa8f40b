"""The arithmetic of a limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.contracts.throttle import parse
from botctl.ratelimit.gcra import US_PER_S, GcraRate, current_state, decide, rate
from botctl.ratelimit.lua_script import ScriptResult, build_arguments, parse_reply

_TEXTS = st.sampled_from(
    ["5/10s per user", "1/1s per user", "7/10s per user", "3/1m burst 9 per user", "1000/1s burst 1 per user"]
)


def run(limit, gaps_us):
    """Admission times of calls that come ``gaps_us`` after one another."""
    now, tat, admitted = 1_700_000_000 * US_PER_S, 0, []
    for gap in gaps_us:
        now += gap
        wait, tat = decide(tat, now, rate(limit))
        if not wait:
            admitted.append(now)
    return admitted


@given(_TEXTS, st.lists(st.integers(0, 5 * US_PER_S) | st.integers(0, 2000), max_size=120))
def test_no_window_admits_more_than_burst_plus_refill(text, gaps_us):
    (limit,) = parse(text)
    admitted = run(limit, gaps_us)
    for i, first in enumerate(admitted):
        for j in range(i, len(admitted)):
            elapsed_us = admitted[j] - first
            assert j - i + 1 <= limit.burst + elapsed_us * limit.count / (limit.period_s * US_PER_S)


@given(_TEXTS, st.lists(st.integers(0, 3 * US_PER_S), max_size=30))
def test_retry_after_is_exact(text, gaps_us):
    """Denied up to one microsecond before, allowed at the microsecond."""
    (limit,) = parse(text)
    now, tat = 1_000_000, 0
    for gap in gaps_us:
        now += gap
        before = tat
        wait, tat = decide(tat, now, rate(limit))
        if wait:
            assert tat == before, "a denied call moves nothing"
            assert decide(tat, now + wait - 1, rate(limit)).retry_after_us == 1
            assert decide(tat, now + wait, rate(limit)).retry_after_us == 0


@given(_TEXTS)
def test_whole_burst_is_back_after_a_long_wait(text):
    (limit,) = parse(text)
    full = limit.burst * rate(limit).interval_us
    assert len(run(limit, [0] * (limit.burst + 3) + [full] + [0] * (limit.burst + 3))) == 2 * limit.burst


def test_loosened_limit_acts_at_once():
    now = 10 * US_PER_S
    old, new = rate(parse("1/1h per user")[0]), rate(parse("5/10s per user")[0])
    tat = decide(0, now, old).tat_us
    assert decide(tat, now, old).retry_after_us == 3600 * US_PER_S
    assert decide(tat, now, new).retry_after_us == 2 * US_PER_S


@given(_TEXTS, st.integers(1, 366 * 86_400 * US_PER_S))
def test_state_from_a_clock_ahead_is_forgotten(text, ahead_us):
    """The clock was ahead, and was set back: the whole burst is back as soon as after any other use."""
    (limit,) = parse(text)
    gcra_rate, now = rate(limit), 1_700_000_000 * US_PER_S
    tat = 0
    for _ in range(limit.burst):
        tat = decide(tat, now + ahead_us, gcra_rate).tat_us
    tat = decide(tat, now, gcra_rate).tat_us
    assert current_state(tat, now + gcra_rate.capacity_us + gcra_rate.interval_us, gcra_rate).left == limit.burst


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5/10s per user", GcraRate(2_000_000, 10_000_000)),
        ("3/1s per user", GcraRate(333_334, 1_000_002)),
        ("1000000/1s per user", GcraRate(1, 1_000_000)),
        ("1/366d per user", GcraRate(31_622_400_000_000, 31_622_400_000_000)),
    ],
)
def test_rates_are_whole_microseconds_rounded_up(text, expected):
    assert rate(parse(text)[0]) == expected


def test_script_arguments_name_each_key_once():
    a, b = GcraRate(1, 2), GcraRate(3, 4)
    assert build_arguments([[("x", a), ("y", b)], [], [("y", b)]]) == (["x", "y"], "[[1,1,2,2,3,4],[],[2,3,4]]")
    assert parse_reply([0, 0, 2, 17]) == [ScriptResult(-1, 0), ScriptResult(1, 17)]


@given(_TEXTS, st.lists(st.integers(0, 3 * US_PER_S), max_size=30), st.integers(0, 12 * US_PER_S))
def test_current_state_predicts_the_decisions(text, gaps_us, pause_us):
    """The calls that are left are allowed at once, the next one after the wait, and the whole burst when full."""
    (limit,) = parse(text)
    gcra_rate, tat, now = rate(limit), 0, 1_700_000_000 * US_PER_S
    for gap in gaps_us:
        now += gap
        tat = decide(tat, now, gcra_rate).tat_us
    now += pause_us
    left, retry_after_us, full_in_us = current_state(tat, now, gcra_rate)
    assert 0 <= left <= limit.burst
    assert (retry_after_us == 0) == (left > 0)
    assert current_state(tat, now + full_in_us, gcra_rate) == (limit.burst, 0, 0)
    assert full_in_us == 0 or current_state(tat, now + full_in_us - 1, gcra_rate).left == limit.burst - 1
    if left == 0:
        assert current_state(tat, now + retry_after_us, gcra_rate).left == 1
        assert current_state(tat, now + retry_after_us - 1, gcra_rate).left == 0
    for _ in range(left):
        wait_us, tat = decide(tat, now, gcra_rate)
        assert wait_us == 0
    assert decide(tat, now, gcra_rate).retry_after_us > 0


def test_current_state_of_loosened_limit_is_used_up():
    now = 10 * US_PER_S
    old, new = rate(parse("1/1h per user")[0]), rate(parse("5/10s per user")[0])
    tat = decide(0, now, old).tat_us
    assert current_state(tat, now, new) == (0, 2 * US_PER_S, 10 * US_PER_S)
