"""The invocation: the handling of one Discord interaction, and its outcome.

An invocation is created when the interaction arrives. It is finished exactly once: by a reply, a denial, an exception
or a cancellation.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime


class Kind(enum.StrEnum):
    """What was used: a slash command, a user or message context menu command, a component, or a modal."""

    SLASH = "slash"
    USER = "user"
    MESSAGE = "message"
    COMPONENT = "component"
    MODAL = "modal"


class Result(enum.StrEnum):
    """How an invocation ended.

    ``DENIED``: the user is not allowed to. ``THROTTLED``: a limit is used up. ``FAILED``: the handler raised.
    ``CANCELLED``: it was stopped before its end. ``INVALID``: the options were wrong, and the reply says so.
    """

    OK = "ok"
    DENIED = "denied"
    THROTTLED = "throttled"
    INVALID = "invalid"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def refused(self) -> bool:
        """Whether it was denied or throttled, so that no handler was called."""
        return self in (Result.DENIED, Result.THROTTLED)


@dataclass(frozen=True, slots=True)
class Actor:
    """The user. ``roles`` are those of botctl (``[roles]`` in the settings), not Discord's."""

    id: str
    name: str
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Result
    took_ms: float  # from arrival to outcome
    reason: str = ""  # for people: ``5/10s per user``, ``needs role moderator``
    error_id: str | None = None  # set when FAILED; the same in the reply, the log and the audit entry
    error_type: str | None = None
    retry_after_s: float | None = None  # set when THROTTLED
    policy: str | None = None  # set when THROTTLED: the name under which the limits are counted, mostly the command's


@dataclass(slots=True, eq=False)
class Invocation:
    """One interaction, from its arrival until its outcome is known."""

    id: str
    kind: Kind
    name: str  # ``ops status``; ``poll:vote`` for a component: its custom id up to the second colon
    actor: Actor
    at: datetime
    started: float  # seconds on the monotonic clock
    guild: str | None = None  # None in a direct message
    channel: str | None = None
    locale: str = "en-US"  # the user's
    shard: int = 0
    outcome: Outcome | None = field(default=None, init=False)  # None until `finish`

    def finish(self, outcome: Outcome) -> bool:
        """Set the outcome, unless there is one already. Returns whether it was set."""
        if self.outcome is not None:
            return False
        self.outcome = outcome
        return True
