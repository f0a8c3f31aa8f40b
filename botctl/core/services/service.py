"""The life of one service: it is entered, lives and is left in one asyncio task of its own."""

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
from botctl.core.services.dependencies import Spec
from botctl.core.services.tasks import Tasks

GRACE_S = 1.0  # for a service that was cancelled because it did not stop in its time
EXPEDITED_S = 0.5  # the most that anything may take once the operator is in a hurry

_log = logging.getLogger(__name__)


class ShutdownDeadline:
    """How long is waited for what has to end. A hurry shortens every wait, those under way too."""

    def __init__(self) -> None:
        self._most_s = math.inf
        self._waits: set[asyncio.Timeout] = set()

    def hurry(self) -> None:
        """From now on wait for nothing longer than HURRY_S."""
        self._most_s = EXPEDITED_S
        latest = asyncio.get_running_loop().time() + EXPEDITED_S
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(min(wait.when() or latest, latest))

    async def ends(self, task: asyncio.Task[None], limit_s: float) -> bool:
        """Wait for ``task`` for at most ``limit_s``, without cancelling it; whether it has ended."""
        wait = asyncio.timeout(min(limit_s, self._most_s))
        self._waits.add(wait)
        with suppress(TimeoutError):
            async with wait:
                await asyncio.wait({task})
        self._waits.discard(wait)
        return task.done()


class Service:
    """One service of a registry that is open.

    ``on_ready`` is called with what the factory yields, ``on_failure`` when the service can no longer be relied on:
    it did not start, it or one of its tasks ended by itself. Neither is called once it has been asked to stop.
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
        self.tasks = Tasks(spec.name, watcher=self, random=random)
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._publish = publish
        self._clock = clock
        self._detail = ""
        self._began = 0.0
        self._started_in_s: float | None = None
        self._instance: Any = None
        self._entered = False
        self._settled = asyncio.Event()  # it is ready, or will not be
        self._stopping = asyncio.Event()
        self._unclean: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, arguments: Mapping[str, Any]) -> None:
        """Start it and wait until it is ready or has failed, at most ``start_s``; raises nothing."""
        self._began = self._clock.monotonic()
        self._move(ServiceState.STARTING)
        self._task = asyncio.create_task(self._live(arguments), name=f"service {self.spec.name}")
        with suppress(TimeoutError):
            async with asyncio.timeout(self.spec.start_s):
                await self._settled.wait()
        if self.state is ServiceState.STARTING:
            sentence = f"{self.spec.name} did not start in {self.spec.start_s:g} s"
            self._fail(ServiceTimeout(sentence, hint="The log says how far it came."))

    async def stop(self, patience: ShutdownDeadline) -> None:
        """Stop it: ask, wait ``stop_s``, cancel, wait a little, give up; nothing is done if it was never started.

        Raises nothing: what went wrong is logged and stands in the status.
        """
        if self._task is None:
            return
        began = self._clock.monotonic()
        self._stopping.set()
        self.tasks.close()
        if self.state is not ServiceState.FAILED:
            self._move(ServiceState.STOPPING)
        if not self._entered:
            self._task.cancel()
        note = ""
        if not await patience.ends(self._task, self.spec.stop_s):
            note = f"did not stop in {self._clock.monotonic() - began:.1f} s and was cancelled"
            _log.warning("%s %s", self.spec.name, note)
            self._task.cancel()
            await patience.ends(self._task, GRACE_S)
        self._conclude(note, self._clock.monotonic() - began)

    async def drain(self, limit_s: float) -> None:
        """Let it finish what is under way, within ``limit_s``; nothing to do for a service that cannot be drained."""
        if self.spec.drain is not None and self.state.up:
            await self.spec.drain(self._instance, limit_s)

    def status(self) -> ServiceStatus:
        """What there is to tell of it now."""
        return ServiceStatus(self.spec.name, self.state, self._started_in_s, self._detail, self.tasks.restarts)

    async def health(self, timeout_s: float) -> ServiceHealth:
        """Ping it, for at most ``timeout_s``; a service without ping reports its state. Raises nothing."""
        began = self._clock.monotonic()
        answered, said = True, ""
        if self.spec.ping is not None and self.state.up:
            answered, said = await self._ping(self.spec.ping, timeout_s)
        took_ms = (self._clock.monotonic() - began) * 1000
        ok = answered and self.state is ServiceState.READY
        about = "" if self.state is ServiceState.READY else ": ".join(filter(None, (self.state, self._detail)))
        return ServiceHealth(self.spec.name, ok, took_ms, "; ".join(filter(None, (about, said))))

    def news(self) -> None:
        """Of its tasks: take over their state."""
        if self.state.up:
            self._move(self.tasks.state, self.tasks.detail)

    def failed(self, what: str, error: BaseException | None) -> None:
        """Of its tasks: one has ended for good."""
        self._fail(self._failure(what, error))

    async def _live(self, arguments: Mapping[str, Any]) -> None:
        error: BaseException | None = None
        try:
            async with self.tasks, self.spec.factory(**arguments) as instance:
                self._enter(instance)
                await self._stopping.wait()
        except BaseException as raised:  # noqa: BLE001  cancellation too: this task tells its end in its own words
            error = unwrap_group(raised)
        if self._stopping.is_set():
            self._unclean = None if isinstance(error, asyncio.CancelledError) else error
        else:
            self._fail(self._failure("ended by itself" if self._entered else "did not start", error))

    def _enter(self, instance: Any) -> None:
        self._entered = True
        self._instance = instance
        if self.state is not ServiceState.STARTING:
            return  # too late, or one of its tasks has failed
        self._started_in_s = self._clock.monotonic() - self._began
        self._on_ready(self.spec, instance)
        self._move(self.tasks.state, self.tasks.detail, took_s=self._started_in_s)
        self._settled.set()

    def _failure(self, what: str, error: BaseException | None) -> BotctlError:
        if isinstance(error, BotctlError):
            return error  # it has a sentence, a hint and an exit code of its own
        failure = ServiceFailed(
            f"{self.spec.name} {what}: {describe_end(error)}", hint="Run it again with --debug to see the traceback."
        )
        failure.__cause__ = error
        return failure

    def _fail(self, failure: BotctlError) -> None:
        if self.state is ServiceState.FAILED:
            _log.debug("%s, which has failed already: %s", self.spec.name, failure)
            return
        # A failure while starting is raised at once; a later one only after all has been stopped.
        _log.log(logging.ERROR if self.state.up else logging.DEBUG, "%s has failed: %s", self.spec.name, failure)
        self._move(ServiceState.FAILED, str(failure))
        self._settled.set()
        self._on_failure(failure)

    def _conclude(self, note: str, took_s: float) -> None:
        if self._task is not None and not self._task.done():
            left = ["the service itself"]
        else:
            left = [f"task {name}" for name in self.tasks.alive]
        if left:
            note = f"abandoned, still running: {', '.join(left)}"
            _log.error("%s was %s", self.spec.name, note)
        elif self._unclean is not None:
            note = f"failed while it stopped: {describe_end(self._unclean)}"
            _log.error("%s %s", self.spec.name, note, exc_info=self._unclean)
        elif self.state is not ServiceState.FAILED:
            self._move(ServiceState.STOPPED, note, took_s=took_s)
            return
        self._move(ServiceState.FAILED, "; ".join(filter(None, (self._detail, note))), took_s=took_s)

    async def _ping(self, ping: Callable[[Any], Awaitable[str | None]], timeout_s: float) -> tuple[bool, str]:
        task = asyncio.create_task(_answer(ping, self._instance), name=f"ping {self.spec.name}")
        try:
            await asyncio.wait({task}, timeout=timeout_s)
        finally:
            task.cancel()  # and not awaited: a ping that does not heed it must not hold the others up
        return task.result() if task.done() else (False, f"no answer in {timeout_s:g} s")

    def _move(self, new: ServiceState, detail: str = "", *, took_s: float | None = None) -> None:
        old, self.state = self.state, new
        if (old, self._detail) == (new, detail):
            return
        self._detail = detail
        _log.debug("%s: %s -> %s %s", self.spec.name, old, new, detail)
        self._publish(ServiceChanged(service=self.spec.name, old=old, new=new, took_s=took_s, detail=detail))


async def _answer(ping: Callable[[Any], Awaitable[str | None]], instance: Any) -> tuple[bool, str]:
    try:
        return True, await ping(instance) or ""
    except asyncio.CancelledError as error:  # nobody waits any more, or it comes from within
        return False, describe_end(error)
    except ANYTHING as error:  # any failure is the answer
        return False, describe_end(unwrap_group(error))
