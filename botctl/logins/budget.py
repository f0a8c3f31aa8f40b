"""The arithmetic of the login budget: what is left, what a restart may spend, and when a shard has its turn.

Times are whole milliseconds since 1970. `lua_script` does the same in Redis.

Discord says in ``session_start_limit`` how many logins are left until when. That also knows of logins that were not
ours, so what is left is Discord's number minus our logins since it was asked. When its time is over, all are left
again, minus ours since then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

DAY_MS: Final = 86_400_000
DEFAULT_TOTAL: Final = 1_000
"""Logins of a day, until Discord has said how many. Discord: Gateway > Session Start Limit."""
ARRIVAL_MS: Final = 15_000
"""A login may arrive this long after it was counted. So one that was counted shortly before Discord was asked may be
missing from Discord's number; it is subtracted once more."""
MIN_RESERVE: Final = 50
RESERVE_SHARE: Final = 0.05


class Login(NamedTuple):
    """A login that was counted. ``id``: it is the same in the file and in Redis."""

    at_ms: int
    shard: int
    id: str


@dataclass(frozen=True, slots=True)
class Observation:
    """What Discord said: `LoginLimit`, and ``asked_ms``, when it was asked."""

    total: int
    remaining: int
    resets_ms: int
    max_concurrency: int
    asked_ms: int

    @property
    def has_begun(self) -> bool:
        """Whether something of the limit was used. If not, its day begins with the next login."""
        return self.resets_ms > self.asked_ms

    @property
    def valid_until_ms(self) -> int:
        """Until when ``remaining`` counts."""
        return self.resets_ms if self.has_begun else self.asked_ms + DAY_MS


@dataclass(frozen=True, slots=True)
class Budget:
    """What is ``left`` of ``total`` logins until ``resets_ms``. ``reserve``: what automatic starts never spend of it.

    ``used``: our logins of the last 24 h.
    """

    total: int
    left: int
    reserve: int
    used: int
    resets_ms: int

    @property
    def spendable(self) -> int:
        """What automatic starts may spend."""
        return max(0, self.left - self.reserve)


class LoginDecision(NamedTuple):
    """Whether a shard may log in now. ``wait_ms``: if not, when to ask again; ``short``: the budget is why."""

    wait_ms: int
    short: bool = False

    @property
    def allowed(self) -> bool:
        return self.wait_ms == 0


ALLOWED: Final = LoginDecision(0)


def reserve_of(total: int, shards: int) -> int:
    """The logins that automatic starts leave to a person.

    50 or 5 %, for the tries that a repair takes, and at least one whole start of all ``shards``. Never more than half,
    so that there is something to spend.
    """
    return min(total // 2, max(MIN_RESERVE, math.ceil(total * RESERVE_SHARE), shards))


def budget_of(observation: Observation | None, logins: Sequence[Login], now_ms: int, reserve: int) -> Budget:
    """The budget from what Discord said last (None: nothing yet) and all ``logins`` of the last day that are known."""
    used = sum(login.at_ms > now_ms - DAY_MS for login in logins)
    total = observation.total if observation else DEFAULT_TOTAL
    if observation and now_ms < observation.valid_until_ms:
        base, since_ms = observation.remaining, observation.asked_ms - ARRIVAL_MS
        resets_ms = observation.valid_until_ms
    else:
        since_ms = now_ms - DAY_MS + 1
        if observation and observation.has_begun:
            since_ms = max(since_ms, observation.valid_until_ms - ARRIVAL_MS)
        base = total
        oldest_ms = min((login.at_ms for login in logins if login.at_ms >= since_ms), default=now_ms)
        resets_ms = oldest_ms + DAY_MS
    left = base - sum(login.at_ms >= since_ms for login in logins)
    return Budget(total, max(0, left), reserve, used, resets_ms)


def decide(
    observation: Observation | None,
    logins: Sequence[Login],
    shard: int,
    now_ms: int,
    *,
    reserve: int,
    spacing_ms: int,
    max_concurrency: int,
) -> LoginDecision:
    """Whether ``shard`` may log in now: the budget has more than the reserve, and its key is free.

    Shards with the same ``shard % max_concurrency`` are ``spacing_ms`` apart.
    """
    budget = budget_of(observation, logins, now_ms, reserve)
    if budget.spendable == 0:
        return LoginDecision(max(1, budget.resets_ms - now_ms), short=True)
    key = shard % max_concurrency
    last_ms = max((login.at_ms for login in logins if login.shard % max_concurrency == key), default=None)
    if last_ms is None or not 0 <= now_ms - last_ms < spacing_ms:
        return ALLOWED
    return LoginDecision(last_ms + spacing_ms - now_ms)
