"""The life of a `botctl run`: start, serve until told to stop, drain, stop, and the exit code that it comes to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from botctl.core.errors import ExitCode
from botctl.core.registry import Registry, Running
from botctl.core.stop import Stop


async def live(
    registry: Registry,
    wanted: tuple[type, ...],
    *,
    stop: Stop,
    ready: Callable[[Running], None],
    drain: Callable[[Running], Awaitable[None]],
) -> ExitCode:
    """Open ``wanted``, say that it is `ready`, go on until a signal, then `drain` and stop everything.

    A signal while it is still starting stops the start. A second signal ends the drain, and shortens every stop.

    Raises:
        BotctlError: a service did not start, or failed for good while it served.
    """
    opened: asyncio.Future[Running] = asyncio.get_running_loop().create_future()

    async def serve() -> ExitCode:
        async with registry.open(*wanted) as running:
            opened.set_result(running)
            ready(running)
            code: ExitCode = await _first(stop.wait(), running.wait())
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


async def _mind(stop: Stop, serving: asyncio.Task[ExitCode], opened: asyncio.Future[Running]) -> None:
    """What signals do beyond what `live` itself waits for."""
    await stop.wait()
    if not opened.done():
        serving.cancel()
        return
    await stop.wait_for_hurry()
    opened.result().hurry()


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
