"""How long the logins of many shards take, in virtual time: for `botctl gateway plan`, and the table in the docs."""

from __future__ import annotations

from collections import Counter

from botctl.core.contracts.logins import SPACING_S


def login_times_s(shards: int, max_concurrency: int, *, spacing_s: float = SPACING_S) -> list[float]:
    """When each of ``shards`` may log in, in seconds after the first, if all want to at once. By shard."""
    queues: Counter[int] = Counter()
    times = []
    for shard in range(shards):
        key = shard % max_concurrency
        times.append(queues[key] * spacing_s)
        queues[key] += 1
    return times


def last_login_s(shards: int, max_concurrency: int) -> float:
    """Seconds until the last of ``shards`` may log in."""
    return max(login_times_s(shards, max_concurrency), default=0.0)
