"""Histograms that add up."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.telemetry.latency import BOUNDS_MS, Latencies, merge, quantile_ms

times = st.floats(min_value=0, max_value=2 * BOUNDS_MS[-1])


def counted(took: list[float]) -> Latencies:
    found = Latencies()
    for ms in took:
        found.add(ms)
    return found


@given(st.lists(st.lists(times)))
def test_merged_histograms_equal_the_histogram_of_all(parts):
    """It does not matter which part counted which time."""
    whole = counted([ms for part in parts for ms in part])
    assert merge(counted(part).counts for part in parts) == whole.counts
    assert whole.count == sum(map(len, parts))


@given(st.lists(times, min_size=1), st.floats(min_value=0.01, max_value=1))
def test_quantile_is_in_the_bucket_of_the_true_value(took, share):
    """The true one and the estimate are in the same bucket."""
    ranked = sorted(took)
    true = next(ms for index, ms in enumerate(ranked, 1) if index >= share * len(ranked))
    estimate = quantile_ms(counted(took).counts, share)
    assert estimate is not None
    if true > BOUNDS_MS[-1]:
        assert estimate == BOUNDS_MS[-1]
        return
    bucket = bisect_left(BOUNDS_MS, true)
    assert (BOUNDS_MS[bucket - 1] if bucket else 0) <= estimate <= BOUNDS_MS[bucket]


def test_bounds_grow_and_no_bucket_is_wide():
    """None more than twice the one before it."""
    assert list(BOUNDS_MS) == sorted(set(BOUNDS_MS))
    assert all(b <= 2 * a for a, b in pairwise(BOUNDS_MS))
    assert 3000 in BOUNDS_MS


def test_empty_histogram_has_no_quantile():
    """And a histogram of another shape is left out."""
    assert quantile_ms(Latencies().counts, 0.5) is None
    assert merge([[1, 2, 3]]) == Latencies().counts


@pytest.mark.parametrize(("took", "p50"), [([10.0], 8.75), ([4.0] * 10, 4.0), ([1e9], 60_000.0)])
def test_quantile_is_interpolated_within_its_bucket(took, p50):
    """As Prometheus reckons."""
    assert quantile_ms(counted(took).counts, 0.5) == pytest.approx(p50)
