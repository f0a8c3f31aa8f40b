"""The lifecycle of a `botctl run`: start, serve until a signal, drain (finish work in flight), stop; an exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, Protocol

from botctl.core.config.loading import Loaded
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import RunEnding, RunStarted
from botctl.core.errors import BotctlError, ExitCode, ServiceFailed
from botctl.core.event_loop.tasks import create_watched_task
from botctl.core.processes.runtime import Runtime
from botctl.core.services.registry import Registry, RunningServices
from botctl.core.telemetry.logs import FILE_ONLY
from botctl.core.version import __version__
from botctl.run.process_manager import connect_supervisor, pm2_warnings
from botctl.run.roles import ProcessRole, build_run_registry
from botctl.run.signals import EXIT_GRACE_S, ShutdownSignals, handle_signals

_log = logging.getLogger(__name__)
_file_log = logging.getLogger(FILE_ONLY)


class RunDisplay(Protocol):
    """Shows the progress of a run."""

    def show_progress(self, names: Sequence[str], bus: Bus) -> AbstractContextManager[object]:
        """Show what ``bus`` reports of the services ``names``, until the block ends with the run."""
        ...

    def show_ready(self, running: RunningServices) -> None: ...


async def run(
    loaded: Loaded, roles: Collection[ProcessRole], view: RunDisplay, *, skip_broken: bool = False
) -> ExitCode:
    """Run ``roles`` of the bot until a signal; returns its exit code. ``skip_broken``: leave out broken command files.

    Raises Held if another process of this project has one of ``roles``, BotctlError if anything is wrong or fails.
    """
    bus = Bus()
    registry, service_types = build_run_registry(loaded, roles, bus=bus, skip_broken=skip_broken)
    plan = registry.plan(*service_types)
    drain_s = loaded.settings.shutdown.drain_s
    hard_limit_s = drain_s + sum(spec.stop_s for spec in plan)
    for warning in (*loaded.notices, *pm2_warnings(os.environ, max_stop_s=hard_limit_s + EXIT_GRACE_S)):
        _log.warning("%s", warning)
    with ExitStack() as stack, handle_signals(hard_limit_s) as signals:
        supervisor = stack.enter_context(connect_supervisor(partial(signals.receive, signal.SIGINT)))
        for role in roles:
            hint = "Stop that process first, or use it. `botctl monitor` and `botctl stores` show what runs."
            stack.enter_context(Runtime(loaded.root).lock(role, message=_ROLE_TAKEN[role], hint=hint))
        stack.enter_context(view.show_progress([spec.name for spec in plan], bus))

        def on_ready(running: RunningServices) -> None:
            view.show_ready(running)
            supervisor.notify_ready()
            bus.publish(RunStarted(roles=tuple(map(str, roles)), version=__version__))

        def on_exit(exit_code: ExitCode) -> None:
            bus.publish(RunEnding(exit_code=exit_code))

        async def drain(running: RunningServices) -> None:
            supervisor.notify_stopping()
            await running.drain(drain_s)

        exit_code: ExitCode = ExitCode.FAILED
        try:
            exit_code = await run_services(
                registry, service_types, signals=signals, on_ready=on_ready, on_exit=on_exit, drain=drain
            )
            return exit_code
        except BotctlError as error:
            _file_log.error("%s", error)  # the message is enough; a traceback would add nothing
            exit_code = error.exit_code
            raise
        finally:
            signals.limit_exit(exit_code)


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
