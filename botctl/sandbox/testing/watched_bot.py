"""The bot under test, and waiting for its actions."""

from __future__ import annotations

from collections.abc import Callable

import disnake

from botctl.sandbox.model.interactions import Interaction, InteractionState
from botctl.sandbox.sandbox import Sandbox
from botctl.sandbox.testing.calls import FIRST_ERROR_STATUS, Calls
from botctl.sandbox.testing.failures import NoAnswer
from botctl.sandbox.testing.handlers import Errors, HandlerTasks
from botctl.sandbox.testing.notifier import Notifier

_HANDLERS_S = 0.5  # the wait for running handlers when a test begins or ends


class WatchedBot:
    """The bot of a test, with its REST ``calls`` and handler ``errors``.

    ``patience_s`` is the longest wait where Discord has no deadline: for the edit of “thinking…”, a follow-up, or an
    answer to a message.
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
        return next(iter(self.sandbox.access.tokens.values()))

    async def settled(self) -> None:
        """Wait until the bot has received all events and no handler is active. Then check what it has not done."""
        __tracebackhide__ = True
        await self.wait_for(self._tasks.is_idle, "did not become idle")

    async def until(self, condition: Callable[[], bool], what: str = "did not meet the condition") -> None:
        """Wait until ``condition`` holds; ``what`` follows “The bot” in the error message."""
        __tracebackhide__ = True
        await self.wait_for(condition, what)

    async def wait_for(self, condition: Callable[[], bool], what: str, interaction: Interaction | None = None) -> None:
        """Wait like `until`, but fail at once when the handler of ``interaction`` raises."""
        __tracebackhide__ = True
        if not await self._notifier.wait_until(lambda: condition() or self._raised(interaction), self.patience_s):
            raise NoAnswer(f"The bot {what} within {self.patience_s:g} s.{self._refusal_text(interaction)}")
        if not condition() and interaction is not None:
            self.errors.check(interaction.id, where=f", and {what}.")

    async def wait_for_answer(self, interaction: Interaction, what: str, *, patient: bool) -> None:
        """Wait for the answer to ``interaction``; fail when it is late or its handler raises."""
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
                lambda: self._has_result(interaction), f"acknowledged {what} and sent nothing more", interaction
            )

    async def begin_test(self) -> None:
        """Forget the calls that the bot made at its start, and ignore handlers that still run."""
        await self._notifier.wait_until(self._tasks.is_idle, _HANDLERS_S)
        self._tasks.ignore_running()
        self.calls.clear()

    async def end_test(self) -> None:
        """Let running handlers finish."""
        await self._notifier.wait_until(self._tasks.is_idle, _HANDLERS_S)

    def _has_result(self, interaction: Interaction) -> bool:
        """Whether the user has a result; for a click also when it was acknowledged without a visible change."""
        return interaction.is_final or (interaction.state is InteractionState.DEFERRED_UPDATE and self._tasks.is_idle())

    def _raised(self, interaction: Interaction | None) -> bool:
        return interaction is not None and self.errors.raised_in(interaction.id)

    def _refusal_text(self, interaction: Interaction | None) -> str:
        """Why Discord refused the bot's answer, if it did."""
        refused = [
            call
            for call in self.calls
            if interaction is not None and interaction.token in call.path and call.status >= FIRST_ERROR_STATUS
        ]
        return f" Discord refused its answer: {refused[-1].status} {refused[-1].answer}" if refused else ""
