"""Start and stop incidents, by name or by a scenario."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from botctl.core.errors import UsageError
from botctl.core.event_loop.tasks import create_watched_task
from botctl.sandbox.incidents import catalogue, register_all  # noqa: F401 - fills the catalogue
from botctl.sandbox.incidents.catalogue import Value
from botctl.sandbox.incidents.scenario import ScenarioStep
from botctl.sandbox.sandbox import Sandbox

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class RunningIncident:
    name: str
    settings: Mapping[str, Value]
    began_at: str  # ISO 8601, on the sandbox's clock
    for_s: float | None  # None: until it returns or is stopped
    task: asyncio.Task[None] = field(repr=False)
    result: Mapping[str, Any] = field(default_factory=dict)  # set when it returns


class IncidentRunner:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._running: dict[str, RunningIncident] = {}
        self._scenario: asyncio.Task[None] | None = None

    def list_running(self) -> list[RunningIncident]:
        return list(self._running.values())

    async def start(self, name: str, *, for_s: float | None = None, **given: object) -> RunningIncident:
        """Start the incident, and return when it has taken effect. ``for_s`` stops it after that time.

        Raises UsageError for an unknown name or setting, or when the incident is already running.
        """
        incident = catalogue.find(name)
        settings = incident.parse_settings(given)
        if name in self._running:
            hint = f"Type: botctl sandbox incident --stop {name}"
            raise UsageError(f"The incident {name} is already running.", hint=hint)
        work = self._run(name, incident.function(self._sandbox, **settings), for_s)
        task = create_watched_task(work, name=f"incident {name}")
        running = RunningIncident(name, {**incident.settings, **settings}, self._sandbox.world.timestamp(), for_s, task)
        self._running[name] = running
        _log.warning("Incident %s started: %s", name, dict(running.settings))
        await asyncio.wait((task,), timeout=0)
        if task.done():
            task.result()
        return running

    async def stop(self, name: str) -> bool:
        """Stop the incident and restore what it changed; False when it was not running."""
        running = self._running.get(name)
        if running is None:
            return False
        running.task.cancel()
        await asyncio.wait((running.task,))
        return True

    def play(self, steps: Sequence[ScenarioStep]) -> None:
        """Run ``steps`` at their times on the sandbox's clock; raises UsageError while a scenario is running."""
        if self._scenario is not None and not self._scenario.done():
            hint = "Type: botctl sandbox incident --stop all"
            raise UsageError("A scenario is already running.", hint=hint)
        self._scenario = create_watched_task(self._play(steps), name="scenario")

    async def stop_scenario(self) -> bool:
        """Stop the scenario and its incidents; False when none was running."""
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
            _log.error("The scenario stopped early: %s", error)
        finally:
            for step in steps:
                await self.stop(step.name)

    async def _run(self, name: str, coroutine: Any, for_s: float | None) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                if for_s is None:
                    result = await coroutine
                else:
                    async with self._sandbox.clock.timeout(for_s):
                        result = await coroutine
                self._running[name].result = result or {}
        finally:
            del self._running[name]
            _log.warning("Incident %s ended", name)


RUNNER = web.AppKey("incidents", IncidentRunner)
