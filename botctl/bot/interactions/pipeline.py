"""The path of every interaction: check access and limits, call the handler, record one outcome, answer.

disnake treats errors, cancellations and error handlers differently from case to case. `Pipeline.run` encloses all of
it: the first error is recorded where it happens, and the outcome is published once, before the answer is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from disnake.interactions import Interaction

from botctl.bot.commands.compiled import CompiledCommand, HandlerSpec
from botctl.bot.commands.policy import CommandPolicy
from botctl.bot.interactions.admission import CommandAdmission
from botctl.bot.interactions.answering import SPEAK_AT_S, Answering
from botctl.bot.interactions.arrivals import Arrivals
from botctl.bot.interactions.context import Context
from botctl.bot.interactions.decisions import (
    CANCELLED,
    DRAINING,
    TOO_LATE,
    Denied,
    Disposition,
    Throttled,
    TooLate,
    classify,
)
from botctl.bot.interactions.pending import (
    PendingInteraction,
    default_disposition,
    finished_event,
    log_fields,
    started_event,
    unexpected_cancellation,
)
from botctl.core.clock import Clock
from botctl.core.contracts.access import AccessControl
from botctl.core.contracts.audit_entry import entry_for
from botctl.core.contracts.events import Event
from botctl.core.contracts.invocation import (
    ANY_COMPONENT,
    COMPONENT_KINDS,
    Actor,
    Invocation,
    Kind,
    Outcome,
    Result,
    command_of,
    suggestions_policy,
)
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore, Limiter
from botctl.core.contracts.throttle import Limit
from botctl.core.driver_errors.failing_store import failing_store
from botctl.core.errors import ANYTHING
from botctl.core.ids import error_id

LEAVE_TO_OTHERS_S: Final = 1.0
"""How long another process may claim an interaction that this one would only refuse."""
_CANCEL_GRACE_S: Final = 1.0  # how long cancelled handlers may take to end
_TELL_LIMIT_S: Final = 2.0
_log = logging.getLogger(__name__)


class Pipeline:
    """Runs every interaction. A *policy* is the limits of a command and the roles that may use it.

    ``arrivals``: which interactions are handled at all. ``limits``: for names without a policy.
    ``suggestion_limits``: for requests for suggestions, per command. ``defer_after_s``: the age of an interaction at
    its automatic deferral. ``grace_s``: as `SPEAK_AT_S`; until then, all code that has the interaction may answer it,
    also after the handler has returned.
    """

    def __init__(
        self,
        *,
        publish: Callable[[Event], None],
        limiter: Limiter,
        auditor: Auditor,
        guilds: GuildSettingsStore,
        clock: Clock,
        access: AccessControl,
        arrivals: Arrivals | None = None,
        limits: tuple[Limit, ...] = (),
        suggestion_limits: tuple[Limit, ...] = (),
        defer_after_s: float = 2.0,
        grace_s: float = SPEAK_AT_S,
    ) -> None:
        self.policies: dict[tuple[Kind, str], CommandPolicy] = {}
        self.handlers: dict[tuple[Kind, str], HandlerSpec] = {}
        self._publish = publish
        self.admission = CommandAdmission(limiter, guilds, access, clock)
        self._auditor = auditor
        self._clock = clock
        self._default_policy = CommandPolicy(limits)
        self.suggestion_limits = suggestion_limits
        self._defer_after_s = defer_after_s
        self.arrivals = arrivals or Arrivals()
        self.answering = Answering(self.arrivals, clock, grace_s)
        self._methods: dict[HandlerSpec, Callable[..., Any]] = {}
        self._pending: dict[int, PendingInteraction] = {}
        self._by_token: dict[str, PendingInteraction] = {}
        self._draining = False
        self._invocation_ended = asyncio.Event()

    def register(self, command: CompiledCommand, methods: Mapping[HandlerSpec, Callable[..., Any]]) -> None:
        """Add ``command`` with its bound ``methods``, see `CompiledCommand.bind`."""
        self.policies |= command.policies
        self.handlers |= command.handlers
        self._methods |= methods

    def policy_of(self, kind: Kind, name: str) -> CommandPolicy:
        """Return the policy of a command, or of a component: that of its Command if its custom id is the Command's."""
        if kind in COMPONENT_KINDS and name.endswith(f":{ANY_COMPONENT}"):
            return self._default_policy  # a view: who may use it is decided in it
        command = command_of(kind, name)
        return self.policies.get(command, self._default_policy) if command else self._default_policy

    @property
    def in_flight(self) -> int:
        """Number of invocations that have no answer yet."""
        return len(self._pending)

    def describe_task(self, task: asyncio.Task[Any]) -> str | None:
        """Return what ``task`` runs: ``/roll``, ``roll:again``. Safe to call from any thread."""
        for pending in tuple(self._pending.values()):
            if task in (pending.task, pending.worker):
                slash = pending.invocation.kind is Kind.SLASH
                return f"/{pending.invocation.name}" if slash else pending.invocation.name
        return None

    def pending(self, inter: Interaction[Any]) -> PendingInteraction | None:
        """Return the record of ``inter`` while it is under way, else None."""
        return self._pending.get(inter.id)

    async def run(
        self,
        kind: Kind,
        name: str,
        inter: Interaction[Any],
        work: Callable[[PendingInteraction], Awaitable[None]],
        *,
        is_known: bool = True,
    ) -> None:
        """Take ``inter`` from its arrival to its outcome and answer; ``work`` hands it to disnake.

        ``is_known``: whether this process has the command; another version of the bot may have it.

        Raises CancelledError if the task was cancelled, after the outcome is published and the user answered.
        """
        if inter.id in self._pending:
            return
        pending = self._start(kind, name, inter)
        try:
            await self._run_if_unclaimed(pending, work, is_known=is_known)
        finally:
            del self._pending[inter.id], self._by_token[inter.token]
            self._invocation_ended.set()

    async def _run_if_unclaimed(
        self, pending: PendingInteraction, work: Callable[[PendingInteraction], Awaitable[None]], *, is_known: bool
    ) -> None:
        inter = pending.inter
        cancellation: asyncio.CancelledError | None = None
        try:
            if self._draining or not is_known:
                await self._leave_to_others(pending)
            if not await self.arrivals.claim(inter.id):
                return
        except asyncio.CancelledError as error:
            cancellation = error
        self._publish(started_event(pending.invocation))
        try:
            if cancellation is not None:
                raise cancellation
            if self._draining:
                pending.set_disposition(DRAINING)
            elif self.answering.is_dead(pending):
                pending.set_disposition(TOO_LATE)
            else:
                await work(pending)
        except asyncio.CancelledError as error:
            cancellation = error if self._cancelled_by_bot(pending) else None
            self.record_error(inter, error)
        except ANYTHING as error:  # a handler or a hook may raise anything
            self.record_error(inter, error)
        await self._complete(pending)
        if cancellation is not None:
            raise cancellation

    async def _leave_to_others(self, pending: PendingInteraction) -> None:
        """Let other processes claim ``pending`` while there is time to refuse it, or until a drain has ended."""
        left_s = min(LEAVE_TO_OTHERS_S, self.answering.grace_s - self.answering.age_s(pending))
        if left_s <= 0 or self.arrivals.is_alone:
            return
        pending.is_left_to_others = True
        self._invocation_ended.set()
        try:
            async with asyncio.timeout(left_s):
                await self.answering.hurry.wait()
        except TimeoutError:
            pass
        finally:
            pending.is_left_to_others = False

    async def admit(self, pending: PendingInteraction) -> None:
        """Check access, limits and age. Raises Denied, Throttled or TooLate if the handler must not be called."""
        await self.admission.admit(pending.invocation, pending.policy)
        if self.answering.is_dead(pending):  # a frozen host, or stores that took long
            raise TooLate

    async def admit_suggestions(self, command: str, inter: Interaction[Any]) -> bool:
        """Whether the user may get suggestions for an option of the slash command ``command``.

        The access is that of the command, the limits are their own. A refusal is not audited: there is one for each key
        that the user presses.
        """
        if self._draining:
            return False
        invocation = self._invocation(Kind.SLASH, command, inter)
        invocation.policy = suggestions_policy(command)
        policy = self.policy_of(Kind.SLASH, command)
        try:
            await self.admission.admit(invocation, replace(policy, limits=self.suggestion_limits))
        except (Denied, Throttled):
            return False
        return not self._draining

    async def call_handler(
        self, inter: Interaction[Any], handler_spec: HandlerSpec, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        """Call a method of a Command."""
        pending = self._pending[inter.id]
        pending.inter = inter  # disnake makes another object for a component; the handler answers that one
        pending.ctx = ctx = Context(inter, pending.invocation)
        if handler_spec.defer:
            ctx.defer_after(max(0.0, self._defer_after_s - self.answering.age_s(pending)), handler_spec.defer)
        try:
            await self._methods[handler_spec](ctx, *args, **options)
        except asyncio.CancelledError as error:  # disnake swallows it
            if self._cancelled_by_bot(pending):
                raise
            self.record_error(inter, error)
        finally:
            ctx.cancel_deferral()

    def record_error(self, inter: Interaction[Any], error: BaseException, *, author_notified: bool = False) -> None:
        """Record an error; the first decides the outcome. ``author_notified``: the author's error handler got it."""
        pending = self._pending.get(inter.id)
        if pending is None:
            _log.error("interaction %s raised an error after its end", inter.id, exc_info=error)
            return
        cancelled_by_handler = isinstance(error, asyncio.CancelledError) and not self._cancelled_by_bot(pending)
        disposition = unexpected_cancellation(error) if cancelled_by_handler else classify(error)
        pending.author_notified |= author_notified
        first = pending.set_disposition(disposition)
        if disposition.error is not None and disposition.error is not first.error:
            _log.error(
                "another error in %s", pending.invocation.name, exc_info=error, extra=log_fields(pending.invocation)
            )

    async def drain(self, limit_s: float) -> None:
        """Refuse new interactions, wait ``limit_s`` seconds, cancel the rest, and tell who waits for an answer.

        A cancelled `drain` cancels them at once.
        """
        self._draining = True
        try:
            async with asyncio.timeout(limit_s):
                await self._wait_until_idle(self._own)
                await self.answering.unanswered.wait_until_answered()
        except TimeoutError:
            if unfinished := len(self._own()):
                template = "commands that did not finish within %.0f s and are cancelled: %d"
                _log.warning(template, limit_s, unfinished)
        finally:
            self.answering.hurry.set()  # what is left to others is claimed now, and refused
            self._cancel_pending()
        for _ in range(2):  # disnake swallows the cancellation of a group, and goes on with its sub-command
            try:
                async with asyncio.timeout(_CANCEL_GRACE_S):
                    await self._wait_until_idle(self._pending.values)
            except TimeoutError:
                self._cancel_pending()
        for pending in self._pending.values():  # handlers that ignore the cancellation
            self._record_outcome(pending, CANCELLED)
        await self.answering.unanswered.tell_all(_TELL_LIMIT_S)

    def _cancelled_by_bot(self, pending: PendingInteraction) -> bool:
        """Whether a cancellation in ``pending`` comes from the bot, and not from the handler."""
        return self._draining or pending.task.cancelling() > 0

    def _own(self) -> list[PendingInteraction]:
        """The interactions that this process handles, or is about to claim."""
        return [pending for pending in self._pending.values() if not pending.is_left_to_others]

    async def _wait_until_idle(self, pending: Callable[[], Collection[PendingInteraction]]) -> None:
        """Wait until ``pending()`` is empty."""
        while pending():
            self._invocation_ended.clear()
            await self._invocation_ended.wait()

    def _cancel_pending(self) -> None:
        """Cancel the invocations that have no outcome yet."""
        for pending in self._own():
            if pending.invocation.outcome is None:  # the others are being answered
                pending.task.cancel()

    def _invocation(self, kind: Kind, name: str, inter: Interaction[Any]) -> Invocation:
        """Make the record of who did what; nothing is published."""
        author, guild, bot = inter.author, inter.guild_id, inter.bot
        get_role = getattr(author, "get_role", None) if guild and inter.guild else None
        return Invocation(
            id=str(inter.id),
            kind=kind,
            name=name,
            actor=Actor(str(author.id), author.name, get_role and (lambda role: get_role(int(role)))),
            at=self._clock.now(),
            started=self._clock.monotonic(),
            guild=str(guild) if guild else None,
            channel=str(inter.channel.id),
            locale=inter.locale.value,
            shard=(guild >> 22) % bot.shard_count if guild and bot.shard_count else 0,  # Discord: Gateway > Sharding
        )

    def _start(self, kind: Kind, name: str, inter: Interaction[Any]) -> PendingInteraction:
        """Make and keep the record of a new interaction. Nothing is published: another process may have claimed it."""
        invocation = self._invocation(kind, name, inter)
        policy = self.policy_of(kind, name)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine always runs in one
        pending = PendingInteraction(invocation, inter, policy, task)
        self._pending[inter.id] = self._by_token[inter.token] = pending
        return pending

    def heard_follow_up(self, token: str) -> None:
        """Note that an answer after a deferral was sent with the interaction's ``token``."""
        self.answering.unanswered.answered(token)
        if (pending := self._by_token.get(token)) is not None:
            pending.followed_up = True

    async def _complete(self, pending: PendingInteraction) -> None:
        """Decide and record the outcome, and answer where the handler did not."""
        disposition = pending.set_disposition(default_disposition(pending, stopping=self._cancelled_by_bot(pending)))
        outcome = self._record_outcome(pending, disposition)
        await self.answering.answer(pending, disposition, outcome)

    def _record_outcome(self, pending: PendingInteraction, disposition: Disposition) -> Outcome:
        """Log, publish and audit the outcome. There is no await, so no other task runs in between."""
        invocation = pending.invocation
        took_ms = (self._clock.monotonic() - invocation.started) * 1000
        error_number = error_id() if disposition.result is Result.FAILED else None
        outcome = disposition.outcome(took_ms, error_number)
        if not invocation.finish(outcome):
            return invocation.outcome or outcome
        if disposition.error is not None:
            extra = log_fields(invocation) | {"error_id": error_number}
            if sentence := failing_store(disposition.error):
                _log.error("%s failed, error id %s: %s", invocation.name, error_number, sentence, extra=extra)
            else:
                trace = disposition.error
                _log.error("%s failed, error id %s", invocation.name, error_number, exc_info=trace, extra=extra)
        self._publish(finished_event(invocation, outcome))
        self._auditor.record(entry_for(invocation, outcome))
        return outcome
