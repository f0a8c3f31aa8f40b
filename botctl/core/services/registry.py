"""The registry: one long-lived, ordered set of services.

A factory is an async context manager; the annotations of its parameters are its needs, what it yields is the service::

    @asynccontextmanager
    async def audit(database: Database, tasks: Tasks) -> AsyncIterator[Audit]:
        writer = Writer(database)
        tasks.spawn(writer.run, name="writer", restart=Backoff())
        yield writer
        await writer.flush()

The order is known before anything starts. It is a tool for putting things together, not a place to look things up:
services get what they need as arguments, and only `botctl.run` holds the registry.
Typed look-up, pings at registration and replacing for tests are ideas of the library svcs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any, TypeVar, cast

from botctl.core.clock import Clock, SystemClock
from botctl.core.contracts.events import Event
from botctl.core.contracts.protocols import StatusSource
from botctl.core.contracts.service_state import ServiceHealth, ServiceState, ServiceStatus
from botctl.core.errors import AssemblyError
from botctl.core.services.dependencies import Spec, in_order, load_factory
from botctl.core.services.running import RunningServices, Services
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.signatures import Key, label, parameters_of, provided_by, unwrap_partial

__all__ = [
    "Backoff",
    "Registry",
    "RunningServices",
    "ServiceHealth",
    "ServiceState",
    "ServiceStatus",
    "Services",
    "Spec",
    "Tasks",
    "load_factory",
]

T = TypeVar("T")

_BUILT_IN = (Tasks, Services, StatusSource)  # the registry's own to give; of the first two, each service gets its own


def _ignore(_: Event) -> None:
    pass


class Registry:
    """Services and how they are made. ``publish`` hears every change of state; it must not raise.

    ``random`` spreads the delays of restarts.
    """

    def __init__(
        self,
        *,
        publish: Callable[[Event], None] = _ignore,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self._publish = publish
        self._clock = clock or SystemClock()
        self._random = random or Random()  # noqa: S311  it spreads retries, it keeps no secret
        self._values: dict[Key, Any] = {}
        self._specs: dict[Key, Spec] = {}
        self._opened = False

    def value(self, key: type[T], value: T, *, replace: bool = False) -> None:
        """Provide something that is already made, as type ``key``.

        Raises:
            AssemblyError: ``key`` is provided already and ``replace`` is not set, or the registry has been opened.
        """
        self._check_free(key, label(key), replace=replace)
        self._specs.pop(key, None)
        self._values[key] = value

    def add(
        self,
        factory: Callable[..., AbstractAsyncContextManager[T]],
        *,
        key: type[T] | None = None,
        name: str | None = None,
        also: Iterable[type] = (),
        start_s: float = 15.0,
        stop_s: float = 5.0,
        ping: Callable[[T], Awaitable[str | None]] | None = None,
        drain: Callable[[T, float], Awaitable[None]] | None = None,
        replace: bool = False,
    ) -> type:
        """Provide a service that ``factory`` makes; returns its type, for `open`.

        Its type is ``key``, else what the factory is annotated to yield (one that yields None is started, and nobody
        can ask for it). ``name`` is for people, else the name of the type. ``also`` are needs beyond its parameters.
        ``ping`` returns a detail for people, or raises when the service is not well. ``drain`` takes no new work, and
        waits for what is under way for at most the seconds that it is given.

        Raises:
            AssemblyError: as for `value`; or its annotations do not say what it needs and provides.
        """
        parameters = parameters_of(factory)
        provides: Key = provided_by(factory) if key is None else key
        if provides is None:
            name = name or label(unwrap_partial(factory))
            provides = type(name, (), {})  # a type that nobody else has
        name = name or label(provides)
        self._check_free(provides, name, replace=replace)
        self._values.pop(provides, None)
        self._specs[provides] = Spec(provides, name, factory, parameters, tuple(also), start_s, stop_s, ping, drain)
        return cast(type, provides)

    def plan(self, *wanted: type) -> tuple[Spec, ...]:
        """The services that ``wanted`` (none named: all) need, in an order in which they can start.

        Raises:
            MissingNeed: a type is needed that nobody provides; the sentence names who needs it.
            CircularNeed: services need each other in a circle; the sentence names it.
        """
        return in_order(self._specs, self._known(), wanted or self._specs)

    @asynccontextmanager
    async def open(self, *wanted: type) -> AsyncIterator[RunningServices]:
        """Start ``wanted`` (none named: all) and what they need; stop them, dependents first, when the block ends.

        They are stopped to the end, each within its limits, whatever happens: a failure, a hang, a cancellation. An
        error of the block goes through; errors while stopping are logged and stand in the statuses.

        Raises:
            AssemblyError: as for `plan`; nothing was started.
            ServiceFailed: a service did not start, or failed during the block and nobody heard of it. A BotctlError
                that a factory or task raises is passed on as it is. ServiceTimeout: it did not start in its time.
        """
        plan = self.plan(*wanted)
        self._opened = True
        running = RunningServices(plan, self._values, publish=self._publish, clock=self._clock, random=self._random)
        try:
            await running.start()
            yield running
            running.check()
        finally:
            cancelled = await _finish_uncancelled(running.stop())
        if cancelled:  # an error of the block is worth more, and has gone through by now
            raise asyncio.CancelledError

    def _known(self) -> Collection[Key]:
        return {*self._values, *self._specs, *_BUILT_IN}

    def provides(self, key: Any) -> bool:
        """Whether a service may ask for ``key``."""
        return key in self._known()

    def _check_free(self, key: Key, name: str, *, replace: bool) -> None:
        if self._opened:
            raise AssemblyError(
                f"{name} cannot be registered: the registry has been opened",
                hint="Register everything before it is opened.",
            )
        if key in _BUILT_IN:
            raise AssemblyError(f"{name} cannot be registered: it is the registry's own to give")
        twice = key in self._values or key in self._specs
        if twice and not replace:
            raise AssemblyError(f"{label(key)} is registered twice", hint="Use replace=True if that is meant.")
        if any(spec.name == name and spec.key != key for spec in self._specs.values()):
            raise AssemblyError(f"two services are called {name}", hint="Give one of them another name.")


async def _finish_uncancelled(work: Coroutine[Any, Any, None]) -> bool:
    """Wait until ``work`` is done, however often the caller is cancelled; whether it was."""
    task = asyncio.create_task(work, name="registry stop")
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    return cancelled
