"""Deferred interactions whose handler has returned without an answer: other code may still send it.

botctl leaves them alone, as bare disnake does, while any code has the interaction: a task, a queue, a view. It answers
when none has it any more, or when Discord's deadline is about to pass. A stop of the bot tells users who wait.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from botctl.bot.interactions import responses
from botctl.bot.interactions.pending import PendingInteraction, forget_original, log_fields
from botctl.bot.interactions.translations import translate
from botctl.core.event_loop.tasks import create_watched_task

MAX_WATCHED: Final = 10_000
"""Beyond this number, the oldest are left to Discord's own "did not respond"."""
FIRST_LOOK_S: Final = 0.25
LOOK_EVERY_S: Final = 15.0
"""How often to look who has the interaction: after `FIRST_LOOK_S`, then twice as long each time, up to this."""
_AT_ONCE: Final = 20  # requests
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Watched:
    pending: PendingInteraction
    deadline_s: float  # on the loop's clock
    pause_s: float
    timer: asyncio.TimerHandle


class Unanswered:
    """The deferred interactions, by token."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._telling: set[asyncio.Task[None]] = set()  # asyncio keeps only weak references
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, pending: PendingInteraction, left_s: float) -> None:
        """Look after ``pending`` until it is answered, or until the deadline in ``left_s`` seconds."""
        token = pending.inter.token
        pause_s = min(FIRST_LOOK_S, max(0.0, left_s))
        deadline_s = asyncio.get_running_loop().time() + left_s
        self._watched[token] = _Watched(pending, deadline_s, pause_s, self._look_in(pause_s, token))
        if len(self._watched) > MAX_WATCHED:
            self.answered(next(iter(self._watched)))

    def answered(self, token: str) -> None:
        """An answer was sent with ``token``."""
        watched = self._watched.pop(token, None)
        if watched is not None:
            watched.timer.cancel()
            self._changed.set()

    async def wait_until_answered(self) -> None:
        """Wait until none is left."""
        while self._watched or self._telling:
            self._changed.clear()
            await self._changed.wait()

    async def tell_all(self, limit_s: float) -> None:
        """Tell the users who wait that the bot stops. Log if ``limit_s`` seconds are not enough for all."""
        waiting = [watched.pending for watched in self._watched.values()]
        for token in tuple(self._watched):
            self.answered(token)
        try:
            async with asyncio.timeout(limit_s):
                for start in range(0, len(waiting), _AT_ONCE):
                    batch = waiting[start : start + _AT_ONCE]
                    await asyncio.gather(*(_tell(pending, "cancelled") for pending in batch))
        except TimeoutError:
            template = "not all of the %d users who were waiting for a deferred answer could be told about the stop"
            _log.warning(template, len(waiting))

    def _look_in(self, delay_s: float, token: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay_s, self._look, token)

    def _look(self, token: str) -> None:
        watched = self._watched[token]
        left_s = watched.deadline_s - asyncio.get_running_loop().time()
        forget_original(watched.pending.inter)
        if left_s > 0 and watched.pending.is_held:
            watched.pause_s = min(watched.pause_s * 2, LOOK_EVERY_S, left_s)
            watched.timer = self._look_in(watched.pause_s, token)
            return
        del self._watched[token]
        key = "done" if left_s > 0 else "unanswered"
        task = create_watched_task(_tell(watched.pending, key), name=f"botctl: deferred {key}")
        self._telling.add(task)
        task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._telling.discard(task)
        self._changed.set()


async def _tell(pending: PendingInteraction, key: str) -> None:
    """Fill the deferred answer with the message ``key``, unless Discord says that it has been filled."""
    name, extra = pending.invocation.name, log_fields(pending.invocation)
    try:
        if not await responses.shows_thinking(pending):
            return
        await responses.fill_deferral(pending.inter, pending.ctx, translate(key, pending.invocation.locale))
    except responses.SEND_ERRORS as error:
        _log.warning("%s, which was deferred, got no answer: %s", name, error, extra=extra)
    else:
        if key != "done":
            _log.warning("%s was deferred and got no answer; the user has been told", name, extra=extra)
