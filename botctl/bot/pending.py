"""An interaction on its way, and what is told about it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Final

from disnake.interactions import Interaction
from disnake.utils import MISSING

from botctl.bot.context import Context
from botctl.bot.decisions import CANCELLED, FINE, UNKNOWN, CommandPolicy, Disposition
from botctl.core.contracts.events import CommandFinished
from botctl.core.contracts.invocation import Invocation, Kind, Outcome, Result

COMMANDS: Final = frozenset({Kind.SLASH, Kind.USER, Kind.MESSAGE})
_COMPLAINT_EVERY_S: Final = 60.0
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class PendingInteraction:
    """An invocation that is under way.

    ``disposition`` is what went wrong first; ``was_answered``: the person had an answer by then. ``author_notified``: a
    handler of the author's was told of it, and may have answered. ``worker``: the task in which a component runs.
    """

    invocation: Invocation
    inter: Interaction[Any]
    policy: CommandPolicy
    task: asyncio.Task[Any]
    worker: asyncio.Task[Any] | None = None
    disposition: Disposition | None = None
    was_answered: bool = False
    author_notified: bool = False
    ctx: Context | None = None
    helpers: set[asyncio.Task[Any]] = field(default_factory=set)

    def adopt(self, inter: Interaction[Any]) -> None:
        """Answer through ``inter`` from now on: disnake made it for a component, whose work the current task does."""
        self.inter = inter
        self.worker = asyncio.current_task()

    def set_disposition(self, disposition: Disposition) -> Disposition:
        """Set it; the first one counts, and is returned."""
        if self.disposition is None:
            self.disposition = disposition
            self.was_answered = self.inter.response.is_done()
        return self.disposition


@dataclass(slots=True)
class Failures:
    """How often a store failed on the way of a command, and how often that is logged."""

    what: str
    count: int = 0
    _told: float = float("-inf")

    def add(self, error: Exception, now: float) -> None:
        """Count one, and log it unless that was done within the last minute."""
        self.count += 1
        if now - self._told >= _COMPLAINT_EVERY_S:
            self._told = now
            _log.warning("%s (so far: %d): %s: %s", self.what, self.count, type(error).__name__, error)


def implied(pending: PendingInteraction, *, stopping: bool) -> Disposition:
    """The outcome of an interaction in which nobody noted an error. disnake swallows the cancellation of a handler.

    ``stopping``: it was us who cancelled it.
    """
    inter: Any = pending.inter
    if pending.invocation.kind in COMMANDS:
        if inter.command_failed:
            return CANCELLED if stopping else lost(asyncio.CancelledError())
        if inter.application_command is MISSING:
            return UNKNOWN
    return FINE


def lost(error: BaseException) -> Disposition:
    """What a cancellation comes to that is not ours: a handler has cancelled something and waits for it."""
    return Disposition(Result.FAILED, type(error).__name__, error=error)


def finished(invocation: Invocation, outcome: Outcome) -> CommandFinished:
    return CommandFinished(
        guild=invocation.guild,
        invocation=invocation.id,
        kind=invocation.kind,
        name=invocation.name,
        user=invocation.actor.id,
        user_name=invocation.actor.name,
        result=outcome.result,
        took_ms=outcome.took_ms,
        channel=invocation.channel,
        shard=invocation.shard,
        reason=outcome.reason,
        error_id=outcome.error_id,
        error_type=outcome.error_type,
        retry_after_s=outcome.retry_after_s,
    )


def fields(invocation: Invocation) -> dict[str, Any]:
    """What a line of the log knows of an invocation."""
    return {
        "command": invocation.name,
        "guild": invocation.guild,
        "user": invocation.actor.id,
        "interaction": invocation.id,
    }
