"""One Invocation per interaction: measured, authorised, throttled, handled, and brought to one Outcome.

What disnake does with an error, a cancellation or a truthy local handler differs from case to case. Here it does not
matter: `run` encloses all of it, the first thing that goes wrong is noted where it happens, and the outcome is told
once, before the person is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from disnake.interactions import Interaction

from botctl.bot import responses
from botctl.bot.compiled import Leaf
from botctl.bot.context import Context
from botctl.bot.decisions import CANCELLED, DRAINING, EXPIRED, Judgement, RoleBook, Rules, Throttled, judge, refusal
from botctl.bot.pending import Failures, Flight, fields, finished, implied, lost
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
    """The way of every interaction. ``rules`` by full command name, ``handlers`` by the prefix of custom ids."""

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
        self.rules: dict[str, Rules] = {}
        self.handlers: dict[tuple[Kind, str], Leaf] = {}
        self.limiter_failures = Failures("a rate limit could not be asked, the command goes on")
        self.settings_failures = Failures("guild settings could not be read, the last known or the defaults hold")
        self._publish = publish
        self._limiter = limiter
        self._auditor = auditor
        self._guilds = guilds
        self._clock = clock
        self._roles = roles
        self._default = Rules(limits)
        self._defer_after_s = defer_after_s
        self.grace_s = grace_s
        self._flights: dict[int, Flight] = {}
        self._known: dict[str, GuildSettings] = {}
        self._draining = False
        self._landed = asyncio.Event()

    def rules_of(self, name: str) -> Rules:
        """What holds for the command, or the component of one, that is called ``name``."""
        return self.rules.get(name) or self.rules.get(name.partition(":")[0], self._default)

    @property
    def in_flight(self) -> int:
        """Invocations that have not been answered yet."""
        return len(self._flights)

    def doing(self, task: asyncio.Task[Any]) -> str | None:
        """What ``task`` does, as people would call it: ``/roll``, ``roll:again``. Any thread may ask."""
        for flight in tuple(self._flights.values()):
            if task in (flight.task, flight.worker):
                slash = flight.invocation.kind is Kind.SLASH
                return f"/{flight.invocation.name}" if slash else flight.invocation.name
        return None

    def flight(self, inter: Interaction[Any]) -> Flight | None:
        """The flight of ``inter``, while it is under way."""
        return self._flights.get(inter.id)

    async def run(
        self, kind: Kind, name: str, inter: Interaction[Any], work: Callable[[Flight], Awaitable[None]]
    ) -> None:
        """Take ``inter`` from its arrival to its outcome and answer; ``work`` does what disnake does with it.

        Raises:
            CancelledError: the task was cancelled; the outcome is told and the person answered all the same.
        """
        if inter.id in self._flights:  # Discord may deliver an event again after a RESUME
            return
        flight = self._begin(kind, name, inter)
        stopped: asyncio.CancelledError | None = None
        try:
            if self._draining:
                flight.judge(DRAINING)
            else:
                await work(flight)
        except asyncio.CancelledError as error:
            stopped = error if self._stopping(flight) else None
            self.note(inter, error)
        except ANYTHING as error:  # whatever a handler or a hook raises is its outcome
            self.note(inter, error)
        try:
            await self._land(flight)
        finally:
            del self._flights[inter.id]
            self._landed.set()
        if stopped is not None:
            raise stopped

    async def admit(self, flight: Flight) -> None:
        """The decision: authorise, then throttle.

        Raises:
            Denied, Throttled: the handler must not be entered.
        """
        settings: GuildSettings | None = None
        try:
            async with asyncio.timeout(DECISION_S):
                settings = await self._settings(flight.invocation.guild)
                _authorise(flight, settings)
                await self._throttle(flight)
        except TimeoutError as error:  # the store's own were dealt with inside
            if settings is None:
                self.settings_failures.add(error, self._clock.monotonic())
                _authorise(flight, self._last_known(flight.invocation.guild))
            else:
                self.limiter_failures.add(error, self._clock.monotonic())

    async def perform(
        self, inter: Interaction[Any], leaf: Leaf, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        """Call a method of a Command."""
        flight = self._flights[inter.id]
        flight.inter = inter  # for components disnake makes an object of its own, and this is the one that is answered
        flight.ctx = ctx = Context(inter, flight.invocation)
        if leaf.defer:
            elapsed_s = self._clock.monotonic() - flight.invocation.started
            ctx.defer_after(max(0.0, self._defer_after_s - elapsed_s), leaf.defer)
        try:
            await leaf.run(ctx, *args, **options)
        except asyncio.CancelledError as error:  # disnake would swallow it
            if self._stopping(flight):
                raise
            self.note(inter, error)
        finally:
            ctx.stop_deferral()

    def note(self, inter: Interaction[Any], error: BaseException, *, heeded: bool = False) -> None:
        """Something went wrong. The first to be noted is the outcome; what follows from it is only logged."""
        flight = self._flights.get(inter.id)
        if flight is None:
            _log.error("interaction %s failed after its end", inter.id, exc_info=error)
            return
        foreign = isinstance(error, asyncio.CancelledError) and not self._stopping(flight)
        judgement = lost(error) if foreign else judge(error)
        flight.heeded |= heeded
        first = flight.judge(judgement)
        if judgement.error is not None and judgement.error is not first.error:
            _log.error("another error in %s", flight.invocation.name, exc_info=error, extra=fields(flight.invocation))

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
        for flight in self._flights.values():  # it cannot be stopped, but it is accounted for
            self._finish(flight, CANCELLED)

    def _stopping(self, flight: Flight) -> bool:
        """Whether a cancellation in ``flight`` comes from us, and not from its handler."""
        return self._draining or flight.task.cancelling() > 0

    async def _empty(self) -> None:
        while self._flights:
            self._landed.clear()
            await self._landed.wait()

    def _cancel(self) -> None:
        for flight in self._flights.values():
            if flight.invocation.outcome is None:  # the others are being answered already
                flight.task.cancel()

    def _begin(self, kind: Kind, name: str, inter: Interaction[Any]) -> Flight:
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
        rules = self.rules_of(name)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine always runs in one
        flight = self._flights[inter.id] = Flight(invocation, inter, rules, task)
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
        return flight

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

    async def _throttle(self, flight: Flight) -> None:
        limits = flight.rules.limits
        if not limits:
            return
        try:
            verdict = await self._limiter.check(flight.invocation, limits)
        except Exception as error:  # noqa: BLE001  a store that is down must not stop the bot
            self.limiter_failures.add(error, self._clock.monotonic())
            return
        if not verdict.allowed:
            raise Throttled(verdict)

    async def _land(self, flight: Flight) -> None:
        judgement = flight.judge(implied(flight, stopping=self._stopping(flight)))
        outcome = self._finish(flight, judgement)
        if judgement is EXPIRED:
            took_s = outcome.took_ms / 1000
            words = "%s expired: the bot had it for %.1f s, and Discord waits 3 s for a first answer"
            _log.warning(words, flight.invocation.name, took_s, extra=fields(flight.invocation))
            return
        if flight.helpers:
            await asyncio.wait(flight.helpers, timeout=self.grace_s)
        elapsed_s = self._clock.monotonic() - flight.invocation.started
        grace_s = max(0.0, self.grace_s - elapsed_s) if flight.ctx is None else 0.0
        locale = flight.invocation.locale
        try:
            if judgement.say is None and judgement.result is Result.OK:
                await responses.settle(flight.inter, flight.ctx, locale, grace_s=grace_s)
            else:
                text = responses.sentence(judgement, locale, outcome.error_id, self._clock.now())
                told = flight.heeded or not flight.answered
                await responses.tell(flight.inter, flight.ctx, text, told=told)
        except responses.UNANSWERABLE as error:
            _log.warning("%s got no answer: %s", flight.invocation.name, error, extra=fields(flight.invocation))

    def _finish(self, flight: Flight, judgement: Judgement) -> Outcome:
        """Tell the outcome to the log, the bus and the audit. Nothing here waits, so nothing can come in between."""
        invocation = flight.invocation
        took_ms = (self._clock.monotonic() - invocation.started) * 1000
        number = error_id() if judgement.result is Result.FAILED else None
        outcome = judgement.outcome(took_ms, number)
        if not invocation.finish(outcome):
            return invocation.outcome or outcome
        if judgement.error is not None:
            extra = fields(invocation) | {"error_id": number}
            _log.error("%s failed, error id %s", invocation.name, number, exc_info=judgement.error, extra=extra)
        self._publish(finished(invocation, outcome))
        self._auditor.record(entry_for(invocation, outcome))
        return outcome


def _authorise(flight: Flight, settings: GuildSettings) -> None:
    """Raise Denied where the person may not. It needs no store, so it never fails open."""
    if settings.locale:
        flight.invocation.locale = settings.locale
    denied = refusal(flight.invocation, flight.rules, settings)
    if denied:
        raise denied
