"""A latency histogram with fixed bounds, so that the histograms of several processes can be merged exactly."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

BOUNDS_MS: Final = (
    *(1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750),
    *(1000, 1500, 2000, 2500, 3000, 5000, 7500, 10_000, 15_000, 30_000, 60_000),
)
"""Upper bounds in milliseconds, each at most twice the one before. They include Discord's 3 s limit.
Longer latencies go into one more bucket, without a bound."""


@dataclass(slots=True)
class Latencies:
    """A histogram. ``counts``: by bucket, one more than there are bounds. ``sum_ms``: of all latencies."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    sum_ms: float = 0.0

    def add(self, took_ms: float) -> None:
        """Count ``took_ms``. A value on a bound belongs to the bucket below it."""
        self.counts[bisect_left(BOUNDS_MS, took_ms)] += 1
        self.sum_ms += took_ms

    @property
    def count(self) -> int:
        return sum(self.counts)


def merge(counts: Iterable[Sequence[int]]) -> list[int]:
    """Add up the counts of several histograms. One with another number of buckets is ignored."""
    total = [0] * (len(BOUNDS_MS) + 1)
    for buckets in counts:
        if len(buckets) == len(total):
            total = [a + b for a, b in zip(total, buckets, strict=True)]
    return total


def quantile_ms(counts: Sequence[int], quantile: float) -> float | None:
    """The ``quantile`` (0 to 1) in milliseconds; None if all counts are 0.

    Interpolates within a bucket, as histogram_quantile of Prometheus. Above the last bound it returns that bound.
    """
    if not any(counts):
        return None
    ranks = list(accumulate(counts))
    rank = quantile * ranks[-1]
    bucket = next(i for i, upto in enumerate(ranks) if upto >= rank and counts[i])
    if bucket == len(BOUNDS_MS):
        return float(BOUNDS_MS[-1])
    low = float(BOUNDS_MS[bucket - 1]) if bucket else 0.0
    inside = (rank - (ranks[bucket] - counts[bucket])) / counts[bucket]
    return low + (BOUNDS_MS[bucket] - low) * inside
