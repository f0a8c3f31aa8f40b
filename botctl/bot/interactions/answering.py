"""See to it that every interaction gets an answer: how long others may give it, and what botctl says itself."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from botctl.bot.interactions import responses
from botctl.bot.interactions.arrivals import Arrivals
from botctl.bot.interactions.decisions import EXPIRED, TOO_LATE, Disposition
from botctl.bot.interactions.pending import PendingInteraction, log_fields
from botctl.bot.interactions.translations import translate
from botctl.bot.interactions.unanswered import Unanswered
from botctl.core.clock import Clock
from botctl.core.contracts.invocation import Invocation, Outcome, Result

SPEAK_AT_S: Final = 2.75
"""The age of an interaction at which botctl gives the first answer, if its handler has not. Discord waits 3 s."""
SPEAK_DEFERRED_AT_S: Final = 885.0
"""The same for the answer after a deferral. Discord waits 15 minutes."""
_POLL_S: Final = 0.05
_LATE_INTERVAL_S: Final = 10.0
_MAX_NAMED: Final = 100
_log = logging.getLogger(__name__)


class Answering:
    """Answers interactions that their handlers did not answer.

    ``grace_s``: the age at which botctl gives the first answer; until then, all code that has the interaction may.
    """

    def __init__(self, arrivals: Arrivals, clock: Clock, grace_s: float) -> None:
        self.grace_s = grace_s
        self.unanswered = Unanswered()
        self.hurry = asyncio.Event()  # the stop waits no longer
        self._arrivals = arrivals
        self._clock = clock
        self._late = LateLog()

    def age_s(self, pending: PendingInteraction) -> float:
        """Seconds since Discord made the interaction, at least."""
        here_s = self._clock.monotonic() - pending.invocation.started
        return max(here_s, self._arrivals.clock.age_s(pending.inter.id))

    def is_dead(self, pending: PendingInteraction) -> bool:
        """Whether Discord no longer waits for the first answer."""
        return self._arrivals.is_dead(pending.inter.id) and not pending.inter.response.is_done()

    async def answer(self, pending: PendingInteraction, disposition: Disposition, outcome: Outcome) -> None:
        """Answer ``pending``, which is done, where that is still possible and no one else has."""
        if disposition is TOO_LATE:
            self._arrivals.note_late()
            self._late.record(pending.invocation, self.age_s(pending))
            return
        if disposition is EXPIRED:
            took_s = outcome.took_ms / 1000
            template = "%s expired: it took %.1f s, and Discord waits 3 s for a first answer"
            _log.warning(template, pending.invocation.name, took_s, extra=log_fields(pending.invocation))
            return
        await self._wait_for_error_listeners(pending)
        try:
            if disposition.message is None and disposition.result is Result.OK:
                await self._ensure_answered(pending)
            else:
                text = responses.outcome_text(
                    disposition, pending.invocation.locale, outcome.error_id, self._clock.now()
                )
                await responses.send_notice(pending, text)
        except responses.SEND_ERRORS as error:
            _log.warning("%s got no answer: %s", pending.invocation.name, error, extra=log_fields(pending.invocation))

    async def wait_for_first_answer(self, pending: PendingInteraction) -> None:
        """Wait for the first answer until Discord's deadline is about to pass, or the stop waits no longer."""
        while not (pending.inter.response.is_done() or self.hurry.is_set()):
            left_s = self.grace_s - self.age_s(pending)
            if left_s <= 0:
                return
            await asyncio.sleep(min(left_s, _POLL_S))

    async def _wait_for_error_listeners(self, pending: PendingInteraction) -> None:
        """Let the author's error listeners answer until Discord's deadline is about to pass."""
        while any(not task.done() for task in pending.error_listeners) and not self.hurry.is_set():
            deadline_s = SPEAK_DEFERRED_AT_S if pending.is_deferred else self.grace_s
            left_s = deadline_s - self.age_s(pending)
            await asyncio.wait(pending.error_listeners, timeout=max(0.0, min(left_s, _POLL_S)))
            if left_s <= 0:
                return

    async def _ensure_answered(self, pending: PendingInteraction) -> None:
        """See to the answer of a handler that has returned. Raises SEND_ERRORS.

        An answer may still come from code that has the interaction or its context: a task, a queue, a ``wait_for``.
        None comes from a `Context` that is gone.
        """
        more_may_come = await pending.release_context()
        if more_may_come:
            await self.wait_for_first_answer(pending)
        locale, left_s = pending.invocation.locale, SPEAK_DEFERRED_AT_S - self.age_s(pending)
        if not pending.inter.response.is_done() and more_may_come and self.hurry.is_set():
            await responses.send_notice(pending, translate("cancelled", locale))
        elif more_may_come and pending.is_deferred:
            self.unanswered.watch(pending, left_s)
        else:
            await responses.ensure_answered(pending)


class LateLog:
    """Logs interactions that came too late: a warning for the first one, then how many more, every `_LATE_INTERVAL_S`.

    The first `_MAX_NAMED` of these are named, too, without a warning: after a restart these are the lost commands.
    """

    def __init__(self) -> None:
        self._more = 0
        self._oldest_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def record(self, invocation: Invocation, age_s: float) -> None:
        """Log or count ``invocation``. Needs a running event loop."""
        if self._timer is None:
            template = "%s is not handled: it is %.1f s old, and Discord waits 3 s. Was this process frozen or busy?"
            _log.warning(template, invocation.name, age_s, extra=log_fields(invocation))
            self._timer = asyncio.get_running_loop().call_later(_LATE_INTERVAL_S, self._flush)
        else:
            self._more += 1
            self._oldest_s = max(self._oldest_s, age_s)
            if self._more <= _MAX_NAMED:
                _log.info("%s is not handled either", invocation.name, extra=log_fields(invocation))

    def _flush(self) -> None:
        self._timer = None
        if self._more:
            template = "%d more interactions were not handled: they were up to %.1f s old, and Discord waits 3 s"
            _log.warning(template, self._more, self._oldest_s)
        self._more, self._oldest_s = 0, 0.0
