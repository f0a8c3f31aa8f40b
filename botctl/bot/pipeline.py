"""One Invocation per interaction: measured, authorised, throttled, handled, and brought to one Outcome.

What disnake does with an error, a cancellation or a truthy local handler differs from case to case. Here it does not
matter: `run` encloses all of it, the first thing that goes wrong is noted where it happens, and the outcome is told
once, before the person is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from disnake.interactions import Interaction

from botctl.bot import responses
from botctl.bot.compiled import CompiledCommand, HandlerSpec
from botctl.bot.context import Context
from botctl.bot.decisions import (
    CANCELLED,
    DRAINING,
    EXPIRED,
    CommandPolicy,
    Disposition,
    RoleBook,
    Throttled,
    classify,
    refusal,
)
from botctl.bot.pending import Failures, PendingInteraction, fields, finished, implied, lost
from botctl.core.clock import Clock
from botctl.core.contracts.audit_entry import entry_for
from botctl.core.contracts.events import CommandStarted, Event
from botctl.core.contracts.guild_settings import DEFAULTS, GuildSettings
from botctl.core.contracts.invocation import Actor, Invocation, Kind, Outcome, Result
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore, Limiter
from botctl.core.contracts.throttle import Limit
from botctl.core.errors import ANYTHING
from botctl.core.ids import error_id

DECISION_S: Final = 1.0
"""How long a store may keep a command waiting; Discord gives up after 3 s."""
MAX_KNOWN: Final = 10_000
"""Guilds whose settings hold while no store answers: those that set something, and were heard of last."""
_LAST_WORDS_S: Final = 1.0
_log = logging.getLogger(__name__)


class Pipeline:
    """The way of every interaction. ``policies`` by full command name, ``handlers`` by the prefix of custom ids."""

    def __init__(
        self,
        *,
        publish: Callable[[Event], None],
        limiter: Limiter,
        auditor: Auditor,
        guilds: GuildSettingsStore,
        clock: Clock,
        roles: RoleBook,
        limits: tuple[Limit, ...] = (),
        defer_after_s: float = 2.0,
        grace_s: float = 2.0,
    ) -> None:
        self.policies: dict[str, CommandPolicy] = {}
        self.handlers: dict[tuple[Kind, str], HandlerSpec] = {}
        self.limiter_failures = Failures("a rate limit could not be asked, the command goes on")
        self.settings_failures = Failures("guild settings could not be read, the last known or the defaults hold")
        self._publish = publish
        self._limiter = limiter
        self._auditor = auditor
        self._guilds = guilds
        self._clock = clock
        self._roles = roles
        self._default = CommandPolicy(limits)
        self._defer_after_s = defer_after_s
        self.grace_s = grace_s
        self._methods: dict[HandlerSpec, Callable[..., Any]] = {}
        self._pending: dict[int, PendingInteraction] = {}
        self._known: dict[str, GuildSettings] = {}
        self._draining = False
        self._one_ended = asyncio.Event()

    def register(self, command: CompiledCommand, methods: Mapping[HandlerSpec, Callable[..., Any]]) -> None:
        """Let ``command`` be used; ``methods`` are those of its handlers, bound to what `CompiledCommand.bind` made."""
        self.policies |= command.policies
        self.handlers |= command.handlers
        self._methods |= methods

    def policy_of(self, name: str) -> CommandPolicy:
        """What holds for the command, or the component of one, that is called ``name``."""
        return self.policies.get(name) or self.policies.get(name.partition(":")[0], self._default)

    @property
    def in_flight(self) -> int:
        """Invocations that have not been answered yet."""
        return len(self._pending)

    def doing(self, task: asyncio.Task[Any]) -> str | None:
        """What ``task`` does, as people would call it: ``/roll``, ``roll:again``. Any thread may ask."""
        for pending in tuple(self._pending.values()):
            if task in (pending.task, pending.worker):
                slash = pending.invocation.kind is Kind.SLASH
                return f"/{pending.invocation.name}" if slash else pending.invocation.name
        return None

    def pending(self, inter: Interaction[Any]) -> PendingInteraction | None:
        """``inter`` on its way through the pipeline; None when it is not."""
        return self._pending.get(inter.id)

    async def run(
        self, kind: Kind, name: str, inter: Interaction[Any], work: Callable[[PendingInteraction], Awaitable[None]]
    ) -> None:
        """Take ``inter`` from its arrival to its outcome and answer; ``work`` does what disnake does with it.

        Raises:
            CancelledError: the task was cancelled; the outcome is told and the person answered all the same.
        """
        if inter.id in self._pending:  # Discord may deliver an event again after a RESUME
            return
        pending = self._begin(kind, name, inter)
        stopped: asyncio.CancelledError | None = None
        try:
            if self._draining:
                pending.set_disposition(DRAINING)
            else:
                await work(pending)
        except asyncio.CancelledError as error:
            stopped = error if self._stopping(pending) else None
            self.note(inter, error)
        except ANYTHING as error:  # whatever a handler or a hook raises is its outcome
            self.note(inter, error)
        try:
            await self._conclude(pending)
        finally:
            del self._pending[inter.id]
            self._one_ended.set()
        if stopped is not None:
            raise stopped

    async def admit(self, pending: PendingInteraction) -> None:
        """The decision: authorise, then throttle.

        Raises:
            Denied, Throttled: the handler must not be entered.
        """
        settings: GuildSettings | None = None
        try:
            async with asyncio.timeout(DECISION_S):
                settings = await self._settings(pending.invocation.guild)
                _authorise(pending, settings)
                await self._throttle(pending)
        except TimeoutError as error:  # the store's own were dealt with inside
            if settings is None:
                self.settings_failures.add(error, self._clock.monotonic())
                _authorise(pending, self._last_known(pending.invocation.guild))
            else:
                self.limiter_failures.add(error, self._clock.monotonic())

    async def perform(
        self, inter: Interaction[Any], handler_spec: HandlerSpec, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        """Call a method of a Command."""
        pending = self._pending[inter.id]
        pending.inter = inter  # for components disnake makes an object of its own, and this is the one that is answered
        pending.ctx = ctx = Context(inter, pending.invocation)
        if handler_spec.defer:
            elapsed_s = self._clock.monotonic() - pending.invocation.started
            ctx.defer_after(max(0.0, self._defer_after_s - elapsed_s), handler_spec.defer)
        try:
            await self._methods[handler_spec](ctx, *args, **options)
        except asyncio.CancelledError as error:  # disnake would swallow it
            if self._stopping(pending):
                raise
            self.note(inter, error)
        finally:
            ctx.stop_deferral()

    def note(self, inter: Interaction[Any], error: BaseException, *, author_notified: bool = False) -> None:
        """Something went wrong. The first to be noted is the outcome; what follows from it is only logged."""
        pending = self._pending.get(inter.id)
        if pending is None:
            _log.error("interaction %s failed after its end", inter.id, exc_info=error)
            return
        foreign = isinstance(error, asyncio.CancelledError) and not self._stopping(pending)
        disposition = lost(error) if foreign else classify(error)
        pending.author_notified |= author_notified
        first = pending.set_disposition(disposition)
        if disposition.error is not None and disposition.error is not first.error:
            _log.error("another error in %s", pending.invocation.name, exc_info=error, extra=fields(pending.invocation))

    async def drain(self, limit_s: float) -> None:
        """Refuse what comes from now on, let what is under way finish within ``limit_s``, then cancel the rest.

        Whoever is cancelled is told so. When the drain itself is cancelled, the rest is cancelled at once.
        """
        self._draining = True
        try:
            async with asyncio.timeout(limit_s):
                await self._empty()
        except TimeoutError:
            _log.warning("commands that did not finish within %.0f s, and are stopped: %d", limit_s, self.in_flight)
        finally:
            self._cancel()
        for _ in range(2):  # a command group that is cancelled goes on with its sub-command: disnake swallows the first
            try:
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self._empty()
            except TimeoutError:
                self._cancel()
        for pending in self._pending.values():  # it cannot be stopped, but it is accounted for
            self._finish(pending, CANCELLED)

    def _stopping(self, pending: PendingInteraction) -> bool:
        """Whether a cancellation in ``pending`` comes from us, and not from its handler."""
        return self._draining or pending.task.cancelling() > 0

    async def _empty(self) -> None:
        while self._pending:
            self._one_ended.clear()
            await self._one_ended.wait()

    def _cancel(self) -> None:
        for pending in self._pending.values():
            if pending.invocation.outcome is None:  # the others are being answered already
                pending.task.cancel()

    def _begin(self, kind: Kind, name: str, inter: Interaction[Any]) -> PendingInteraction:
        author, guild, bot = inter.author, inter.guild_id, inter.bot
        has_role = getattr(author, "get_role", None) if guild and inter.guild else None
        invocation = Invocation(
            id=str(inter.id),
            kind=kind,
            name=name,
            actor=Actor(str(author.id), author.name, self._roles.of(author.id, has_role)),
            at=self._clock.now(),
            started=self._clock.monotonic(),
            guild=str(guild) if guild else None,
            channel=str(inter.channel.id),
            locale=inter.locale.value,
            shard=(guild >> 22) % bot.shard_count if guild and bot.shard_count else 0,  # Discord: Gateway > Sharding
        )
        policy = self.policy_of(name)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine always runs in one
        pending = self._pending[inter.id] = PendingInteraction(invocation, inter, policy, task)
        self._publish(
            CommandStarted(
                guild=invocation.guild,
                invocation=invocation.id,
                kind=kind,
                name=name,
                user=invocation.actor.id,
                channel=invocation.channel,
                shard=invocation.shard,
            )
        )
        return pending

    async def _settings(self, guild: str | None) -> GuildSettings:
        if guild is None:
            return DEFAULTS
        try:
            settings = await self._guilds.get(guild)
        except Exception as error:  # noqa: BLE001  a store that is down must not stop the bot
            self.settings_failures.add(error, self._clock.monotonic())
            return self._last_known(guild)
        self._remember(guild, settings)
        return settings

    def _remember(self, guild: str, settings: GuildSettings) -> None:
        """What was switched off stays so without stores. The store's own cache forgets when Redis is away, this not."""
        self._known.pop(guild, None)
        if settings != DEFAULTS:
            self._known[guild] = settings
            if len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]

    def _last_known(self, guild: str | None) -> GuildSettings:
        return self._known.get(guild or "", DEFAULTS)

    async def _throttle(self, pending: PendingInteraction) -> None:
        limits = pending.policy.limits
        if not limits:
            return
        try:
            verdict = await self._limiter.check(pending.invocation, limits)
        except Exception as error:  # noqa: BLE001  a store that is down must not stop the bot
            self.limiter_failures.add(error, self._clock.monotonic())
            return
        if not verdict.allowed:
            raise Throttled(verdict)

    async def _conclude(self, pending: PendingInteraction) -> None:
        disposition = pending.set_disposition(implied(pending, stopping=self._stopping(pending)))
        outcome = self._finish(pending, disposition)
        if disposition is EXPIRED:
            took_s = outcome.took_ms / 1000
            words = "%s expired: the bot had it for %.1f s, and Discord waits 3 s for a first answer"
            _log.warning(words, pending.invocation.name, took_s, extra=fields(pending.invocation))
            return
        if pending.helpers:
            await asyncio.wait(pending.helpers, timeout=self.grace_s)
        elapsed_s = self._clock.monotonic() - pending.invocation.started
        grace_s = max(0.0, self.grace_s - elapsed_s) if pending.ctx is None else 0.0
        locale = pending.invocation.locale
        try:
            if disposition.say is None and disposition.result is Result.OK:
                await responses.settle(pending.inter, pending.ctx, locale, grace_s=grace_s)
            else:
                text = responses.sentence(disposition, locale, outcome.error_id, self._clock.now())
                await responses.tell(pending, text)
        except responses.UNANSWERABLE as error:
            _log.warning("%s got no answer: %s", pending.invocation.name, error, extra=fields(pending.invocation))

    def _finish(self, pending: PendingInteraction, disposition: Disposition) -> Outcome:
        """Tell the outcome to the log, the bus and the audit. Nothing here waits, so nothing can come in between."""
        invocation = pending.invocation
        took_ms = (self._clock.monotonic() - invocation.started) * 1000
        number = error_id() if disposition.result is Result.FAILED else None
        outcome = disposition.outcome(took_ms, number)
        if not invocation.finish(outcome):
            return invocation.outcome or outcome
        if disposition.error is not None:
            extra = fields(invocation) | {"error_id": number}
            _log.error("%s failed, error id %s", invocation.name, number, exc_info=disposition.error, extra=extra)
        self._publish(finished(invocation, outcome))
        self._auditor.record(entry_for(invocation, outcome))
        return outcome


def _authorise(pending: PendingInteraction, settings: GuildSettings) -> None:
    """Raise Denied where the person may not. It needs no store, so it never fails open."""
    if settings.locale:
        pending.invocation.locale = settings.locale
    denied = refusal(pending.invocation, pending.policy, settings)
    if denied:
        raise denied
