"""The invocation: the handling of one Discord interaction, and its outcome.

An invocation is created when the interaction arrives. It is finished exactly once: by a reply, a denial, an exception
or a cancellation.

Rules (roles, limits, switches) belong to a kind and a name, because commands of different kinds may share a name.
`policy_name` writes the two as one text, and no two pairs become the same text. The name of a component or modal is
that of its owner and of its handler::

    poll:vote       the handler ``vote`` of the slash command ``poll``
    user/Ban:sure   the handler ``sure`` of the context menu command ``Ban``; of a message it is ``message/…``
    poll:?          any other custom id that begins with the name of a `Command`
    poll:*          any other component of a message that answered the command ``poll``, whatever its custom id
    cog/Shop:*      a view or modal whose class is in the file of the cog ``Shop``; ``class/…`` if there is no cog
    message         all others
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final


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
    """The user. ``has_role``: looks up by id whether they have a Discord role in the guild; None where unknown."""

    id: str
    name: str
    has_role: Callable[[str], object] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Result
    took_ms: float  # from arrival to outcome
    reason: str = ""  # for people: ``5/10s per user``, ``needs role moderator``
    error_id: str | None = None  # set when FAILED; the same in the reply, the log and the audit entry
    error_type: str | None = None
    retry_after_s: float | None = None  # set when THROTTLED
    policy: str | None = None  # set when THROTTLED: the name under which the limits are counted, mostly the command's


EXPIRED: Final = "expired before it was answered"
TOO_LATE: Final = "too late: Discord waits 3 s for an answer"
LATE_REASONS: Final = frozenset((EXPIRED, TOO_LATE))
"""The reasons of outcomes of which the user has seen nothing but Discord's own sentence."""
ANY_ID: Final = "?"
"""Stands for the handler in the name of a component whose custom id begins with the name of a command."""
ANY_COMPONENT: Final = "*"
"""Stands for the handler in the name of a component of which only the owner is known."""
OTHER_COMPONENTS: Final = "message"
"""The name of a component of which nothing is known but its message."""
COMPONENT_KINDS: Final = frozenset({Kind.COMPONENT, Kind.MODAL})
_MENU_KINDS: Final = frozenset({Kind.USER, Kind.MESSAGE})


def policy_name(kind: Kind, name: str) -> str:
    """One text for ``kind`` and ``name``: ``ops status``, ``poll:vote``, else with the kind: ``user/Ban``.

    Names of slash commands have no slash, dot or colon, so that different pairs have different texts.
    """
    if kind is Kind.SLASH or (kind is Kind.COMPONENT and ":" in name and "/" not in name.partition(":")[0]):
        return name
    return f"{kind}/{name}"


def suggestions_policy(command: str) -> str:
    """The name under which requests for suggestions for the options of a slash command are counted."""
    return f"autocomplete/{command}"


def command_of(kind: Kind, name: str) -> tuple[Kind, str] | None:
    """The kind and name of the command that ``name`` is, or that owns it; None for a component of no command."""
    if kind not in COMPONENT_KINDS:
        return kind, name
    owner = name.rpartition(":")[0]
    prefix, separator, command = owner.partition("/")
    if not separator:
        return (Kind.SLASH, owner) if owner else None
    return (Kind(prefix), command) if prefix in _MENU_KINDS else None


@dataclass(slots=True, eq=False)
class Invocation:
    """One interaction, from its arrival until its outcome is known."""

    id: str
    kind: Kind
    name: str  # ``ops status``; of a component or modal: see the docstring of the module
    actor: Actor
    at: datetime
    started: float  # seconds on the monotonic clock
    guild: str | None = None  # None in a direct message
    channel: str | None = None
    locale: str = "en-US"  # the user's
    shard: int = 0
    policy: str = ""  # the name under which it is counted; empty: `policy_name`
    outcome: Outcome | None = field(default=None, init=False)  # None until `finish`

    def __post_init__(self) -> None:
        self.policy = self.policy or policy_name(self.kind, self.name)

    def finish(self, outcome: Outcome) -> bool:
        """Set the outcome, unless there is one already. Returns whether it was set."""
        if self.outcome is not None:
            return False
        self.outcome = outcome
        return True
