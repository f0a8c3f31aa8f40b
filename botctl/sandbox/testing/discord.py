"""What the fixture ``discord`` gives: the way from a test to its Discord."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import disnake

from botctl.core.errors import UsageError
from botctl.sandbox.actions import world_changes
from botctl.sandbox.model.actor import Actor
from botctl.sandbox.model.interactions import Interaction, State
from botctl.sandbox.model.limits import LENIENT, Limits
from botctl.sandbox.server import Sandbox
from botctl.sandbox.testing.calls import REFUSED, Calls
from botctl.sandbox.testing.failures import Failed, NoAnswer, plainly
from botctl.sandbox.testing.handlers import Errors, Handlers
from botctl.sandbox.testing.notifier import News
from botctl.sandbox.testing.people import Member
from botctl.sandbox.testing.places import Guild
from botctl.sandbox.testing.replies import Reply

_LAST_S = 0.5  # for handlers that still run when a test begins or ends


class Discord:
    """A Discord of one test, with the bot in it.

    ``patience_s`` is how long people wait for what the bot has not promised within Discord's own 3 s: the edit of
    “thinking…”, a follow-up, an answer to a message. ``sandbox`` is all the rest, for those who look inside.
    """

    def __init__(self, sandbox: Sandbox, bot: disnake.Client, calls: Calls, errors: Errors, news: News) -> None:
        self.sandbox = sandbox
        self.bot = bot
        self.calls = calls
        self.errors = errors
        self.patience_s = 5.0
        self._handlers = Handlers(bot, sandbox)
        self._news = news

    @property
    def application_id(self) -> str:
        """The bot's."""
        return next(iter(self.sandbox.access.tokens.values()))

    def guild(self, name: str | None = None, *, id: int | str | None = None) -> Guild:  # noqa: A002 - as elsewhere
        """The guild of this name or id, made and joined by the bot when there is none; without either the first one."""
        __tracebackhide__ = True
        wanted, known_id = (name or "").casefold(), None if id is None else str(id)
        for one in self.sandbox.world.guilds.values():
            if known_id == one.id or (known_id is None and (name is None or wanted == one.name.casefold())):
                return Guild(self, one.id)
        said = {"name": name or f"Guild {known_id}", "id": known_id}
        return Guild(self, str(plainly(lambda: world_changes.apply(self.sandbox, "add_guild", said))["id"]))

    async def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Let time pass in Discord: deadlines, tokens, timeouts, limits. The bot's own sleeps are not shortened."""
        passed = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        plainly(lambda: self.sandbox.clock.advance(passed.total_seconds()))
        await self.settled()

    def limits(self, **limits: Any) -> None:
        """From now on Discord's limits hold, with these changed: ``invalid_requests=20``. Until then they do not."""
        self.sandbox.limits = plainly(lambda: Limits(concurrency_s=LENIENT.concurrency_s).but(limits))

    @asynccontextmanager
    async def incident(self, name: str, **settings: Any) -> AsyncIterator[None]:
        """While the block runs, it is one of Discord's bad days: one that `botctl sandbox incident` knows."""
        incidents = self.sandbox.incidents
        try:
            await incidents.start(name, **settings)
        except UsageError as error:
            raise Failed(f"{error} {error.hint or ''}".strip()) from None
        try:
            yield
        finally:
            await incidents.stop(name)

    async def settled(self) -> None:
        """Wait until the bot has heard of everything and no handler of it is at work (for “it says nothing”)."""
        __tracebackhide__ = True
        await self.waited(self._handlers.idle, "did not come to rest")

    async def until(self, condition: Callable[[], bool], what: str = "did not do what was waited for") -> None:
        """Wait until ``condition`` holds; ``what`` says after “The bot” why the test fails otherwise."""
        __tracebackhide__ = True
        await self.waited(condition, what)

    async def waited(self, condition: Callable[[], bool], what: str, asked: Interaction | None = None) -> None:
        """`until`, and over at once when the handler of ``asked`` raises."""
        __tracebackhide__ = True
        if not await self._news.until(lambda: condition() or self._raised(asked), self.patience_s):
            raise NoAnswer(f"The bot {what} within {self.patience_s:g} s.{self._refused(asked)}")
        if not condition() and asked is not None:
            self.errors.check(asked.id, where=f", and {what}.")

    async def ask(self, who: Member, what: str, act: Callable[[Actor], Interaction]) -> Reply:
        """Put an act of ``who`` to the bot, and wait for its answer."""
        __tracebackhide__ = True
        asked = plainly(lambda: act(who.actor))
        await self.answered(asked, what, patient=who.patient)
        return Reply(self, who, asked)

    async def answered(self, asked: Interaction, what: str, *, patient: bool) -> None:
        """Wait for the answer to ``asked``; fails when there is none in time, or its handler raises instead."""
        __tracebackhide__ = True
        limit_s = self.sandbox.limits.response_s
        if not await self._news.until(lambda: asked.state is not State.WAITING or self._raised(asked), limit_s):
            raise NoAnswer(f"The bot did not answer {what} within {limit_s:g} s.{self._refused(asked)}")
        if asked.state is State.WAITING:
            self.errors.check(asked.id, where=f", and did not answer {what}.")
        if patient:
            await self.waited(lambda: self._seen(asked), f"acknowledged {what} and said no more", asked)

    async def began(self) -> None:
        """The bot has started: what came before does not belong to the test."""
        await self._news.until(self._handlers.idle, _LAST_S)
        self._handlers.begin()
        self.calls.clear()

    async def ended(self) -> None:
        """The test is over: the handlers may finish what they are at."""
        await self._news.until(self._handlers.idle, _LAST_S)

    def _seen(self, asked: Interaction) -> bool:
        """Is there what the person waits for? A click may be acknowledged without anything to see."""
        return asked.final or (asked.state is State.DEFERRED_UPDATE and self._handlers.idle())

    def _raised(self, asked: Interaction | None) -> bool:
        return asked is not None and self.errors.of(asked.id)

    def _refused(self, asked: Interaction | None) -> str:
        """What Discord had against the answer, if it was sent one."""
        found = [one for one in self.calls if asked is not None and asked.token in one.path and one.status >= REFUSED]
        return f" Discord refused its answer: {found[-1].status} {found[-1].answer}" if found else ""
