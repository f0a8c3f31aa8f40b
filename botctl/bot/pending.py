"""Interactions under way, and what is logged and published about them. Their *disposition*: how they ended."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Final

from disnake.interactions import Interaction
from disnake.utils import MISSING

from botctl.bot.context import Context
from botctl.bot.decisions import CANCELLED, SUCCESS, UNKNOWN, CommandPolicy, Disposition
from botctl.core.contracts.events import CommandFinished
from botctl.core.contracts.invocation import Invocation, Kind, Outcome, Result

COMMAND_KINDS: Final = frozenset({Kind.SLASH, Kind.USER, Kind.MESSAGE})
_LOG_INTERVAL_S: Final = 60.0
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class PendingInteraction:
    """An interaction from its arrival until it is answered."""

    invocation: Invocation  # what is published and audited
    inter: Interaction[Any]  # disnake's object, which sends the answer
    policy: CommandPolicy
    task: asyncio.Task[Any]  # runs the pipeline
    worker: asyncio.Task[Any] | None = None  # runs disnake's part of a component
    disposition: Disposition | None = None  # of the first error
    was_answered: bool = False  # before that error
    author_notified: bool = False  # an error handler of the author got the error, and may have answered
    ctx: Context | None = None  # None in a disnake cog
    error_listeners: set[asyncio.Task[Any]] = field(default_factory=set)  # tasks of the author's error listeners

    def adopt(self, inter: Interaction[Any]) -> None:
        """Answer through ``inter`` from now on: disnake's object for the component that this task handles."""
        self.inter = inter
        self.worker = asyncio.current_task()

    def set_disposition(self, disposition: Disposition) -> Disposition:
        """Set the disposition unless there is one; return the one that counts."""
        if self.disposition is None:
            self.disposition = disposition
            self.was_answered = self.inter.response.is_done()
        return self.disposition


@dataclass(slots=True)
class FailureCounter:
    """Counts failures of a store, and logs ``message`` with one of them at most every `_LOG_INTERVAL_S`."""

    message: str
    count: int = 0
    _logged_at: float = float("-inf")

    def record(self, error: Exception, now: float) -> None:
        """Count a failure at ``now`` (seconds, monotonic)."""
        self.count += 1
        if now - self._logged_at >= _LOG_INTERVAL_S:
            self._logged_at = now
            _log.warning("%s (so far: %d): %s: %s", self.message, self.count, type(error).__name__, error)


def default_disposition(pending: PendingInteraction, *, stopping: bool) -> Disposition:
    """Return the disposition of ``pending`` when no error was recorded, since disnake hides cancellations.

    ``stopping``: a cancellation comes from the bot.
    """
    inter: Any = pending.inter
    if pending.invocation.kind in COMMAND_KINDS:
        if inter.command_failed:
            return CANCELLED if stopping else unexpected_cancellation(asyncio.CancelledError())
        if inter.application_command is MISSING:
            return UNKNOWN
    return SUCCESS


def unexpected_cancellation(error: BaseException) -> Disposition:
    """Return the disposition when the handler awaited a cancelled task: the bot did not cause it."""
    return Disposition(Result.FAILED, type(error).__name__, error=error)


def finished_event(invocation: Invocation, outcome: Outcome) -> CommandFinished:
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


def log_fields(invocation: Invocation) -> dict[str, Any]:
    """Return the log fields of an invocation."""
    return {
        "command": invocation.name,
        "guild": invocation.guild,
        "user": invocation.actor.id,
        "interaction": invocation.id,
    }
