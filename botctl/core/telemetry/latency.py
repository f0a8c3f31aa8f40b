"""How long things took: a histogram with fixed bounds, so that those of several processes add up to the true one."""

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
"""Upper bounds in milliseconds, none more than twice the one before it: a quantile is right to within its bucket.
Discord's 3 s for a first answer are one of them. What takes longer than the last goes into a bucket without a bound."""


@dataclass(slots=True)
class Latencies:
    """``counts`` by bucket (one more than there are bounds), and the sum of all in milliseconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    sum_ms: float = 0.0

    def add(self, took_ms: float) -> None:
        """Count one that took ``took_ms``; a bound belongs to the bucket below it."""
        self.counts[bisect_left(BOUNDS_MS, took_ms)] += 1
        self.sum_ms += took_ms

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts)


def merge(counts: Iterable[Sequence[int]]) -> list[int]:
    """The counts of several histograms as those of one. Each has one number per bucket; other shapes are left out."""
    total = [0] * (len(BOUNDS_MS) + 1)
    for one in counts:
        if len(one) == len(total):
            total = [a + b for a, b in zip(total, one, strict=True)]
    return total


def quantile_ms(counts: Sequence[int], share: float) -> float | None:
    """The milliseconds that ``share`` (0 to 1) of them did not exceed; None of nothing.

    Within a bucket they are taken to lie evenly, as Prometheus does (histogram_quantile); beyond the last bound the
    answer is that bound.
    """
    if not any(counts):
        return None
    ranks = list(accumulate(counts))
    rank = share * ranks[-1]
    bucket = next(i for i, upto in enumerate(ranks) if upto >= rank and counts[i])
    if bucket == len(BOUNDS_MS):
        return float(BOUNDS_MS[-1])
    low = float(BOUNDS_MS[bucket - 1]) if bucket else 0.0
    inside = (rank - (ranks[bucket] - counts[bucket])) / counts[bucket]
    return low + (BOUNDS_MS[bucket] - low) * inside
