"""Services made to order, for tests of the registry: what happened, when, in virtual time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botctl.core.contracts.events import Event, ServiceChanged
from botctl.core.services.tasks import Backoff, Tasks

Step = Callable[[], Awaitable[None]]


class LoopClock:
    """A Clock that goes with the event loop, which in tests is virtual time."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class SetClock(LoopClock):
    """A `LoopClock` whose wall clock can be set: it is ``ahead`` of the time."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass
class Journal:
    """What services did, in order, as ``verb name``; ``at`` holds the virtual seconds of each line."""

    lines: list[str] = field(default_factory=list)
    at: dict[str, float] = field(default_factory=dict)
    events: list[ServiceChanged] = field(default_factory=list)

    def __call__(self, verb: str, name: str) -> None:
        line = f"{verb} {name}"
        self.lines.append(line)
        self.at.setdefault(line, asyncio.get_running_loop().time())

    def publish(self, event: Event) -> None:
        assert isinstance(event, ServiceChanged)
        self.events.append(event)

    def states(self, name: str) -> list[str]:
        """The states that ``name`` went through."""
        return [event.new for event in self.events if event.service == name]

    def of(self, *verbs: str) -> list[str]:
        return [line for line in self.lines if line.split()[0] in verbs]


async def nothing() -> None:
    """A step that takes no time."""


def sleeps(seconds: float) -> Step:
    async def step() -> None:
        await asyncio.sleep(seconds)

    return step


def raises(error: BaseException) -> Step:
    async def step() -> None:
        raise error

    return step


def unresponsive(release: asyncio.Event) -> Step:
    """A step that ignores cancellation until ``release`` is set."""

    async def step() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    return step


def service(
    key: type,
    *needs: Any,
    journal: Journal,
    start: Step = nothing,
    stop: Step = nothing,
    work: Step | None = None,
    restart: Backoff | None = None,
) -> Any:
    """A factory for ``key`` that needs ``needs`` and notes what it does.

    ``begin``: it was entered. ``ready``: it yields. ``leave``: it is being left. ``left``: it has been left.
    With ``work`` it spawns a task, which notes ``work`` and ``rest`` each time it begins and ends.
    """
    name = key.__name__

    async def works() -> None:
        journal("work", name)
        try:
            await (work or nothing)()
        finally:
            journal("rest", name)

    @asynccontextmanager
    async def factory(**received: Any) -> AsyncIterator[Any]:
        journal("begin", name)
        try:
            await start()
            if work is not None:
                received["tasks"].spawn(works, name="work", restart=restart)
            journal("ready", name)
            yield key()
        finally:
            journal("leave", name)
            try:
                await stop()
            finally:
                journal("left", name)

    names = {f"need_{i}": need for i, need in enumerate(needs)} | ({} if work is None else {"tasks": Tasks})
    factory.__annotations__ = {**names, "return": AsyncIterator[key]}  # type: ignore[valid-type]
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=t) for name, t in names.items()]
    factory.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return factory
