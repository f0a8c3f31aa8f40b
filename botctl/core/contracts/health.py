"""Whether a bot is well: a verdict, why, and what to do. `monitor.verdict` decides it; all others show the same."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class Health(enum.StrEnum):
    """The state of a shard, a process or the bot, from the least to the most severe."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"  # it works with restrictions: a store fails, or a part of the shards
    DRAINING = "draining"  # it stops in order: no new work, and what has begun is finished
    STARTING = "starting"
    WAITING = "waiting"  # for a login that Discord's limits allow
    LIMITED = "limited"  # Discord refuses its requests with 429
    BANNED = "banned"  # Discord's Cloudflare refuses the address of the host
    DEAF = "deaf"  # no events come from Discord, with or without a connection
    BLOCKED = "blocked"  # a process runs, and its event loop does not
    ABSENT = "absent"  # an expected process does not run

    @property
    def severity(self) -> int:
        return _SEVERITIES[self]

    @property
    def works(self) -> bool:
        """Whether users get answers. The exit code of `botctl health` is 0 then."""
        return self in (Health.HEALTHY, Health.DEGRADED)

    @property
    def passes(self) -> bool:
        """Whether it belongs to a start or a stop, as at a deploy, and ends by itself."""
        return self in (Health.DRAINING, Health.STARTING, Health.WAITING)


_SEVERITIES = {verdict: number for number, verdict in enumerate(Health)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One finding: what is not well, or that all is well.

    ``proc`` (``host:pid``) and ``shard``: what it is about; empty and None for the whole bot. ``why`` and ``action``
    (what to do) are sentences for the operator, without the full stop. ``restart_helps``: whether a new process would
    be well, as after a blocked event loop, and unlike after a ban.
    """

    verdict: Health
    proc: str = ""
    shard: int | None = None
    why: str
    action: str = ""
    restart_helps: bool = False


ALL_IS_WELL = Diagnosis(verdict=Health.HEALTHY, why="all is well")


def worst(diagnoses: Iterable[Diagnosis]) -> Diagnosis:
    """The most severe finding, the first one of several; `ALL_IS_WELL` without any."""
    return max(diagnoses, key=lambda finding: finding.verdict.severity, default=ALL_IS_WELL)


class HealthSource(Protocol):
    """What a process knows of its own health, and of the bot's."""

    def of_process(self) -> Diagnosis:
        """The verdict on this process, now."""
        ...

    def of_bot(self) -> Diagnosis:
        """The verdict on the whole bot, at most some seconds old; on this process while the others are not known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsSeen:
    """How Discord has answered the requests of a process in the last `REQUESTS_S`.

    ``failed``: answers with 5xx. ``unreachable``: no answer came. ``row``: how many of the newest answers in a row were
    of the same bad ``row_kind`` (``429``, ``5xx``, ``unreachable``). ``banned_until``: Cloudflare's page 1015 was the
    newest answer, and it named this end.
    """

    answers: int = 0
    limited: int = 0
    failed: int = 0
    unreachable: int = 0
    row: int = 0
    row_kind: str = ""
    banned_until: datetime | None = None


REQUESTS_S = 30.0
"""Older answers say nothing about now."""
NO_REQUESTS = RequestsSeen()
