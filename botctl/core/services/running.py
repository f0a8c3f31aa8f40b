"""Services that run: started and stopped in order, looked after in between."""

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
    """What is ready, by type: for those whose needs are known only when they are loaded.

    The operator's commands are such: the service that loads them asks for a ``Services`` and is registered with
    ``also=`` what they need. Everything else gets its needs as arguments.
    """

    def __init__(self, ready: Mapping[Key, Any]) -> None:
        self._ready = ready

    def get(self, key: type[T]) -> T:
        """The service of type ``key``.

        Raises:
            MissingNeed: there is none, or it is not running.
        """
        if key not in self._ready:
            raise MissingNeed(
                f"{label(key)} is not running", hint="Register it, and name it among what this part needs or opens."
            )
        return cast(T, self._ready[key])

    def resolve(self, target: Callable[..., Any]) -> dict[str, Any]:
        """Arguments for ``target``, a class or a function, by its annotations.

        Raises:
            MissingNeed: a parameter without default asks for what is not there.
            AssemblyError: a parameter has neither annotation nor default.
        """
        return fill(parameters_of(target), self._ready, label(unwrap_partial(target)))


def fill(parameters: Collection[Parameter], ready: Mapping[Key, Any], name: str) -> dict[str, Any]:
    """Arguments for ``parameters`` of ``name``; an optional one that is not there keeps its default."""
    for parameter in parameters:
        if parameter.key not in ready and not parameter.optional:
            raise missing(parameter.key, [name])
    return {p.name: ready[p.key] for p in parameters if p.key in ready}


class RunningServices(Services):
    """A registry that is open. Only `botctl.run` holds it.

    Services may ask for its `StatusSource`.
    """

    def __init__(
        self,
        plan: Collection[Spec],
        values: Mapping[Key, Any],
        *,
        publish: Callable[[Event], None],
        clock: Clock,
        random: Random,
    ) -> None:
        self._found = {**values, StatusSource: self}
        super().__init__(self._found)
        self._services = {
            spec.key: Service(
                spec, on_ready=self._ready_now, on_failure=self._fail, publish=publish, clock=clock, random=random
            )
            for spec in plan
        }
        known = {*self._services, *values}
        self._needs = {s.key: [n for n in s.needs(known) if n in self._services] for s in plan}
        self._failure: asyncio.Future[BotctlError] = asyncio.get_running_loop().create_future()
        self._patience = ShutdownDeadline()
        self._closing = False

    def statuses(self) -> list[ServiceStatus]:
        """Every service, in the order in which they start."""
        return [service.status() for service in self._services.values()]

    async def health(self, timeout_s: float = 2.0) -> list[ServiceHealth]:
        """Ping all at once, each for at most ``timeout_s``; raises nothing."""
        return list(await asyncio.gather(*(service.health(timeout_s) for service in self._services.values())))

    async def wait(self) -> NoReturn:
        """Wait until a service can no longer be relied on.

        Raises:
            ServiceFailed: it ended, or a task of it did that is not restarted. A BotctlError is passed on as it is.
        """
        raise await asyncio.shield(self._failure)

    async def drain(self, limit_s: float) -> None:
        """Let every service finish what is under way, all at once, each for at most ``limit_s``."""
        await asyncio.gather(*(service.drain(limit_s) for service in self._services.values()))

    def hurry(self) -> None:
        """Wait for nothing longer than a moment from now on (a second signal): a stop under way is shortened too."""
        self._patience.hurry()

    async def start(self) -> None:
        """Start all, each when what it needs is ready. Called by the registry.

        Raises:
            ServiceFailed, ServiceTimeout, BotctlError: the first failure; nothing was started after it.
        """
        walk = asyncio.create_task(_walk(self._needs, self._start), name="registry start")
        ends: set[asyncio.Future[Any]] = {walk, self._failure}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            walk.cancel()
        self.check()
        walk.result()

    def check(self) -> None:
        """Raise the failure, if there was one."""
        if self._failure.done():
            raise self._failure.result()

    async def stop(self) -> None:
        """Stop all that was started, each when all that need it have stopped. Called by the registry."""
        self._closing = True
        needed_by: dict[Key, list[Key]] = {key: [] for key in self._needs}
        for key, needs in self._needs.items():
            for need in needs:
                needed_by[need].append(key)
        await _walk(needed_by, lambda key: self._services[key].stop(self._patience))

    async def _start(self, key: Key) -> None:
        if self._closing:
            return
        service = self._services[key]
        own = {Tasks: service.tasks, Services: Services(self._found)}
        await service.start(fill(service.spec.parameters, {**self._found, **own}, service.spec.name))

    def _ready_now(self, spec: Spec, instance: Any) -> None:
        self._found[spec.key] = instance

    def _fail(self, failure: BotctlError) -> None:
        self._closing = True
        if not self._failure.done():
            self._failure.set_result(failure)


async def _walk(graph: Mapping[Key, Collection[Key]], step: Callable[[Key], Awaitable[None]]) -> None:
    """Do ``step`` for every key, at once where possible, but after those that ``graph`` names before it."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    async with asyncio.TaskGroup() as group:

        def go_on() -> None:
            for key in sorter.get_ready():
                group.create_task(walk(key))

        async def walk(key: Key) -> None:
            await step(key)
            sorter.done(key)
            go_on()

        go_on()
