"""Run an embedded part (a store or the sandbox) as a child process, or join one that another process runs.

Exactly one process owns a part: it holds the lock ``<name>``. The others find the part in ``.botctl/runtime.json`` and
share the lock ``<name>-users``. If the owner is a short command (not `botctl run`), it waits up to `LINGER_S` for these
users before it stops the part. `botctl run` never joins the part of a short command; it waits until
the command has ended, and starts its own. With `Runtime.exclusive` a process joins no part: it waits until the
`botctl run` that owns the part has ended, however long that takes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import StoreRestarted
from botctl.core.errors import Held, Unreachable
from botctl.core.files.disk import full_disk
from botctl.core.processes.child import Child, LaunchSpec
from botctl.core.processes.runtime import FILE, Part, Runtime
from botctl.core.services.tasks import Tasks

_log = logging.getLogger(__name__)

START_S: Final = 30.0  # a second on a machine at rest, 20 on one that has just booted and is busy
LINGER_S: Final = 3.0
_ACQUIRE_S: Final = 10.0  # the longest wait for another owner to start or to end
_POLL_S: Final = 0.02
_NOTIFY_AFTER_S: Final = 2.0
_TAKE_OVER_POLL_S: Final = 0.1  # while it waits for the end of a `botctl run`
_WATCH_S: Final = 0.5  # how often `_watch_owner` reads ``runtime.json``


class Endpoint(NamedTuple):
    """The address of a part, and the secret of its control API, if it has one (the sandbox)."""

    address: str
    secret: str | None = None


def _ignore(_address: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSpec:
    """How to run an embedded part."""

    name: str  # its key in ``runtime.json``
    title: str  # for people
    new_address: Callable[[Runtime], str]
    is_ready: Callable[[Endpoint], Awaitable[bool]]
    launch: Callable[[Runtime, str], LaunchSpec]  # how to start it at an address
    clean: Callable[[str], None] = _ignore  # called with its address after it has stopped
    secret: str | None = field(default=None, repr=False)  # of its control API; stored in ``runtime.json``

    @property
    def users(self) -> str:
        """The name of the lock that its users share."""
        return f"{self.name}-users"


@asynccontextmanager
async def embedded(spec: PartSpec, runtime: Runtime, bus: Bus, tasks: Tasks) -> AsyncIterator[Endpoint]:
    """Run the part, or join the one that another process runs, at least until the block ends.

    When a part of this process ends unexpectedly, ``tasks`` marks the service that owns them as degraded until the
    part has restarted at the same address; then StoreRestarted is published. When the owner of a joined part ends, a
    background task in ``tasks`` raises Unreachable.

    Raises:
        Held: another process owns the part, and this one cannot join it.
        Unreachable: another process owns the part, and it does not run or does not answer.
        ServiceFailed: it cannot be started.
    """
    async with AsyncExitStack() as stack:
        part = await _acquire(spec, runtime, stack)
        if part is None:
            address = await stack.enter_async_context(_run_part(spec, runtime, bus, tasks))
            yield Endpoint(address, spec.secret)
        else:
            await _wait_until_ready(spec, part)
            tasks.spawn(partial(_watch_owner, spec, runtime, part), name="owner")
            yield Endpoint(part.address, part.secret)


def find_running(spec: PartSpec, runtime: Runtime) -> Endpoint:
    """Return the endpoint of the part that a `botctl run` of this project runs. Starts nothing.

    Raises:
        Unreachable: there is none. The sentence says whether a `botctl run` of this host is up all the same.
    """
    part = runtime.parts().get(spec.name)
    if part is not None and part.lasting and part.live:
        return Endpoint(part.address, part.secret)
    if part is not None and part.lasting and part.owned:
        raise _not_running(spec, runtime, f"process {part.owner_pid}")
    if runs := runtime.runs():
        raise _not_running(spec, runtime, " and ".join(map(str, runs)))
    raise Unreachable("No `botctl run` of this project is up.", hint="Start it, or name the project with --project.")


def _not_running(spec: PartSpec, runtime: Runtime, owner: str) -> Unreachable:
    """The part cannot be found, though its ``owner`` is up: it died and is started again, or could not be listed."""
    sentence = f"{spec.title} is not running, as far as {runtime.folder / FILE} says, but {owner} is up"
    if full := full_disk(runtime.folder):
        return Unreachable(f"{sentence}: {full}.", hint="Free space on that disk. Then it is started again.")
    hint = f"Try again in some seconds. If that does not help, look into {runtime.log(spec.name)}."
    return Unreachable(f"{sentence}.", hint=hint)


async def _acquire(spec: PartSpec, runtime: Runtime, stack: AsyncExitStack) -> Part | None:
    """Return the part to join, or None if this process is the owner. Puts the lock on ``stack``."""
    deadline = time.monotonic() + _ACQUIRE_S
    while True:
        try:
            with ExitStack() as locks:
                part = _joinable(spec, runtime)
                locks.enter_context(runtime.lock_shared(spec.users) if part else _owner_lock(spec, runtime))
                if part == _joinable(spec, runtime):  # it may have been unpublished before we had the lock
                    stack.push(locks.pop_all())
                    return part
        except Held as held:
            if await _wait_for_other_run(spec, runtime):  # it started at the same time, and was faster
                deadline = time.monotonic() + _ACQUIRE_S
            elif time.monotonic() > deadline:
                raise _not_joined(spec, runtime, held) from None
        await asyncio.sleep(_POLL_S)


async def _wait_for_other_run(spec: PartSpec, runtime: Runtime) -> bool:
    """In an exclusive process, wait until no other `botctl run` owns the part; returns whether one did."""
    waited = False
    while runtime.exclusive and (owner := _long_lived_owner(spec, runtime)):
        if not waited:
            _log.warning("%s: process %d runs it; this process takes over when that one ends.", spec.title, owner)
        waited = True
        await asyncio.sleep(_TAKE_OVER_POLL_S)
    return waited


def _owner_lock(spec: PartSpec, runtime: Runtime) -> AbstractContextManager[None]:
    return runtime.lock(spec.name, message=f"already runs {spec.name}")


def _not_joined(spec: PartSpec, runtime: Runtime, held: Held) -> Held | Unreachable:
    """``held``, if the owner runs the part; Unreachable, if this process would join the part but it does not run."""
    if runtime.exclusive or spec.name in runtime.live():
        return held
    owner = runtime.holder(spec.name)
    return _not_running(spec, runtime, "the process that runs it" if owner is None else f"process {owner}")


def _long_lived_owner(spec: PartSpec, runtime: Runtime) -> int | None:
    """The process id of the `botctl run` that owns the part. Its part itself may be restarting."""
    part = runtime.parts().get(spec.name)
    return part.owner_pid if part is not None and part.lasting and part.owned else None


def _joinable(spec: PartSpec, runtime: Runtime) -> Part | None:
    """The running part, if this process may join it."""
    part = runtime.live().get(spec.name)
    return part if part and not runtime.exclusive and (part.lasting or not runtime.long_lived) else None


@asynccontextmanager
async def _run_part(spec: PartSpec, runtime: Runtime, bus: Bus, tasks: Tasks) -> AsyncIterator[str]:
    def on_restart(exit_status: int, down_s: float) -> None:
        tasks.recovered()
        bus.publish(StoreRestarted(store=spec.name, exit_status=exit_status, down_s=round(down_s, 3)))

    await runtime.terminate_leftover(spec.name)
    address = spec.new_address(runtime)
    child = Child(
        spec.launch(runtime, address),
        on_spawn=lambda pid: _publish(spec, runtime, pid, address),
        on_exit=lambda detail: tasks.degraded(
            "; ".join(filter(None, (detail.removesuffix("."), full_disk(runtime.folder))))
        ),
        on_restart=on_restart,
    )
    try:
        async with child:
            tasks.spawn(child.supervise, name="child")
            try:
                yield address
            finally:
                await _unpublish(spec, runtime)
    finally:
        runtime.unpublish(spec.name)
        spec.clean(address)


def _publish(spec: PartSpec, runtime: Runtime, pid: int, address: str) -> None:
    """List the part in ``runtime.json``, so that other processes find it."""
    runtime.publish(spec.name, pid=pid, address=address, secret=spec.secret)


async def _unpublish(spec: PartSpec, runtime: Runtime) -> None:
    """Remove the part from ``runtime.json``, so that no process joins it. A short command first waits for its users."""
    deadline = time.monotonic() + (0 if runtime.long_lived else LINGER_S)
    while True:
        try:
            with runtime.lock(spec.users):
                runtime.unpublish(spec.name)
                return
        except Held:
            if time.monotonic() >= deadline:
                runtime.unpublish(spec.name)
                return
        await asyncio.sleep(_POLL_S)


async def _wait_until_ready(spec: PartSpec, part: Part) -> None:
    sentence = f"{spec.title}, which process {part.owner_pid} runs, does not answer"
    waiting = f"{sentence}. Waiting for it, up to {START_S:.0f} s."
    told = asyncio.get_running_loop().call_later(_NOTIFY_AFTER_S, _log.warning, waiting)
    try:
        async with asyncio.timeout(START_S):
            while not await _is_ready(spec, Endpoint(part.address, part.secret)):  # noqa: ASYNC110  another process
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise Unreachable(f"{sentence}.", hint="See the log of that process, or end it.") from None
    finally:
        told.cancel()


async def _is_ready(spec: PartSpec, endpoint: Endpoint) -> bool:
    try:
        return await spec.is_ready(endpoint)
    except OSError:
        return False


async def _watch_owner(spec: PartSpec, runtime: Runtime, joined: Part) -> None:
    """Watch a joined part. Raises Unreachable when its owner has removed it from ``runtime.json`` or has died."""
    while _same_owner(runtime.parts().get(spec.name), joined):  # noqa: ASYNC110  another process
        await asyncio.sleep(_WATCH_S)
    end = "no longer offers it" if joined.owned else "has ended"
    raise Unreachable(
        f"{spec.title} cannot be used any more, because its owner process ({joined.owner_pid}) {end}.",
        hint="Start this process again. It then joins the part, or runs it itself.",
    )


def _same_owner(part: Part | None, joined: Part) -> bool:
    return (
        part is not None
        and (part.owner_pid, part.owner_started) == (joined.owner_pid, joined.owner_started)
        and part.owned
    )
