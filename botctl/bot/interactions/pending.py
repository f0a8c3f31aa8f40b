"""Interactions under way, and what is logged and published about them. Their *disposition*: how they ended."""

from __future__ import annotations

import asyncio
import sys
import weakref
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

from disnake import InteractionResponseType
from disnake.interactions import Interaction
from disnake.utils import MISSING

from botctl.bot.commands.policy import CommandPolicy
from botctl.bot.interactions.context import Context
from botctl.bot.interactions.decisions import CANCELLED, SUCCESS, UNKNOWN, Disposition
from botctl.core.contracts.events import CommandFinished, CommandStarted
from botctl.core.contracts.invocation import Invocation, Kind, Outcome, Result

COMMAND_KINDS: Final = frozenset({Kind.SLASH, Kind.USER, Kind.MESSAGE})


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
    is_left_to_others: bool = False  # another process may claim it, since this one would only refuse it
    followed_up: bool = False  # an answer was sent after a deferral
    context: weakref.ref[Context] | None = None  # the author's, after `release_context`

    def adopt(self, inter: Interaction[Any]) -> None:
        """Answer through ``inter`` from now on: disnake's object for the component that this task handles."""
        self.inter = inter
        self.worker = asyncio.current_task()

    @property
    def is_deferred(self) -> bool:
        """Whether the user sees "thinking…", as far as it is known without asking Discord."""
        if self.inter.response.type is not InteractionResponseType.deferred_channel_message or self.followed_up:
            return False
        return self.ctx is None or self.ctx.thinking

    async def release_context(self) -> bool:
        """Let go of the author's `Context`, now that the handler has returned. Whether an answer may still come.

        It cannot if no other code has the context, or disnake's interaction. A disnake cog has the interaction itself.
        """
        if self.ctx is None:
            return True
        await self.ctx.wait_for_deferral()
        self.context, shared = weakref.ref(self.ctx), self.ctx.shared
        self.ctx = self.ctx.successor()
        return shared or self.context() is not None

    @property
    def is_held(self) -> bool:
        """Whether other code than botctl's has the interaction, after its task has ended: it may still answer.

        disnake's interaction is in a circle with its response, so the references to it are counted.
        """
        if self.context is not None and self.context() is not None:
            return True
        if hasattr(self.inter, "_cs_followup"):  # works without the interaction
            return True
        own = 1 if self.ctx is None else 2
        return sys.getrefcount(self.inter) > _REFERENCES + own

    def set_disposition(self, disposition: Disposition) -> Disposition:
        """Set the disposition unless there is one; return the one that counts."""
        if self.disposition is None:
            self.disposition = disposition
            self.was_answered = self.inter.response.is_done()
        return self.disposition


def forget_original(inter: Interaction[Any]) -> None:
    """Drop the copy of the first answer, which disnake keeps for ever once it was fetched, and never updates.

    It refers back to ``inter``, so it would count as code that has the interaction.
    """
    inter._original_response = None  # noqa: SLF001


def _count_references() -> int:
    """What `sys.getrefcount` says of ``self.inter`` in addition to all references but that of its response."""
    pending = SimpleNamespace(inter=object())
    return sys.getrefcount(pending.inter)


_REFERENCES: Final = _count_references()


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


def started_event(invocation: Invocation) -> CommandStarted:
    return CommandStarted(
        guild=invocation.guild,
        invocation=invocation.id,
        kind=invocation.kind,
        name=invocation.name,
        user=invocation.actor.id,
        channel=invocation.channel,
        shard=invocation.shard,
    )


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
