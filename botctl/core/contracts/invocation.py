"""One Invocation per interaction, and the one Outcome it comes to.

An invocation is made when Discord's interaction arrives, and finished once, whatever happens in between:
a reply, a refusal, an exception, a cancellation.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime


class Kind(enum.StrEnum):
    """What the person did."""

    SLASH = "slash"
    USER = "user"
    MESSAGE = "message"
    COMPONENT = "component"
    MODAL = "modal"


class Result(enum.StrEnum):
    """How an invocation ended.

    ``DENIED``: not allowed. ``THROTTLED``: too often. ``FAILED``: the handler raised.
    ``CANCELLED``: stopped before it was done. ``INVALID``: the options were wrong, and the person was told.
    """

    OK = "ok"
    DENIED = "denied"
    THROTTLED = "throttled"
    INVALID = "invalid"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def refused(self) -> bool:
        """Whether the handler was never entered."""
        return self in (Result.DENIED, Result.THROTTLED)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it. ``roles`` are botctl's own (see ``[roles]`` in the settings), not Discord's."""

    id: str
    name: str
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it came out.

    ``reason`` is for people (``5/10s per user``, ``needs role moderator``); ``error_id`` is set when ``result`` is
    FAILED and stands in the reply, the log and the audit entry alike. ``retry_after_s`` is set when THROTTLED.
    """

    result: Result
    took_ms: float
    reason: str = ""
    error_id: str | None = None
    error_type: str | None = None
    retry_after_s: float | None = None
    policy: str | None = None


@dataclass(slots=True, eq=False)
class Invocation:
    """One interaction on its way through the pipeline.

    ``name`` is what a person would call it: ``ops status`` for a sub-command, ``poll:vote`` for a component (its
    custom id up to the second colon). ``started`` is on the monotonic clock, in seconds. ``outcome`` is None until
    `finish`.
    """

    id: str
    kind: Kind
    name: str
    actor: Actor
    at: datetime
    started: float
    guild: str | None = None
    channel: str | None = None
    locale: str = "en-US"
    shard: int = 0
    outcome: Outcome | None = field(default=None, init=False)

    def finish(self, outcome: Outcome) -> bool:
        """Set the outcome; the first one counts. Returns whether this was the first."""
        if self.outcome is not None:
            return False
        self.outcome = outcome
        return True
