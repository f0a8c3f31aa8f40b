"""Questions to a store, many in one request. While the store does not answer, this process answers them alone.

Questions of one turn of the event loop are sent together. If the store does not answer a batch, the process answers it
alone, and all later ones too, until a background probe succeeds. So no caller waits for a store that is known to be
down, and none sees an exception.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Generic, NamedTuple, TypeVar

from botctl.core.errors import ANYTHING, type_name
from botctl.core.event_loop.tasks import is_own_cancellation
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks

MAX_BATCH: Final = 64
MAX_CONCURRENT_BATCHES: Final = 2  # one is collected while the other is under way
_PROBES: Final = Backoff(first_s=0.1, limit_s=2.0)

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class BatchReply(NamedTuple, Generic[Answer]):
    """An answer, and whether the store gave it."""

    answer: Answer
    from_store: bool


class _Waiting(NamedTuple, Generic[Question, Answer]):
    question: Question
    reply: asyncio.Future[BatchReply[Answer]]


class Batcher(Generic[Question, Answer]):
    """Sends questions to a store in batches of at most `MAX_BATCH`.

    ``send`` returns the answers in order; it may raise anything, also when it takes too long. ``answer_alone`` must not
    raise. ``probe`` raises while the store does not answer. ``detail``: what an outage means, a sentence for the
    operator with ``{error}`` in it. ``on_failure`` is called for each failed batch and probe.
    """

    def __init__(
        self,
        tasks: Tasks,
        log: logging.Logger,
        detail: str,
        *,
        send: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]],
        answer_alone: Callable[[Question], Answer],
        probe: Callable[[], Awaitable[object]],
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._tasks = tasks
        self._detail = detail
        self._send = send
        self._answer_alone = answer_alone
        self._probe = probe
        self._on_failure = on_failure
        self._queue: deque[_Waiting[Question, Answer]] = deque()
        self._wake = asyncio.Event()
        self._running = False
        self._outage = Outage(tasks, log, _PROBES)

    @property
    def is_alone(self) -> bool:
        """Whether this process answers alone: during an outage, and when `running` is not entered."""
        return self._outage.active or not self._running

    async def ask(self, question: Question) -> BatchReply[Answer]:
        """The answer to ``question``. Raises nothing but a cancellation of the caller."""
        if self.is_alone:
            return BatchReply(self._answer_alone(question), from_store=False)
        waiting = _Waiting[Question, Answer](question, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._wake.set()
        return await waiting.reply

    @contextmanager
    def running(self) -> Iterator[None]:
        """Use the store while the block runs. The caller cancels the tasks after it."""
        for n in range(MAX_CONCURRENT_BATCHES):
            self._tasks.spawn(self._send_batches, name=f"batches-{n}")
        self._tasks.spawn(self._probe_outages, name="probe")
        self._running = True
        try:
            yield
        finally:
            self._running = False
            self._reply_alone(self._take(len(self._queue)))

    async def _send_batches(self) -> None:
        while True:
            while not self._queue:
                self._wake.clear()
                await self._wake.wait()
            batch = self._take(MAX_BATCH)
            try:
                answers = await self._send([waiting.question for waiting in batch])
            except ANYTHING as error:  # whatever fails, the callers get an answer
                if is_own_cancellation(error):
                    self._reply_alone(batch)
                    raise
                self._fail(error)
                self._reply_alone(batch + self._take(len(self._queue)))
            else:
                for waiting, answer in zip(batch, answers, strict=True):
                    _reply(waiting, BatchReply(answer, from_store=True))

    async def _probe_outages(self) -> None:
        """During an outage, find out from time to time whether the store answers again."""
        while True:
            await self._outage.wait_begun()
            await self._outage.pause()
            try:
                await self._probe()
            except ANYTHING as error:  # still down, whatever the reason
                if is_own_cancellation(error):
                    raise
                self._fail(error)
            else:
                self._outage.end()

    def _fail(self, error: BaseException) -> None:
        self._on_failure()
        if self._running:
            self._outage.begin(self._detail.format(error=type_name(error)), error)

    def _take(self, limit: int) -> list[_Waiting[Question, Answer]]:
        """Remove up to ``limit`` questions from the queue."""
        return [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]

    def _reply_alone(self, batch: list[_Waiting[Question, Answer]]) -> None:
        for waiting in batch:
            _reply(waiting, BatchReply(self._answer_alone(waiting.question), from_store=False))


def _reply(waiting: _Waiting[Question, Answer], reply: BatchReply[Answer]) -> None:
    if not waiting.reply.done():  # the caller may have been cancelled
        waiting.reply.set_result(reply)
