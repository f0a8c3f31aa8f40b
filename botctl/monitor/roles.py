"""Which roles are expected of a bot, and how long ago a process had each.

Keys: ``botctl:{<bot>}:role:<role>`` holds the process (``host:pid``), is written with each snapshot, and expires after
a day. The time since then follows from how long Redis still keeps it: clocks of hosts are never compared.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from botctl.core.contracts.expected_roles import ExpectedRole
from botctl.monitor.rows import Presence, ProcessReport
from botctl.monitor.verdict import ABSENT_S

ROLE_TTL_MS: Final = 86_400_000
_DAY_S: Final = ROLE_TTL_MS / 1000


def role_key(bot: str, role: str) -> str:
    """The key of the newest process of ``bot`` that had ``role``."""
    return f"botctl:{{{bot}}}:role:{role}"


async def read_roles(
    redis: Redis, bot: str, reports: Sequence[ProcessReport], configured: Collection[str] = ()
) -> Mapping[str, float]:
    """The ``roles`` of `monitor.verdict.Evidence`, as `expected` says.

    Raises RedisError or OSError if Redis does not answer.
    """
    async with redis.pipeline(transaction=False) as pipe:
        for role in ExpectedRole:
            pipe.pttl(role_key(bot, role))
        pipe.info("server")
        *ttls_ms, server = await pipe.execute(raise_on_error=False)
    if isinstance(server, NoPermissionError):  # as in `reader.read_reports`
        server = {"uptime_in_seconds": math.inf}
    if failed := next((reply for reply in (*ttls_ms, server) if isinstance(reply, Exception)), None):
        raise failed
    rests_ms = {str(role): rest_ms for role, rest_ms in zip(ExpectedRole, ttls_ms, strict=True) if rest_ms >= 0}
    seen_s = {role: max(0, ROLE_TTL_MS - rest_ms) / 1000 for role, rest_ms in rests_ms.items()}
    return expected(seen_s, configured, redis_uptime_s=server["uptime_in_seconds"], bot_uptime_s=_uptime_s(reports))


def expected(
    seen_s: Mapping[str, float], configured: Collection[str], *, redis_uptime_s: float, bot_uptime_s: float
) -> Mapping[str, float]:
    """The expected roles, and how many seconds ago a process had each: those ``configured``, else all of ``seen_s``.

    ``bot_uptime_s``: of the oldest process that runs; infinite if none does. A time is never longer than Redis runs: an
    embedded one ends with the bot. One that was not seen within a day counts from the start of Redis and of the bot. A
    bot that is just starting misses no role.
    """
    known_s = {role: seen_s.get(role, min(bot_uptime_s, _DAY_S)) for role in configured or seen_s}
    grace_s = bot_uptime_s if bot_uptime_s < ABSENT_S else math.inf
    return {role: min(since_s, redis_uptime_s, grace_s) for role, since_s in known_s.items()}


def _uptime_s(reports: Sequence[ProcessReport]) -> float:
    """Of the oldest process that runs; infinite if none does."""
    running = (report for report in reports if report.presence is not Presence.GONE)
    return max((report.snapshot.uptime_s + report.age_s for report in running if report.snapshot), default=math.inf)
