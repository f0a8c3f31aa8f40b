"""Background tasks of a service: none ends unnoticed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Protocol, Self

from botctl.core.contracts.service_state import ServiceState, describe_end, unwrap_group
from botctl.core.errors import ANYTHING, BotctlError

_log = logging.getLogger(__name__)

_ITSELF = ""  # the note of the service's own word, beside those of its tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before a task is started again.

    The delay begins at ``first_s``, grows by ``factor`` up to ``limit_s``, and is shortened by a random part of up to
    ``jitter`` (0 to 1), so that many processes do not come back in the same moment. A task that has run for
    ``healthy_s`` is taken to be well: the next delay is ``first_s`` again.
    """

    first_s: float = 0.2
    factor: float = 2.0
    limit_s: float = 30.0
    jitter: float = 0.2
    healthy_s: float = 10.0

    def delay_s(self, restarts: int, random: Random) -> float:
        """Seconds to wait after ``restarts`` restarts in a row, in ``((1 - jitter) * full, full]``."""
        full = min(self.limit_s, self.first_s * self.factor ** min(restarts, 64))  # 64: before a float overflows
        return full * (1 - self.jitter * random.random())


class TasksObserver(Protocol):
    """What a service wants to hear from its tasks."""

    def news(self) -> None:
        """The state or detail of the tasks has changed."""

    def failed(self, what: str, error: BaseException | None) -> None:
        """A task has ended for good; ``error`` is None when it returned."""


class Tasks:
    """The background tasks of one service. A factory that wants some asks for a ``Tasks`` and gets its own.

    They go on while the factory cleans up, so that it can let them finish (it may `end` them when it likes), and are
    cancelled after it. From the moment the service is asked to stop, a task that ends is no news.
    """

    def __init__(self, service: str, *, watcher: TasksObserver, random: Random) -> None:
        self.restarts = 0
        self._service = service
        self._watcher = watcher
        self._random = random
        self._closed = False
        self._ended = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._notes: dict[str, tuple[ServiceState, str]] = {}

    def spawn(self, run: Callable[[], Awaitable[None]], *, name: str, restart: Backoff | None = None) -> None:
        """Run ``run()`` in the background until the service stops. ``name`` is unique among the service's tasks.

        Without ``restart``, its end (a return as well as an exception) unwinds the whole registry. With it, ``run`` is
        called again after a delay: RESTARTING while it waits, DEGRADED until it has run for ``healthy_s`` (or the
        service says that it has `recovered`). A BotctlError that is not ``transient`` says that trying again does not
        help, and unwinds all the same.
        """
        if self._ended:
            raise RuntimeError(f"task {name} comes too late: {self._service} has ended its tasks")
        life = self._watch(run, name) if restart is None else self._restart(run, name, restart)
        task = asyncio.create_task(life, name=f"{self._service}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def degraded(self, detail: str) -> None:
        """Tell that the service serves, but not as it should; ``detail`` is a sentence for the operator."""
        self._note(_ITSELF, ServiceState.DEGRADED, detail)

    def recovered(self) -> None:
        """Tell that the service is well again. A task that waits for its restart still counts."""
        self._notes = {name: note for name, note in self._notes.items() if note[0] is ServiceState.RESTARTING}
        self._watcher.news()

    async def end(self) -> None:
        """Cancel the tasks and wait until they have ended. Their end is no news, and no more can be spawned."""
        self._closed = self._ended = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def close(self) -> None:
        """From now on the end of a task is no news. Called by the registry when the service is to stop."""
        self._closed = True

    @property
    def state(self) -> ServiceState:
        """READY when nothing is amiss, else the worst of what is."""
        states = {state for state, _ in self._notes.values()}
        return next((s for s in (ServiceState.RESTARTING, ServiceState.DEGRADED) if s in states), ServiceState.READY)

    @property
    def detail(self) -> str:
        """What is amiss, in words."""
        return "; ".join(detail for _, detail in self._notes.values())

    @property
    def alive(self) -> list[str]:
        """Names of the tasks that have not ended."""
        return sorted(task.get_name().removeprefix(f"{self._service}/") for task in self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end()

    async def _watch(self, run: Callable[[], Awaitable[None]], name: str) -> None:
        error = await _end_of(run)
        if not self._closed:
            self._watcher.failed(f"lost its task {name}", error)

    async def _restart(self, run: Callable[[], Awaitable[None]], name: str, backoff: Backoff) -> None:
        loop = asyncio.get_running_loop()
        in_a_row = 0
        while True:
            well = loop.call_later(backoff.healthy_s, self._forget, name)
            try:
                error = await _end_of(run)
            finally:
                well.cancel()
            if self._closed:
                return
            if isinstance(error, BotctlError) and not error.transient:
                self._watcher.failed(f"lost its task {name}", error)
                return
            in_a_row = 0 if well.when() <= loop.time() else in_a_row
            delay_s = backoff.delay_s(in_a_row, self._random)
            in_a_row += 1
            self.restarts += 1
            what = f"task {name} ended: {describe_end(error)}".rstrip(".")  # an error's own sentence has one
            expected = isinstance(error, BotctlError)  # a store is away: where that was noticed helps nobody
            trace = None if expected else error
            _log.warning("%s: %s; it is started again in %.1f s", self._service, what, delay_s, exc_info=trace)
            self._note(name, ServiceState.RESTARTING, f"{what}; it is started again in {delay_s:.1f} s")
            await asyncio.sleep(delay_s)
            self._note(name, ServiceState.DEGRADED, f"{what}; it was started again")

    def _note(self, name: str, state: ServiceState, detail: str) -> None:
        self._notes[name] = (state, detail)
        self._watcher.news()

    def _forget(self, name: str) -> None:
        if self._notes.pop(name, None):
            self._watcher.news()


async def _end_of(run: Callable[[], Awaitable[None]]) -> BaseException | None:
    """How ``run()`` ended: None when it returned. Only a cancellation of this very task goes through."""
    try:
        await run()
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return error  # from within: without this, the task would end without a word
    except ANYTHING as error:  # whatever it is, it is reported
        return unwrap_group(error)
    return None
