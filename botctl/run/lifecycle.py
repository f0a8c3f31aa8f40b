"""The lifecycle of a `botctl run`: start, serve until a signal, drain (finish work in flight), stop; an exit code."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Final, Protocol

from botctl.core.config.loading import Loaded
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import RunEnding, RunStarted, ServiceChanged
from botctl.core.contracts.health import Health
from botctl.core.contracts.service_state import describe_end
from botctl.core.errors import BotctlError, ExitCode, ServiceFailed
from botctl.core.event_loop.tasks import create_watched_task
from botctl.core.processes.runtime import Runtime
from botctl.core.services.registry import Registry, RunningServices
from botctl.core.telemetry.logs import FILE_ONLY
from botctl.core.version import __version__
from botctl.logins.gate import describe_series
from botctl.logins.pauses import Series, pause_s
from botctl.monitor.health_socket import health_socket
from botctl.monitor.own_health import OwnHealth
from botctl.run.process_manager import START_EXTENSION_S, Supervisor, connect_supervisor, pm2_warnings
from botctl.run.roles import ProcessRole, build_run_registry, start_history
from botctl.run.signals import EXIT_GRACE_S, ShutdownSignals, handle_signals

_log = logging.getLogger(__name__)
_file_log = logging.getLogger(FILE_ONLY)
_STATUS_EVERY_S: Final = 1.0
_STORE_PARTS: Final = ("redis", "mongo", "sandbox")  # that a process with the role `stores` runs


class RunDisplay(Protocol):
    """Shows the progress of a run."""

    def show_progress(self, names: Sequence[str], bus: Bus) -> AbstractContextManager[object]:
        """Show what ``bus`` reports of the services ``names``, until the block ends with the run."""
        ...

    def show_ready(self, running: RunningServices) -> None: ...


async def run(
    loaded: Loaded,
    roles: Collection[ProcessRole],
    view: RunDisplay,
    *,
    skip_broken: bool = False,
    now: bool = False,
    attended: bool = False,
) -> ExitCode:
    """Run ``roles`` of the bot until a signal; returns its exit code. ``skip_broken``: leave out broken command files.

    ``now``: a person wants no pause after crashes, and may spend the reserve of logins. ``attended``: a person types at
    a terminal: no pause is needed, and Ctrl-C ends the roles on purpose.

    Raises Held if another process of this project has one of ``roles``, BotctlError if anything is wrong or fails.
    """
    bus = Bus()
    history = start_history(loaded, roles)
    health = OwnHealth(roles)
    registry, service_types = build_run_registry(
        loaded,
        roles,
        bus=bus,
        skip_broken=skip_broken,
        history=history,
        ended_by_person=lambda: is_end_by_person(attended, signals.exit_code),
        health=health,
    )
    plan = registry.plan(*service_types)
    drain_s = loaded.settings.shutdown.drain_s
    hard_limit_s = drain_s + sum(spec.stop_s for spec in plan)
    for warning in (*loaded.notices, *pm2_warnings(os.environ, max_stop_s=hard_limit_s + EXIT_GRACE_S)):
        _log.warning("%s", warning)
    with ExitStack() as stack, handle_signals(hard_limit_s) as signals:
        supervisor = stack.enter_context(connect_supervisor(partial(signals.receive, signal.SIGINT)))
        stack.enter_context(_held_roles(Runtime(loaded.root), roles))
        stack.enter_context(_told_health(health, Runtime(loaded.root), supervisor, bus))
        stack.enter_context(view.show_progress([spec.name for spec in plan], bus))
        extending = stack.enter_context(background(_extend_start(supervisor), name="extend start"))

        def on_ready(running: RunningServices) -> None:
            extending.cancel()
            history.note_ready()
            view.show_ready(running)
            supervisor.notify_ready()
            bus.publish(RunStarted(roles=tuple(map(str, roles)), version=__version__))

        def on_exit(exit_code: ExitCode) -> None:
            bus.publish(RunEnding(exit_code=exit_code))

        async def drain(running: RunningServices) -> None:
            supervisor.notify_stopping()
            health.enter(Health.DRAINING, f"{health} is stopping: it finishes what it has begun")
            await running.drain(drain_s)

        exit_code: ExitCode = ExitCode.FAILED
        reason = ""
        try:
            series = history.begin(override=now, attended=attended)
            if series.is_loop:
                raise series.loop_error()
            stack.enter_context(background(history.keep_seen(), name="start history"))
            if await _pause(series, supervisor, signals, health):
                exit_code = await signals.wait()
                return exit_code
            exit_code = await run_services(
                registry, service_types, signals=signals, on_ready=on_ready, on_exit=on_exit, drain=drain
            )
            return exit_code
        except BotctlError as error:
            _file_log.error("%s", error)  # the message is enough; a traceback would add nothing
            exit_code, reason = error.exit_code, str(error)
            raise
        except Exception as error:
            reason = describe_end(error)
            raise
        finally:
            history.end(exit_code, reason)
            signals.limit_exit(exit_code)


def is_end_by_person(attended: bool, exit_code: ExitCode | None) -> bool:
    """Whether a person ends the run: Ctrl-C at a terminal. A process manager sends SIGTERM, or SIGINT without one."""
    return attended and exit_code is ExitCode.INTERRUPTED


@contextmanager
def _held_roles(runtime: Runtime, roles: Collection[ProcessRole]) -> Iterator[None]:
    """Have ``roles`` while the block runs. Raises Held if another process of this project has one of them."""
    hint = "Stop that process first, or use it. `botctl monitor` and `botctl stores` show what runs."
    with ExitStack() as stack:
        for role in roles:
            stack.enter_context(runtime.lock(role, message=_ROLE_TAKEN[role], hint=hint))
        yield


@contextmanager
def _told_health(health: OwnHealth, runtime: Runtime, supervisor: Supervisor, bus: Bus) -> Iterator[None]:
    """While the block runs, tell callers and systemd how this process is, from before its services start."""
    with ExitStack() as stack:
        stack.enter_context(background(health.beat(), name="health beat"))
        status = StatusLine(supervisor, health)
        stack.enter_context(bus.listen(status.note, ServiceChanged))
        stack.enter_context(background(status.keep_true(), name="status line"))
        if ProcessRole.STORES in health.roles:
            stack.enter_context(background(_tell_standby(health, runtime), name="standby"))
        if supervisor.alive_every_s is not None:
            stack.enter_context(background(keep_alive(supervisor, supervisor.alive_every_s, health), name="watchdog"))
        stack.enter_context(health_socket(runtime.folder, health.roles, health.answer_json))
        yield


async def _tell_standby(health: OwnHealth, runtime: Runtime) -> None:
    """A process that waits to take over the stores is well, however long it waits. Returns when it does not wait."""
    waited = False
    while (owner := runtime.other_owner(_STORE_PARTS)) is not None:
        waited = True
        health.enter(Health.HEALTHY, f"{health} stands by: it takes over the stores when process {owner} ends")
        await asyncio.sleep(_STATUS_EVERY_S)
    if waited:
        health.enter(Health.STARTING, f"{health} is starting")


@contextmanager
def background(work: Coroutine[Any, Any, None], *, name: str) -> Iterator[asyncio.Task[None]]:
    """A task that is cancelled when the block ends."""
    task = create_watched_task(work, name=name)
    try:
        yield task
    finally:
        task.cancel()


async def keep_alive(supervisor: Supervisor, every_s: float, health: OwnHealth) -> None:
    """Keep systemd's watchdog quiet, unless a restart is what helps. A blocked loop cannot. Never returns."""
    while True:
        if not health.should_restart():
            supervisor.notify_alive()
        await asyncio.sleep(every_s)


async def _pause(series: Series, supervisor: Supervisor, signals: ShutdownSignals, health: OwnHealth) -> bool:
    """Wait, after starts that failed before their first login. Returns whether a signal ended that.

    After starts that logged in, `botctl.logins.gate` waits: then the stores run, and `botctl monitor` shows it.
    """
    if series.logged_in or not series.starts:
        return False
    last = series.starts[0]
    wait_s = pause_s(series, affordable=math.inf, left_s=0.0) - max(0.0, time.time() - last.seen_s)
    if wait_s <= 0:
        return False
    sentence = f"waiting {wait_s:.0f} s: {describe_series(series)}"
    health.enter(Health.WAITING, f"{health} is {sentence}", "wait, or start it with `botctl run --now`")
    _log.warning("%s", sentence)
    supervisor.notify_status(sentence)
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await signals.wait()
            return True
    health.enter(Health.STARTING, f"{health} is starting")
    return False


async def _extend_start(supervisor: Supervisor) -> None:
    """Tell systemd that the start goes on, as long as the event loop does. Never returns."""
    while True:
        supervisor.extend_start()
        await asyncio.sleep(START_EXTENSION_S / 4)


class StatusLine:
    """What `systemctl status` shows: the verdict on this process, or what a service says while it starts or waits."""

    def __init__(self, supervisor: Supervisor, health: OwnHealth) -> None:
        self._supervisor, self._health = supervisor, health
        self._said: dict[str, str] = {}  # by service, the newest last

    def note(self, event: ServiceChanged) -> None:
        """Keep what a service says of itself: that it waits for logins, for example."""
        self._said.pop(event.service, None)
        if event.detail:
            self._said[event.service] = f"{event.service}: {event.detail}"

    async def keep_true(self) -> None:
        """Tell systemd each change, within a second. Never returns."""
        while True:
            if text := self._text():
                self._supervisor.notify_status(text)
            await asyncio.sleep(_STATUS_EVERY_S)

    def _text(self) -> str:
        """Empty while there is nothing to say but that it starts or stops, which systemd knows."""
        finding = self._health.settled()
        if finding is None:
            return next(reversed(self._said.values()), "")
        return "running" if finding.verdict is Health.HEALTHY else f"{finding.verdict}: {finding.why}"


_ROLE_TAKEN = {
    ProcessRole.BOT: "is already the bot",
    ProcessRole.REALTIME: "is already the realtime server",
    ProcessRole.JOBS: "already runs the jobs",
    ProcessRole.WEB: "already serves the web page",
    ProcessRole.STORES: "already runs the stores",
}


async def run_services(
    registry: Registry,
    service_types: tuple[type, ...],
    *,
    signals: ShutdownSignals,
    on_ready: Callable[[RunningServices], None],
    on_exit: Callable[[ExitCode], None],
    drain: Callable[[RunningServices], Awaitable[None]],
) -> ExitCode:
    """Start the services, call ``on_ready``, wait for a signal, call ``on_exit``, ``drain``, and stop the services.

    A signal during the start cancels the start. A second signal ends the drain and shortens every stop.
    Raises BotctlError if a service did not start, or failed later and cannot be restarted.
    """
    started = asyncio.Event()

    async def serve() -> ExitCode:
        async with registry.open(*service_types) as running:
            started.set()
            on_ready(running)
            try:
                exit_code: ExitCode = await _first_completed(signals.wait(), running.wait())
            except BotctlError as error:
                on_exit(error.exit_code)
                raise
            on_exit(exit_code)
            await _first_completed(_as_coroutine(drain(running)), signals.wait_for_second_signal())
            return exit_code

    serving = asyncio.create_task(serve(), name="serve")
    acting = create_watched_task(_act_on_signals(signals, serving, started, registry), name="signals")
    try:
        return await serving
    except asyncio.CancelledError:
        if signals.exit_code is None or not serving.cancelled():
            raise
        return signals.exit_code
    finally:
        acting.cancel()


def run_to_completion(runner: asyncio.Runner, main: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    """Run ``main`` to its end. If another task raises SystemExit or KeyboardInterrupt, the loop stops and is restarted.

    Raises ServiceFailed if ``main`` itself raised SystemExit.
    """
    loop = runner.get_loop()
    task = loop.create_task(main, name="main")
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if not task.done():
                _log.exception("a task ended with %s; the others continue", type(error).__name__)
            elif isinstance(error, SystemExit):
                raise ServiceFailed(
                    "the code of a service or command called sys.exit",
                    hint="Add --debug to the same command: the traceback shows where.",
                ) from error
            else:
                raise


async def _act_on_signals(
    signals: ShutdownSignals, serving: asyncio.Task[ExitCode], started: asyncio.Event, registry: Registry
) -> None:
    """Cancel the start at the first signal; shorten the stop at the second one."""
    await signals.wait()
    if not started.is_set():
        serving.cancel()
    await signals.wait_for_second_signal()
    registry.expedite()


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    """Await ``awaitable``, because create_task takes only a coroutine."""
    await awaitable


async def _first_completed(*coroutines: Coroutine[Any, Any, Any]) -> Any:
    """The result of the coroutine that completes first. The others are cancelled, and have ended when this returns."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return done.pop().result()
