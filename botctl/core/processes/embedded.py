"""An embedded part: run here as a child process, or joined when another process of the project runs it already.

The embedded stores and the sandbox are such parts. Exactly one process owns a part: it holds the lock ``<name>``.
Others find the part in ``.botctl/runtime.json`` and hold ``<name>-users`` together while they use it. A verb that owns
a part for its own short duration waits a little for its users before it takes the part down; a `botctl run` never joins
such a part, it waits until it is gone; and one that is to own its parts joins nobody at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import StoreRestarted
from botctl.core.errors import Held, ServiceTimeout, Unreachable
from botctl.core.processes.child import Child, LaunchSpec
from botctl.core.processes.runtime import Part, Runtime
from botctl.core.services.tasks import Tasks

START_S: Final = 10.0
LINGER_S: Final = 3.0  # how long an owner that is a short verb waits for the users of its store
_TURN_S: Final = 10.0  # how long another owner's start or end is waited for
_POLL_S: Final = 0.02
_WATCH_S: Final = 0.5


class Endpoint(NamedTuple):
    """Where a part is, and the secret that opens it, if it has one."""

    address: str
    secret: str | None = None


def _ignore(_address: str) -> None:
    """For a part that leaves nothing behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSpec:
    """How a part is run. ``name`` is its name in ``runtime.json``; ``title`` is what a person reads.

    ``clean`` is called with its address after it has stopped. ``secret`` is what others need to talk to it; it is kept
    in ``runtime.json``, which only this user may read.
    """

    name: str
    title: str
    new_address: Callable[[Runtime], str]
    answers: Callable[[Endpoint], Awaitable[bool]]
    launch: Callable[[Runtime, str], LaunchSpec]
    clean: Callable[[str], None] = _ignore
    secret: str | None = field(default=None, repr=False)

    @property
    def users(self) -> str:
        """The lock that its users share."""
        return f"{self.name}-users"


@asynccontextmanager
async def embedded(recipe: PartSpec, runtime: Runtime, bus: Bus, tasks: Tasks) -> AsyncIterator[Endpoint]:
    """Where the part is, which runs at least until the block ends.

    A part that ends is started again at the same address: ``tasks`` is degraded meanwhile, then StoreRestarted is
    published. If it is another process's and that process ends, a task of ``tasks`` ends with Unreachable.

    Raises:
        Held: a short verb owns the part and this is a `botctl run`; or another one does, and this is to own it.
        ServiceFailed: it cannot be started.
    """
    async with AsyncExitStack() as stack:
        part = await _acquire(recipe, runtime, stack)
        if part is None:
            address = await stack.enter_async_context(_run_part(recipe, runtime, bus, tasks))
            yield Endpoint(address, recipe.secret)
        else:
            await _wait_until_ready(recipe, part)
            tasks.spawn(partial(_watch_owner, recipe, runtime, part), name="owner")
            yield Endpoint(part.address, part.secret)


def find_running(recipe: PartSpec, runtime: Runtime) -> Endpoint:
    """Where the part is that a `botctl run` of the project runs; for those who only look, and start nothing.

    Raises:
        Unreachable: there is none.
    """
    part = runtime.live().get(recipe.name)
    if part is None or not part.lasting:
        raise Unreachable(
            "No `botctl run` of this project is up.", hint="Start it, or name the project with --project."
        )
    return Endpoint(part.address, part.secret)


async def _acquire(recipe: PartSpec, runtime: Runtime, stack: AsyncExitStack) -> Part | None:
    """The part to join, or None: then this process is the owner. The lock that goes with it is on ``stack``."""
    deadline = time.monotonic() + _TURN_S
    while True:
        try:
            with ExitStack() as locks:
                part = _joinable(recipe, runtime)
                locks.enter_context(runtime.share(recipe.users) if part else _owner_lock(recipe, runtime))
                if part == _joinable(recipe, runtime):  # it may have been withdrawn before the lock was ours
                    stack.push(locks.pop_all())
                    return part
        except Held:
            if time.monotonic() > deadline or (runtime.owning and _has_long_lived_owner(recipe, runtime)):
                raise
        await asyncio.sleep(_POLL_S)


def _owner_lock(recipe: PartSpec, runtime: Runtime) -> AbstractContextManager[None]:
    hint = "End that process first, or leave it the embedded parts: other roles join them."
    return runtime.lock(recipe.name, taken=f"already runs {recipe.name}", hint=hint)


def _has_long_lived_owner(recipe: PartSpec, runtime: Runtime) -> bool:
    part = runtime.live().get(recipe.name)
    return part is not None and part.lasting


def _joinable(recipe: PartSpec, runtime: Runtime) -> Part | None:
    part = runtime.live().get(recipe.name)
    return part if part and not runtime.owning and (part.lasting or not runtime.lasting) else None


@asynccontextmanager
async def _run_part(recipe: PartSpec, runtime: Runtime, bus: Bus, tasks: Tasks) -> AsyncIterator[str]:
    """Run the part; the lock is ours."""

    def restarted(exit_status: int, down_s: float) -> None:
        tasks.recovered()
        bus.publish(StoreRestarted(store=recipe.name, exit_status=exit_status, down_s=round(down_s, 3)))

    await runtime.end_leftover(recipe.name)
    address = recipe.new_address(runtime)
    child = Child(
        recipe.launch(runtime, address),
        spawned=lambda pid: _publish(recipe, runtime, pid, address),
        down=tasks.degraded,
        restarted=restarted,
    )
    try:
        async with child:
            tasks.spawn(child.supervise, name="child")
            try:
                yield address
            finally:
                await _unpublish(recipe, runtime)
    finally:
        runtime.withdraw(recipe.name)
        recipe.clean(address)


def _publish(recipe: PartSpec, runtime: Runtime, pid: int, address: str) -> None:
    runtime.publish(recipe.name, pid=pid, address=address, secret=recipe.secret)


async def _unpublish(recipe: PartSpec, runtime: Runtime) -> None:
    """Take the part off the list so that nobody joins it any more; a short verb first lets its users finish."""
    deadline = time.monotonic() + (0 if runtime.lasting else LINGER_S)
    while True:
        try:
            with runtime.lock(recipe.users):
                runtime.withdraw(recipe.name)
                return
        except Held:
            if time.monotonic() >= deadline:
                runtime.withdraw(recipe.name)
                return
        await asyncio.sleep(_POLL_S)


async def _wait_until_ready(recipe: PartSpec, part: Part) -> None:
    """Its owner may be starting it at this moment."""
    try:
        async with asyncio.timeout(START_S):
            while not await _is_ready(recipe, Endpoint(part.address, part.secret)):  # noqa: ASYNC110  it is in another process
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        sentence = f"{recipe.title}, which process {part.owner_pid} runs, does not answer."
        raise ServiceTimeout(sentence, hint="Look at the logs of that process, or end it.") from None


async def _is_ready(recipe: PartSpec, endpoint: Endpoint) -> bool:
    try:
        return await recipe.answers(endpoint)
    except OSError:
        return False


async def _watch_owner(recipe: PartSpec, runtime: Runtime, joined: Part) -> None:
    """Return never; raise when the part is gone for good: its owner has taken it off the list, or has died."""
    while _same_owner(runtime.parts().get(recipe.name), joined):  # noqa: ASYNC110  it is another process
        await asyncio.sleep(_WATCH_S)
    raise Unreachable(
        f"{recipe.title} has stopped, because the process that ran it ({joined.owner_pid}) has.",
        hint="Start this process again: it finds it where it runs next, or runs it itself.",
    )


def _same_owner(part: Part | None, joined: Part) -> bool:
    return (
        part is not None
        and (part.owner_pid, part.owner_started) == (joined.owner_pid, joined.owner_started)
        and part.owned
    )
