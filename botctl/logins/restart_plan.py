"""What a restart would cost, and how long the logins of many shards take: plain arithmetic, in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from botctl.core.clock import from_unix_ms
from botctl.core.contracts.logins import SPACING_S
from botctl.logins.budget import Budget


@dataclass(frozen=True, slots=True)
class ShardRestart:
    """How a shard comes back after a restart: ``resume``, or ``login``, which costs one login.

    ``at_s``: seconds after the first one. ``why``: it cannot resume.
    """

    shard: int
    how: str
    at_s: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class RestartPlan:
    """What a restart now would cost.

    ``logins``: how many it takes. ``last_s``: until the last shard may log in, without the time of the start itself.
    ``waits_until``: if automatic starts may not spend so many, when they may; then some shards stay away until then.
    """

    shards: tuple[ShardRestart, ...]
    logins: int
    last_s: float
    left_after: int
    waits_until: datetime | None


def plan_restart(
    shards: Sequence[int], budget: Budget, max_concurrency: int, *, why_login: Mapping[int, str]
) -> RestartPlan:
    """The plan for ``shards``. ``why_login``: why a shard cannot resume its session; empty if it can."""
    to_log_in = [shard for shard in shards if why_login[shard]]
    times_s = dict(zip(to_log_in, login_times_s(to_log_in, max_concurrency), strict=True))
    rows = tuple(
        ShardRestart(shard, "login" if shard in times_s else "resume", times_s.get(shard, 0.0), why_login[shard])
        for shard in sorted(shards)
    )
    logins = len(to_log_in)
    is_short = logins > budget.spendable
    return RestartPlan(
        rows,
        logins,
        max(times_s.values(), default=0.0),
        max(0, budget.left - logins),
        from_unix_ms(budget.resets_ms) if is_short else None,
    )


def login_times_s(shards: Sequence[int], max_concurrency: int, *, spacing_s: float = SPACING_S) -> list[float]:
    """When each of ``shards`` may log in, in seconds after the first, if all want to at once."""
    queues: Counter[int] = Counter()
    times = []
    for shard in shards:
        key = shard % max_concurrency
        times.append(queues[key] * spacing_s)
        queues[key] += 1
    return times
