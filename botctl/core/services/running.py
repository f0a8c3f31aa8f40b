"""The services of an open registry: started and stopped in order, and watched in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from graphlib import TopologicalSorter
from random import Random
from typing import Any, NoReturn, TypeVar, cast

from botctl.core.clock import Clock
from botctl.core.contracts.events import Event
from botctl.core.contracts.protocols import StatusSource
from botctl.core.contracts.service_state import ServiceHealth, ServiceStatus
from botctl.core.errors import BotctlError, MissingNeed
from botctl.core.services.dependencies import Spec, missing
from botctl.core.services.service import Service, ShutdownDeadline
from botctl.core.services.tasks import Tasks
from botctl.core.signatures import Key, Parameter, label, parameters_of, unwrap_partial

T = TypeVar("T")


class Services:
    """The ready services by type, for code whose dependencies are known only at run time: the operator's commands.

    The service that loads the commands is registered with ``depends_on=`` their dependencies.
    """

    def __init__(self, ready: Mapping[Key, Any]) -> None:
        self._ready = ready

    def get(self, key: type[T]) -> T:
        """Return the service of type ``key``.

        Raises:
            MissingNeed: there is none, or it is not running.
        """
        if key not in self._ready:
            raise MissingNeed(
                f"{label(key)} is not running", hint="Register it, and name it in `depends_on` or `open`."
            )
        return cast(T, self._ready[key])

    def resolve(self, target: Callable[..., Any]) -> dict[str, Any]:
        """Arguments for ``target``, a class or a function, by its annotations.

        Raises:
            MissingNeed: no service provides the type of a parameter without default.
            AssemblyError: a parameter has neither annotation nor default.
        """
        return fill(parameters_of(target), self._ready, label(unwrap_partial(target)))


def fill(parameters: Collection[Parameter], ready: Mapping[Key, Any], name: str) -> dict[str, Any]:
    """The arguments for ``parameters`` from ``ready``; optional ones may be missing. ``name``: of the function."""
    for parameter in parameters:
        if parameter.key not in ready and not parameter.optional:
            raise missing(parameter.key, [name])
    return {p.name: ready[p.key] for p in parameters if p.key in ready}


class RunningServices(Services):
    """The services of an open registry. Only `botctl.run` holds it; services see it as `StatusSource`."""

    def __init__(
        self,
        plan: Collection[Spec],
        values: Mapping[Key, Any],
        *,
        publish: Callable[[Event], None],
        clock: Clock,
        random: Random,
    ) -> None:
        self._ready_services = {**values, StatusSource: self}
        super().__init__(self._ready_services)
        self._services = {
            spec.key: Service(
                spec, on_ready=self._on_ready, on_failure=self._on_failure, publish=publish, clock=clock, random=random
            )
            for spec in plan
        }
        known = {*self._services, *values}
        self._dependencies = {s.key: [n for n in s.dependencies(known) if n in self._services] for s in plan}
        self._failure: asyncio.Future[BotctlError] = asyncio.get_running_loop().create_future()
        self._deadline = ShutdownDeadline()
        self._closing = False

    def statuses(self) -> list[ServiceStatus]:
        return [service.status() for service in self._services.values()]

    async def health(self, timeout_s: float = 2.0) -> list[ServiceHealth]:
        """Ping all services concurrently, each for at most ``timeout_s``. Raises nothing."""
        return list(await asyncio.gather(*(service.health(timeout_s) for service in self._services.values())))

    async def wait(self) -> NoReturn:
        """Wait until a service fails.

        Raises:
            ServiceFailed: it ended, or one of its tasks that is not restarted. A BotctlError is raised as it is.
        """
        raise await asyncio.shield(self._failure)

    async def drain(self, limit_s: float) -> None:
        """Drain every service concurrently, each for at most ``limit_s``."""
        await asyncio.gather(*(service.drain(limit_s) for service in self._services.values()))

    def expedite(self) -> None:
        """Shorten every wait of the shutdown, also those that have begun. Called on a second signal."""
        self._deadline.expedite()

    async def start(self) -> None:
        """Start all services, each when its dependencies are ready. Called by the registry.

        Raises:
            ServiceFailed, ServiceTimeout, BotctlError: the first failure. Nothing is started after it.
        """
        walk = asyncio.create_task(_walk(self._dependencies, self._start), name="registry start")
        done: set[asyncio.Future[Any]] = {walk, self._failure}
        try:
            await asyncio.wait(done, return_when=asyncio.FIRST_COMPLETED)
        finally:
            walk.cancel()
        self.check()
        walk.result()

    def check(self) -> None:
        """Raise the first failure of a service, if there was one."""
        if self._failure.done():
            raise self._failure.result()

    async def stop(self) -> None:
        """Stop all services, each when its dependents have stopped. Called by the registry."""
        self._closing = True
        dependents: dict[Key, list[Key]] = {key: [] for key in self._dependencies}
        for key, dependencies in self._dependencies.items():
            for dependency in dependencies:
                dependents[dependency].append(key)
        await _walk(dependents, lambda key: self._services[key].stop(self._deadline))

    async def _start(self, key: Key) -> None:
        if self._closing:
            return
        service = self._services[key]
        own = {Tasks: service.tasks, Services: Services(self._ready_services)}
        await service.start(fill(service.spec.parameters, {**self._ready_services, **own}, service.spec.name))

    def _on_ready(self, spec: Spec, instance: Any) -> None:
        self._ready_services[spec.key] = instance

    def _on_failure(self, failure: BotctlError) -> None:
        self._closing = True
        if not self._failure.done():
            self._failure.set_result(failure)


async def _walk(graph: Mapping[Key, Collection[Key]], step: Callable[[Key], Awaitable[None]]) -> None:
    """Call ``step`` for every key, when its predecessors in ``graph`` (key -> predecessors) are done."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    async with asyncio.TaskGroup() as group:

        def start_ready() -> None:
            for key in sorter.get_ready():
                group.create_task(walk(key))

        async def walk(key: Key) -> None:
            await step(key)
            sorter.done(key)
            start_ready()

        start_ready()
