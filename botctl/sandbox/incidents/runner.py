"""Incidents that go on: begun by name or by a scenario, ended by time, by name, or with the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from botctl.core.errors import UsageError
from botctl.sandbox.incidents import catalogue, register_all  # noqa: F401 - fills the catalogue
from botctl.sandbox.incidents.catalogue import Value
from botctl.sandbox.incidents.scenario import ScenarioStep
from botctl.sandbox.server import Sandbox

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class RunningIncident:
    """An incident that goes on. ``result`` is what it had to tell, once it has ended by itself."""

    name: str
    settings: Mapping[str, Value]
    began_at: str
    for_s: float | None
    task: asyncio.Task[None] = field(repr=False)
    result: Mapping[str, Any] = field(default_factory=dict)


class Incidents:
    """The incidents of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._running: dict[str, RunningIncident] = {}
        self._scenario: asyncio.Task[None] | None = None

    def going_on(self) -> list[RunningIncident]:
        return list(self._running.values())

    async def start(self, name: str, *, for_s: float | None = None, **said: object) -> RunningIncident:
        """Begin the incident; returns once it has had its effect. It ends by itself, after ``for_s``, or by `stop`.

        Raises UsageError for a name or setting that is none, and for an incident that goes on already.
        """
        kind = catalogue.find(name)
        settings = kind.checked(said)
        if name in self._running:
            raise UsageError(f"The incident {name} goes on already.", hint="End it first, or wait.")
        begun = asyncio.create_task(self._run(name, kind.function(self._sandbox, **settings), for_s))
        made = RunningIncident(name, {**kind.settings, **settings}, self._sandbox.world.timestamp(), for_s, begun)
        self._running[name] = made
        _log.warning("Incident %s begins: %s", name, dict(made.settings))
        await asyncio.wait((begun,), timeout=0)
        if begun.done():
            begun.result()
        return made

    async def stop(self, name: str) -> bool:
        """End the incident and put right what it had changed; False when it was not going on."""
        found = self._running.get(name)
        if found is None:
            return False
        found.task.cancel()
        await asyncio.wait((found.task,))
        return True

    def play(self, steps: Sequence[ScenarioStep]) -> None:
        """Let ``steps`` happen, each at its time on the sandbox's clock; raises UsageError while another plays."""
        if self._scenario is not None and not self._scenario.done():
            raise UsageError("A scenario goes on already.", hint="End it first, or wait.")
        self._scenario = asyncio.create_task(self._play(steps))

    async def stop_scenario(self) -> bool:
        """End the scenario and its incidents; False when there was none."""
        if self._scenario is None or self._scenario.done():
            return False
        self._scenario.cancel()
        await asyncio.wait((self._scenario,))
        return True

    @property
    def playing(self) -> bool:
        return self._scenario is not None and not self._scenario.done()

    async def close(self) -> None:
        await self.stop_scenario()
        for name in list(self._running):
            await self.stop(name)

    async def _play(self, steps: Sequence[ScenarioStep]) -> None:
        clock = self._sandbox.clock
        began_s = clock.monotonic()
        try:
            for step in steps:
                await clock.sleep(max(began_s + step.at_s - clock.monotonic(), 0.0))
                await self.start(step.name, for_s=step.for_s, **step.settings)
            last_s = max(step.end_s for step in steps)
            await clock.sleep(max(began_s + last_s - clock.monotonic(), 0.0))
        except UsageError as error:
            _log.error("The scenario has ended early: %s", error)
        finally:
            for step in steps:
                await self.stop(step.name)

    async def _run(self, name: str, going: Any, for_s: float | None) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                if for_s is None:
                    result = await going
                else:
                    async with self._sandbox.clock.timeout(for_s):
                        result = await going
                self._running[name].result = result or {}
        finally:
            del self._running[name]
            _log.warning("Incident %s has ended", name)


RUNNER = web.AppKey("incidents", Incidents)
