"""The bot under test in its sandbox, and waiting for what it does."""

from __future__ import annotations

from collections.abc import Callable

import disnake

from botctl.sandbox.model.interactions import Interaction, InteractionState
from botctl.sandbox.server import Sandbox
from botctl.sandbox.testing.calls import FIRST_ERROR_STATUS, Calls
from botctl.sandbox.testing.failures import NoAnswer
from botctl.sandbox.testing.handlers import Errors, HandlerTasks
from botctl.sandbox.testing.notifier import Notifier

_DRAIN_S = 0.5  # for handlers that still run when a test begins or ends


class WatchedBot:
    """The bot of a test, and all that is known of what it does.

    ``patience_s`` is how long people wait for what the bot has not promised within Discord's own 3 s: the edit of
    “thinking…”, a follow-up, an answer to a message. ``sandbox`` is all the rest, for those who look inside.
    """

    def __init__(self, sandbox: Sandbox, bot: disnake.Client, calls: Calls, errors: Errors, news: Notifier) -> None:
        self.sandbox = sandbox
        self.bot = bot
        self.calls = calls
        self.errors = errors
        self.patience_s = 5.0
        self._handlers = HandlerTasks(bot, sandbox)
        self._news = news

    @property
    def application_id(self) -> str:
        """The bot's."""
        return next(iter(self.sandbox.access.tokens.values()))

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

    async def answered(self, asked: Interaction, what: str, *, patient: bool) -> None:
        """Wait for the answer to ``asked``; fails when there is none in time, or its handler raises instead."""
        __tracebackhide__ = True
        limit_s = self.sandbox.limits.response_s
        if not await self._news.until(
            lambda: asked.state is not InteractionState.WAITING or self._raised(asked), limit_s
        ):
            raise NoAnswer(f"The bot did not answer {what} within {limit_s:g} s.{self._refused(asked)}")
        if asked.state is InteractionState.WAITING:
            self.errors.check(asked.id, where=f", and did not answer {what}.")
        if patient:
            await self.waited(lambda: self._seen(asked), f"acknowledged {what} and said no more", asked)

    async def began(self) -> None:
        """The bot has started: what came before does not belong to the test."""
        await self._news.until(self._handlers.idle, _DRAIN_S)
        self._handlers.begin()
        self.calls.clear()

    async def ended(self) -> None:
        """The test is over: the handlers may finish what they are at."""
        await self._news.until(self._handlers.idle, _DRAIN_S)

    def _seen(self, asked: Interaction) -> bool:
        """Is there what the person waits for? A click may be acknowledged without anything to see."""
        return asked.final or (asked.state is InteractionState.DEFERRED_UPDATE and self._handlers.idle())

    def _raised(self, asked: Interaction | None) -> bool:
        return asked is not None and self.errors.of(asked.id)

    def _refused(self, asked: Interaction | None) -> str:
        """What Discord had against the answer, if it was sent one."""
        found = [one for one in self.calls if asked is not None and asked.token in one.path and one.status >= FIRST_ERROR_STATUS]
        return f" Discord refused its answer: {found[-1].status} {found[-1].answer}" if found else ""
