"""The life of a `botctl run`: start, serve until told to stop, drain, stop, and the exit code that it comes to."""

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
from botctl.core.processes.runtime import Runtime
from botctl.core.services.registry import Registry, RunningServices
from botctl.core.telemetry.logs import FILE_ONLY
from botctl.core.version import __version__
from botctl.run.roles import ProcessRole, run_registry
from botctl.run.signals import DEPART_S, Stop, listening
from botctl.run.supervisor import supervised, warnings

_log = logging.getLogger(__name__)
_told = logging.getLogger(FILE_ONLY)


class RunDisplay(Protocol):
    """What shows a run to a person."""

    def following(self, names: Sequence[str], bus: Bus) -> AbstractContextManager[object]:
        """Show what ``bus`` tells of the services called ``names``, until the block ends with the run."""
        ...

    def ready(self, running: RunningServices) -> None:
        """All of them run."""
        ...


async def run(
    loaded: Loaded, roles: Collection[ProcessRole], view: RunDisplay, *, skip_broken: bool = False
) -> ExitCode:
    """Be ``roles`` of the bot until a signal; returns the exit code that it stands for.

    Raises:
        Held: another process of this project has one of ``roles``.
        BotctlError: something is wrong with the settings or commands, or a service failed.
    """
    bus = Bus()
    registry, types = run_registry(loaded, roles, bus=bus, skip_broken=skip_broken)
    plan = registry.plan(*types)
    drain_s = loaded.settings.shutdown.drain_s
    hard_limit_s = drain_s + sum(spec.stop_s for spec in plan)
    for misgiving in warnings(os.environ, stop_s=hard_limit_s + DEPART_S):
        _log.warning("%s", misgiving)
    with ExitStack() as held, listening(hard_limit_s) as stop:
        supervisor = held.enter_context(supervised(partial(stop.receive, signal.SIGINT)))
        for role in roles:
            hint = "End that process first, or use it; `botctl monitor` and `botctl stores` show what runs."
            held.enter_context(Runtime(loaded.root).lock(role, message=_TAKEN[role], hint=hint))
        held.enter_context(view.following([spec.name for spec in plan], bus))

        def ready(running: RunningServices) -> None:
            view.ready(running)
            supervisor.ready()
            bus.publish(RunStarted(roles=tuple(map(str, roles)), version=__version__))

        def ending(code: ExitCode) -> None:
            bus.publish(RunEnding(exit_code=code))

        async def drain(running: RunningServices) -> None:
            supervisor.stopping()
            await running.drain(drain_s)

        code: int = ExitCode.FAILED
        try:
            code = ended = await live(registry, types, stop=stop, ready=ready, ending=ending, drain=drain)
            return ended
        except BotctlError as error:
            _told.error("%s", error)  # a sentence; its trace says nothing more
            code = error.exit_code
            raise
        finally:
            stop.depart(code)


_TAKEN = {
    ProcessRole.BOT: "is already the bot",
    ProcessRole.REALTIME: "is already the realtime server",
    ProcessRole.JOBS: "already runs the jobs",
    ProcessRole.STORES: "already keeps the stores",
}


async def live(
    registry: Registry,
    wanted: tuple[type, ...],
    *,
    stop: Stop,
    ready: Callable[[RunningServices], None],
    ending: Callable[[ExitCode], None],
    drain: Callable[[RunningServices], Awaitable[None]],
) -> ExitCode:
    """Open ``wanted``, say that it is `ready`, go on until a signal, tell the `ending`, `drain` and stop everything.

    A signal while it is still starting stops the start. A second signal ends the drain, and shortens every stop.

    Raises:
        BotctlError: a service did not start, or failed for good while it served.
    """
    opened: asyncio.Future[RunningServices] = asyncio.get_running_loop().create_future()

    async def serve() -> ExitCode:
        async with registry.open(*wanted) as running:
            opened.set_result(running)
            ready(running)
            try:
                code: ExitCode = await _first(stop.wait(), running.wait())
            except BotctlError as error:
                ending(error.exit_code)
                raise
            ending(code)
            await _first(_awaited(drain(running)), stop.wait_for_hurry())
            return code

    serving = asyncio.create_task(serve(), name="serve")
    minding = asyncio.create_task(_mind(stop, serving, opened), name="signals")
    try:
        return await serving
    except asyncio.CancelledError:
        if stop.code is None or not serving.cancelled():
            raise
        return stop.code
    finally:
        minding.cancel()


def carry_on(runner: asyncio.Runner, main: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    """Run ``main`` to its end, even where another task calls sys.exit, with which asyncio leaves the loop.

    Raises:
        ServiceFailed: ``main`` itself was ended so.
    """
    loop = runner.get_loop()
    task = loop.create_task(main, name="main")
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if not task.done():
                _log.exception("a task ended with %s; the others go on", type(error).__name__)
            elif isinstance(error, SystemExit):
                raise ServiceFailed("sys.exit was called in the midst of it", hint="--debug shows where.") from error
            else:
                raise


async def _mind(stop: Stop, serving: asyncio.Task[ExitCode], opened: asyncio.Future[RunningServices]) -> None:
    """What signals do beyond what `live` itself waits for."""
    await stop.wait()
    if not opened.done():
        serving.cancel()
        return
    await stop.wait_for_hurry()
    opened.result().expedite()


async def _awaited(work: Awaitable[None]) -> None:
    await work


async def _first(*works: Coroutine[Any, Any, Any]) -> Any:
    """The result of the one that is done first; the others are cancelled, and are over when this returns."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return done.pop().result()
