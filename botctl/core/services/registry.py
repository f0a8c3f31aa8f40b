"""The registry: the services of one process, each with the factory that creates it.

A factory is an async context manager. Its annotated parameters are its dependencies, what it yields is the service::

    @asynccontextmanager
    async def audit(database: Database, tasks: Tasks) -> AsyncIterator[Audit]:
        writer = Writer(database)
        tasks.spawn(writer.run, name="writer", restart=Backoff())
        yield writer
        await writer.flush()

The start order is known before anything starts. Services get their dependencies as arguments. Only `botctl.run` has the
registry; no service looks another one up.
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

_BUILT_IN = (Tasks, Services, StatusSource)  # provided by the registry; of the first two, each service gets its own


def _ignore(_: Event) -> None:
    pass


class Registry:
    """Services and their factories. ``publish`` gets every change of state and must not raise."""

    def __init__(
        self,
        *,
        publish: Callable[[Event], None] = _ignore,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self._publish = publish
        self._clock = clock or SystemClock()
        self._random = random or Random()  # noqa: S311  spreads the delays of restarts
        self._values: dict[Key, Any] = {}
        self._specs: dict[Key, Spec] = {}
        self._opened = False
        self._running: RunningServices | None = None

    def value(self, key: type[T], value: T, *, replace: bool = False) -> None:
        """Provide an existing object as type ``key``.

        Raises:
            AssemblyError: ``key`` is provided already and ``replace`` is False, or the registry has been opened.
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
        depends_on: Iterable[type] = (),
        start_s: float = 15.0,
        stop_s: float = 5.0,
        ping: Callable[[T], Awaitable[str | None]] | None = None,
        drain: Callable[[T, float], Awaitable[None]] | None = None,
        replace: bool = False,
    ) -> type:
        """Register the service of ``factory``; returns its type, for `open`.

        ``key``: its type; by default what the factory yields. One that yields None cannot be a dependency.
        ``name``: for people; by default that of the type. ``depends_on``: dependencies in addition to its parameters.
        ``ping``: returns a detail for people, or raises when the service is unhealthy. ``drain``: refuses new work and
        waits for work in flight, for at most the given seconds.

        Raises:
            AssemblyError: as for `value`, or an annotation is missing.
        """
        parameters = parameters_of(factory)
        provides: Key = provided_by(factory) if key is None else key
        if provides is None:
            name = name or label(unwrap_partial(factory))
            provides = type(name, (), {})  # a unique type
        name = name or label(provides)
        self._check_free(provides, name, replace=replace)
        self._values.pop(provides, None)
        self._specs[provides] = Spec(
            provides, name, factory, parameters, tuple(depends_on), start_s, stop_s, ping, drain
        )
        return cast(type, provides)

    def plan(self, *wanted: type) -> tuple[Spec, ...]:
        """The services ``wanted`` (default: all) and their dependencies, in start order.

        Raises:
            MissingNeed: no service provides a type that is needed.
            CircularNeed: services depend on each other in a circle.
        """
        return in_order(self._specs, self._known(), wanted or self._specs)

    @asynccontextmanager
    async def open(self, *wanted: type) -> AsyncIterator[RunningServices]:
        """Start ``wanted`` (default: all) and their dependencies. When the block ends, stop them, dependents first.

        Every service is stopped within its limits, even after a failure, a hang or a cancellation. An error of the
        block is raised; errors while stopping are logged and shown in the statuses.

        Raises:
            AssemblyError: as for `plan`; nothing was started.
            ServiceFailed: a service did not start, or failed during the block; ServiceTimeout: it was too slow.
                A BotctlError of a factory or task is raised as it is.
        """
        plan = self.plan(*wanted)
        self._opened = True
        self._running = running = RunningServices(
            plan, self._values, publish=self._publish, clock=self._clock, random=self._random
        )
        try:
            await running.start()
            yield running
            running.check()
        finally:
            cancelled = await _finish_uncancelled(running.stop())
        if cancelled:  # an error of the block takes precedence and has been raised already
            raise asyncio.CancelledError

    def expedite(self) -> None:
        """Shorten the stop of the services, also after a start that was cancelled; see `RunningServices.expedite`."""
        if self._running is not None:
            self._running.expedite()

    def _known(self) -> Collection[Key]:
        return {*self._values, *self._specs, *_BUILT_IN}

    def provides(self, key: Any) -> bool:
        return key in self._known()

    def _check_free(self, key: Key, name: str, *, replace: bool) -> None:
        if self._opened:
            raise AssemblyError(
                f"{name} cannot be registered: the registry has been opened",
                hint="Register every service before `open`.",
            )
        if key in _BUILT_IN:
            raise AssemblyError(f"{name} cannot be registered: the registry provides it itself")
        twice = key in self._values or key in self._specs
        if twice and not replace:
            raise AssemblyError(f"{label(key)} is registered twice", hint="Pass replace=True to replace the first one.")
        if any(spec.name == name and spec.key != key for spec in self._specs.values()):
            raise AssemblyError(f"two services are called {name}", hint="Give one of them another name.")


async def _finish_uncancelled(work: Coroutine[Any, Any, None]) -> bool:
    """Wait until ``work`` is done, even if the caller is cancelled. Returns whether it was cancelled."""
    task = asyncio.create_task(work, name="registry stop")
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    return cancelled
