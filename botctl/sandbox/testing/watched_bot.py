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

    def __init__(self, sandbox: Sandbox, bot: disnake.Client, calls: Calls, errors: Errors, notifier: Notifier) -> None:
        self.sandbox = sandbox
        self.bot = bot
        self.calls = calls
        self.errors = errors
        self.patience_s = 5.0
        self._tasks = HandlerTasks(bot, sandbox)
        self._notifier = notifier

    @property
    def application_id(self) -> str:
        """The bot's."""
        return next(iter(self.sandbox.access.tokens.values()))

    async def settled(self) -> None:
        """Wait until the bot has heard of everything and no handler of it is at work (for “it says nothing”)."""
        __tracebackhide__ = True
        await self.wait_for(self._tasks.is_idle, "did not come to rest")

    async def until(self, condition: Callable[[], bool], what: str = "did not do what was waited for") -> None:
        """Wait until ``condition`` holds; ``what`` says after “The bot” why the test fails otherwise."""
        __tracebackhide__ = True
        await self.wait_for(condition, what)

    async def wait_for(self, condition: Callable[[], bool], what: str, interaction: Interaction | None = None) -> None:
        """`until`, and over at once when the handler of ``interaction`` raises."""
        __tracebackhide__ = True
        if not await self._notifier.wait_until(lambda: condition() or self._raised(interaction), self.patience_s):
            raise NoAnswer(f"The bot {what} within {self.patience_s:g} s.{self._refusal_text(interaction)}")
        if not condition() and interaction is not None:
            self.errors.check(interaction.id, where=f", and {what}.")

    async def wait_for_answer(self, interaction: Interaction, what: str, *, patient: bool) -> None:
        """Wait for the answer to ``interaction``; fails when there is none in time, or its handler raises instead."""
        __tracebackhide__ = True
        limit_s = self.sandbox.limits.response_s
        if not await self._notifier.wait_until(
            lambda: interaction.state is not InteractionState.WAITING or self._raised(interaction), limit_s
        ):
            raise NoAnswer(f"The bot did not answer {what} within {limit_s:g} s.{self._refusal_text(interaction)}")
        if interaction.state is InteractionState.WAITING:
            self.errors.check(interaction.id, where=f", and did not answer {what}.")
        if patient:
            await self.wait_for(
                lambda: self._has_result(interaction), f"acknowledged {what} and said no more", interaction
            )

    async def begin_test(self) -> None:
        """The bot has started: what came before does not belong to the test."""
        await self._notifier.wait_until(self._tasks.is_idle, _DRAIN_S)
        self._tasks.ignore_running()
        self.calls.clear()

    async def end_test(self) -> None:
        """The test is over: the handlers may finish what they are at."""
        await self._notifier.wait_until(self._tasks.is_idle, _DRAIN_S)

    def _has_result(self, interaction: Interaction) -> bool:
        """Is there what the person waits for? A click may be acknowledged without anything to see."""
        return interaction.final or (interaction.state is InteractionState.DEFERRED_UPDATE and self._tasks.is_idle())

    def _raised(self, interaction: Interaction | None) -> bool:
        return interaction is not None and self.errors.raised_in(interaction.id)

    def _refusal_text(self, interaction: Interaction | None) -> str:
        """What Discord had against the answer, if it was sent one."""
        found = [
            one
            for one in self.calls
            if interaction is not None and interaction.token in one.path and one.status >= FIRST_ERROR_STATUS
        ]
        return f" Discord refused its answer: {found[-1].status} {found[-1].answer}" if found else ""
