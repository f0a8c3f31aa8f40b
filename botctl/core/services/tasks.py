"""The background tasks of a service: restarted on request; the end of any other one is reported as a failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from types import TracebackType
from typing import Protocol, Self

from botctl.core.contracts.service_state import ServiceState, describe_end, unwrap_group
from botctl.core.errors import ANYTHING, STORE_FAULTS, BotctlError
from botctl.core.event_loop.tasks import is_own_cancellation
from botctl.core.repeats import Repeats

_log = logging.getLogger(__name__)

_SERVICE = ""  # the service's own name in ``_notes``, the states and details of unhealthy tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff: the delays before a task is restarted."""

    first_s: float = 0.2
    factor: float = 2.0
    limit_s: float = 30.0
    jitter: float = 0.2  # each delay is shortened at random, by at most this share (0 to 1)
    healthy_s: float = 10.0  # after a run of this length the delay is ``first_s`` again

    def delay_s(self, restarts: int, random: Random) -> float:
        """Seconds to wait after ``restarts`` restarts in a row, shortened at random (``jitter``)."""
        full = min(self.limit_s, self.first_s * self.factor ** min(restarts, 64))  # 64: before a float overflows
        return full * (1 - self.jitter * random.random())


class TasksObserver(Protocol):
    """The service, as its `Tasks` see it."""

    def on_tasks_changed(self) -> None:
        """The state or detail of the tasks has changed."""

    def on_task_failed(self, what: str, error: BaseException | None) -> None:
        """A task has ended and is not restarted. ``error`` is None when it returned."""


class Tasks:
    """The background tasks of one service. A factory with a ``Tasks`` parameter gets its own.

    They run until the factory has cleaned up, and are cancelled then; the factory may `cancel` them earlier. Once the
    service is asked to stop, the end of a task is not reported.
    """

    def __init__(self, service: str, *, observer: TasksObserver, random: Random) -> None:
        self.restarts = 0
        self._service = service
        self._observer = observer
        self._random = random
        self._closed = False
        self._cancelled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._notes: dict[str, tuple[ServiceState, str]] = {}
        self._repeats = Repeats()

    def spawn(self, run: Callable[[], Awaitable[None]], *, name: str, restart: Backoff | None = None) -> None:
        """Run ``run()`` in the background until the service stops. ``name`` is unique among the service's tasks.

        Without ``restart``, its end (a return or an exception) stops the whole registry. With it, ``run`` is called
        again after a delay: RESTARTING during the delay, DEGRADED until it has run for ``healthy_s`` or the service has
        `recovered`. A BotctlError that is neither ``transient`` nor one of a store stops the registry in any case.
        """
        if self._cancelled:
            raise RuntimeError(f"task {name} cannot be spawned: {self._service} has cancelled its tasks")
        work = self._watch(run, name) if restart is None else self._restart(run, name, restart)
        task = asyncio.create_task(work, name=f"{self._service}/{name}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_done, name))

    def degraded(self, detail: str) -> None:
        """Mark the service as degraded. ``detail`` is a sentence for the operator."""
        self._set_note(_SERVICE, ServiceState.DEGRADED, detail)

    def recovered(self) -> None:
        """Mark the service as healthy, except for tasks that wait for their restart."""
        self._notes = {name: note for name, note in self._notes.items() if note[0] is ServiceState.RESTARTING}
        self._repeats = Repeats()
        self._observer.on_tasks_changed()

    async def cancel(self) -> None:
        """Cancel the tasks and wait until they have ended, without a report. No more can be spawned."""
        self._closed = self._cancelled = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def close(self) -> None:
        """Stop reporting the ends of tasks. Called by the registry when the service is to stop; a factory may do so."""
        self._closed = True

    @property
    def state(self) -> ServiceState:
        """READY, or the worst state of a task or of the service."""
        states = {state for state, _ in self._notes.values()}
        return next((s for s in (ServiceState.RESTARTING, ServiceState.DEGRADED) if s in states), ServiceState.READY)

    @property
    def detail(self) -> str:
        return "; ".join(detail for _, detail in self._notes.values())

    @property
    def alive(self) -> list[str]:
        """The names of the tasks that have not ended."""
        return sorted(task.get_name().removeprefix(f"{self._service}/") for task in self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cancel()

    def _on_done(self, name: str, task: asyncio.Task[None]) -> None:
        """Report a task that was cancelled by others, or in which botctl itself failed: no one awaits it."""
        self._tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None and not self._closed:
            self._observer.on_task_failed(f"lost its task {name}", error)

    async def _watch(self, run: Callable[[], Awaitable[None]], name: str) -> None:
        error = await _run_to_end(run)
        if not self._closed:
            self._observer.on_task_failed(f"lost its task {name}", error)

    async def _restart(self, run: Callable[[], Awaitable[None]], name: str, backoff: Backoff) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            healthy = loop.call_later(backoff.healthy_s, self._remove_note, name)
            try:
                error = await _run_to_end(run)
            finally:
                healthy.cancel()
            if self._closed:
                return
            if isinstance(error, BotctlError) and not error.transient and not isinstance(error, STORE_FAULTS):
                self._observer.on_task_failed(f"lost its task {name}", error)
                return
            failures = 0 if healthy.when() <= loop.time() else failures
            delay_s = backoff.delay_s(failures, self._random)
            failures += 1
            self.restarts += 1
            what = f"task {name} ended: {describe_end(error)}".rstrip(".")
            expected = isinstance(error, BotctlError)  # no traceback: it would not help
            trace = None if expected else error
            level = self._repeats.level(logging.WARNING, name, what)
            _log.log(level, "%s: %s; it is started again in %.1f s", self._service, what, delay_s, exc_info=trace)
            self._set_note(name, ServiceState.RESTARTING, f"{what}; it is started again in {delay_s:.1f} s")
            await asyncio.sleep(delay_s)
            self._set_note(name, ServiceState.DEGRADED, f"{what}; it was started again")

    def _set_note(self, name: str, state: ServiceState, detail: str) -> None:
        self._notes[name] = (state, detail)
        self._observer.on_tasks_changed()

    def _remove_note(self, name: str) -> None:
        if self._notes.pop(name, None):
            self._observer.on_tasks_changed()


async def _run_to_end(run: Callable[[], Awaitable[None]]) -> BaseException | None:
    """Return how ``run()`` ended: None when it returned. Raises only a cancellation of this task."""
    try:
        await run()
    except ANYTHING as error:
        if is_own_cancellation(error):
            raise
        return unwrap_group(error)
    return None
