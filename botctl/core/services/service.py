"""One running service. The context manager of its factory is entered and left in the same asyncio task."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Any

from botctl.core.clock import Clock
from botctl.core.contracts.events import Event, ServiceChanged
from botctl.core.contracts.service_state import ServiceHealth, ServiceState, ServiceStatus, describe_end, unwrap_group
from botctl.core.errors import ANYTHING, BotctlError, ServiceFailed, ServiceTimeout
from botctl.core.event_loop.lag import own_lag_s
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.redact import redact
from botctl.core.services.dependencies import Spec
from botctl.core.services.tasks import Tasks

GRACE_S = 1.0  # how long a service is waited for after it was cancelled
EXPEDITED_S = 0.5  # the longest wait of an expedited shutdown

_log = logging.getLogger(__name__)


class ShutdownDeadline:
    """The time limits of a shutdown. `expedite` shortens all of them, also for waits that have begun."""

    def __init__(self) -> None:
        self._limit_s = math.inf
        self._waits: set[asyncio.Timeout] = set()

    def expedite(self) -> None:
        self._limit_s = EXPEDITED_S
        latest = asyncio.get_running_loop().time() + EXPEDITED_S
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(min(wait.when() or latest, latest))

    async def wait_for(self, task: asyncio.Task[None], limit_s: float) -> bool:
        """Wait at most ``limit_s`` for ``task``, without cancelling it. Returns whether it has ended."""
        wait = asyncio.timeout(min(limit_s, self._limit_s))
        self._waits.add(wait)
        with suppress(TimeoutError):
            async with wait:
                await asyncio.wait({task})
        self._waits.discard(wait)
        return task.done()


class Service:
    """One service of a registry that was opened (`Registry.open`).

    ``on_ready`` is called with the object that the factory yields; ``on_failure`` when the service did not start,
    or when it or one of its tasks ended by itself. Neither is called after `stop`.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        on_ready: Callable[[Spec, Any], None],
        on_failure: Callable[[BotctlError], None],
        publish: Callable[[Event], None],
        clock: Clock,
        random: Random,
    ) -> None:
        self.spec = spec
        self.state = ServiceState.IDLE
        self.tasks = Tasks(spec.name, observer=self, random=random)
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._publish = publish
        self._clock = clock
        self._detail = ""
        self._began_s = 0.0
        self._started_in_s: float | None = None
        self._instance: Any = None
        self._entered = False
        self._start_done = asyncio.Event()  # it is ready, or has failed
        self._stopping = asyncio.Event()
        self._stop_error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, arguments: Mapping[str, Any]) -> None:
        """Start it and wait at most ``start_s`` until it is ready or has failed. Raises nothing."""
        self._began_s = self._clock.monotonic()
        self._set_state(ServiceState.STARTING)
        self._task = asyncio.create_task(self._run(arguments), name=f"service {self.spec.name}")
        with suppress(TimeoutError):
            async with asyncio.timeout(self.spec.start_s):
                await self._start_done.wait()
        if self.state is ServiceState.STARTING:
            sentence = f"{self.spec.name} did not start in {self.spec.start_s:g} s"
            self._fail(ServiceTimeout(sentence, hint="See the log for how far it came."))

    async def stop(self, deadline: ShutdownDeadline) -> None:
        """Let the factory clean up for ``stop_s``, then cancel it, and give up after `GRACE_S`.

        Does nothing if it was never started. Raises nothing: errors are logged and shown in the status.
        """
        if self._task is None:
            return
        began = self._clock.monotonic()
        self._stopping.set()
        self.tasks.close()
        if self.state is not ServiceState.FAILED:
            self._set_state(ServiceState.STOPPING)
        if not self._entered:
            self._task.cancel()
        note = ""
        if not await deadline.wait_for(self._task, self.spec.stop_s):
            note = f"did not stop in {self._clock.monotonic() - began:.1f} s and was cancelled"
            _log.warning("%s %s", self.spec.name, note)
            self._task.cancel()
            await deadline.wait_for(self._task, GRACE_S)
        self._record_end(note, self._clock.monotonic() - began)

    async def drain(self, limit_s: float) -> None:
        """Call its ``drain``, if it has one: it finishes its work in flight within ``limit_s``."""
        if self.spec.drain is not None and self.state.up:
            await self.spec.drain(self._instance, limit_s)

    def status(self) -> ServiceStatus:
        return ServiceStatus(self.spec.name, self.state, self._started_in_s, self._detail, self.tasks.restarts)

    async def health(self, timeout_s: float) -> ServiceHealth:
        """Ping it for at most ``timeout_s``. Without a ping, the health is its state. Raises nothing."""
        began = self._clock.monotonic()
        answered, answer, hint = True, "", ""
        if self.spec.ping is not None and self.state.up:
            answered, answer, hint = await self._ping(self.spec.ping, timeout_s)
        took_ms = (self._clock.monotonic() - began) * 1000
        ok = answered and self.state is ServiceState.READY
        problem = "" if self.state is ServiceState.READY else ": ".join(filter(None, (self.state, self._detail)))
        detail = "; ".join(filter(None, (problem, answer)))
        return ServiceHealth(self.spec.name, ok, took_ms, redact(detail), redact(hint))

    def on_tasks_changed(self) -> None:
        if self.state.up:
            self._set_state(self.tasks.state, self.tasks.detail)

    def on_task_failed(self, what: str, error: BaseException | None) -> None:
        """Fail, because one of its tasks has ended and is not restarted."""
        self._fail(self._failure(what, error))

    async def _run(self, arguments: Mapping[str, Any]) -> None:
        error: BaseException | None = None
        try:
            async with self.tasks, self.spec.factory(**arguments) as instance:
                self._on_entered(instance)
                await self._stopping.wait()
        except BaseException as raised:  # noqa: BLE001  a cancellation too: it is reported below
            error = unwrap_group(raised)
        if self._stopping.is_set():
            self._stop_error = None if isinstance(error, asyncio.CancelledError) else error
        else:
            self._fail(self._failure("ended by itself" if self._entered else "did not start", error))

    def _on_entered(self, instance: Any) -> None:
        """The factory has yielded ``instance``: the service is ready, unless it came too late."""
        self._entered = True
        self._instance = instance
        if self.state is not ServiceState.STARTING:
            return  # it timed out, or one of its tasks has failed
        self._started_in_s = self._clock.monotonic() - self._began_s
        self._on_ready(self.spec, instance)
        self._set_state(self.tasks.state, self.tasks.detail, took_s=self._started_in_s)
        self._start_done.set()

    def _failure(self, what: str, error: BaseException | None) -> BotctlError:
        if isinstance(error, BotctlError):
            return error  # it has its own sentence, hint and exit code
        failure = ServiceFailed(
            f"{self.spec.name} {what}: {describe_end(error)}", hint="Run it again with --debug to see the traceback."
        )
        failure.__cause__ = error
        return failure

    def _fail(self, failure: BotctlError) -> None:
        if self.state is ServiceState.FAILED:
            _log.debug("%s has failed already, and now: %s", self.spec.name, failure)
            return
        # The registry raises a failure of the start at once, a later one only after the shutdown: log it now.
        _log.log(logging.ERROR if self.state.up else logging.DEBUG, "%s has failed: %s", self.spec.name, failure)
        self._set_state(ServiceState.FAILED, str(failure))
        self._start_done.set()
        self._on_failure(failure)

    def _record_end(self, note: str, took_s: float) -> None:
        """Set the last state: STOPPED with the detail ``note``, or FAILED if a task still runs or the stop failed."""
        if self._task is not None and not self._task.done():
            running = ["the service itself"]
        else:
            running = [f"task {name}" for name in self.tasks.alive]
        if running:
            note = f"abandoned, still running: {', '.join(running)}"
            _log.error("%s was %s", self.spec.name, note)
        elif self._stop_error is not None:
            note = f"failed while it stopped: {describe_end(self._stop_error)}"
            _log.error("%s %s", self.spec.name, note, exc_info=self._stop_error)
        elif self.state is not ServiceState.FAILED:
            self._set_state(ServiceState.STOPPED, note, took_s=took_s)
            return
        self._set_state(ServiceState.FAILED, "; ".join(filter(None, (self._detail, note))), took_s=took_s)

    async def _ping(self, ping: Callable[[Any], Awaitable[str | None]], timeout_s: float) -> tuple[bool, str, str]:
        task = asyncio.create_task(_call_ping(ping, self._instance), name=f"ping {self.spec.name}")
        try:
            with suppress(TimeoutError):
                async with LoopTimeout(timeout_s):
                    await asyncio.wait({task})
        finally:
            task.cancel()  # not awaited: a ping that ignores its cancellation must not delay the others
        return task.result() if task.done() else (False, f"no answer in {timeout_s:g} s", "")

    def _set_state(self, new: ServiceState, detail: str = "", *, took_s: float | None = None) -> None:
        old, self.state = self.state, new
        detail = redact(detail)  # the one way out for the text of a failure: pages, display, snapshot and events
        if (old, self._detail) == (new, detail):
            return
        self._detail = detail
        _log.debug("%s: %s -> %s %s", self.spec.name, old, new, detail)
        self._publish(ServiceChanged(service=self.spec.name, old=old, new=new, took_s=took_s, detail=detail))


async def _call_ping(ping: Callable[[Any], Awaitable[str | None]], instance: Any) -> tuple[bool, str, str]:
    """Whether it succeeded, its answer or what is wrong, and what to do."""
    try:
        return True, await ping(instance) or "", ""
    except ANYTHING as error:  # a cancellation too: by the timeout, or by the ping itself
        late_s = own_lag_s(error)
        note = f"; the event loop of this process was itself {late_s:.1f} s late" if late_s else ""
        if isinstance(error, BotctlError):
            return False, f"{error}{note}", error.hint
        return False, f"{describe_end(unwrap_group(error))}{note}", ""
