"""What `botctl gateway status` knows of the logins of a token, from Redis and from the project's file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from botctl.core.clock import Clock, unix_ms
from botctl.core.errors import STORE_FAULTS
from botctl.logins.budget import Budget, budget_of, reserve_of
from botctl.logins.login_file import LoginFile, TokenLogins
from botctl.logins.shared import RedisLogins
from botctl.logins.token_claim import Claimant, TokenLease, this_process


@dataclass(frozen=True, slots=True)
class LoginReport:
    """``holder``: the process that has the token. ``note``: why it may be incomplete; empty if it is not."""

    budget: Budget
    max_concurrency: int
    holder: Claimant | None = None
    note: str = ""


def read_file(folder: Path, fingerprint: str, clock: Clock, *, shards: int, note: str = "") -> LoginReport:
    """The report from the project's file alone."""
    now_ms = unix_ms(clock.now())
    known = LoginFile(folder, fingerprint).read(now_ms)
    return _from_file(known, now_ms, shards, note)


async def read_logins(redis: Redis, folder: Path, fingerprint: str, clock: Clock, *, shards: int) -> LoginReport:
    """The report of the count that has less left. If Redis does not answer, that of the file, with a note."""
    now_ms = unix_ms(clock.now())
    known = LoginFile(folder, fingerprint).read(now_ms)
    report = _from_file(known, now_ms, shards, "")
    reserve = report.budget.reserve
    try:
        reply = await RedisLogins(redis, fingerprint).enter(
            None, shard=0, reserve=reserve, spacing_ms=0, known=known.logins, now_ms=now_ms
        )
        holder = await TokenLease(redis, fingerprint, this_process(folder.parent, clock)).holder()
    except STORE_FAULTS as error:
        return _from_file(known, now_ms, shards, str(error))
    budget = report.budget
    if reply.left < budget.left or known.observation is None:
        budget = reply.budget(now_ms, reserve_of(reply.total, shards))
    return LoginReport(budget, max(report.max_concurrency, reply.max_concurrency), holder)


def _from_file(known: TokenLogins, now_ms: int, shards: int, note: str) -> LoginReport:
    observation = known.observation
    total = observation.total if observation else budget_of(None, (), now_ms, 0).total
    budget = budget_of(observation, known.logins, now_ms, reserve_of(total, shards))
    return LoginReport(budget, observation.max_concurrency if observation else 1, None, note)
