"""Watch which listeners of a bot run, and whether the messages that they get have their content."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from botctl.bot.client import Bot
from botctl.core.errors import ANYTHING

_OWN_MODULES: Final = ("botctl.", "disnake.")
_ARRIVAL: Final = "on_socket_event_type"
"""disnake calls it for every event of the gateway, known or not, with its name."""


@dataclass(slots=True)
class ListenerCalls:
    """How often a listener ran. ``events``: of disnake, without ``on_``. ``errors``: what it raised."""

    events: set[str] = field(default_factory=set)
    count: int = 0
    with_content: int = 0  # calls with a message whose content was not empty
    errors: list[str] = field(default_factory=list)


class ListenerWatch:
    """Watches the listeners of ``bot``, which must be installed already, from now on."""

    def __init__(self, bot: Bot) -> None:
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._arrivals: dict[str, asyncio.Event] = {}
        self.listeners: dict[str, ListenerCalls] = {}
        for event, functions in bot.get_listeners().items():
            for function in functions:
                self._find(function, event)
        self._run_event = bot._run_event  # noqa: SLF001  the bot's own override
        bot._run_event = self._observe  # type: ignore[method-assign,assignment]  # noqa: SLF001
        bot.add_listener(self._arrived, _ARRIVAL)

    async def wait_for_arrival(self, event: str) -> None:
        """Wait for the gateway event ``event`` (``TYPING_START``). What came before it has called its listeners."""
        await self._arrivals.setdefault(event, asyncio.Event()).wait()

    async def wait_until_idle(self, limit_s: float) -> None:
        """Wait until no listener runs, at most ``limit_s``: some run for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._idle.wait()

    async def _arrived(self, event: str) -> None:
        self._arrivals.setdefault(event, asyncio.Event()).set()

    def _find(self, function: Callable[..., Any], event: str) -> ListenerCalls | None:
        """The calls of an author's listener; None for one of botctl or disnake."""
        while isinstance(function, partial):
            function = function.func
        if str(getattr(function, "__module__", "")).startswith(_OWN_MODULES):
            return None
        name = str(getattr(function, "__qualname__", function))
        calls = self.listeners.setdefault(name, ListenerCalls())
        calls.events.add(event.removeprefix("on_"))
        return calls

    async def _observe(
        self, function: Callable[..., Coroutine[Any, Any, Any]], event: str, *args: Any, **options: Any
    ) -> None:
        """In the place of ``bot._run_event``, which calls every listener."""
        calls = self._find(function, event)
        if calls is None:
            await self._run_event(function, event, *args, **options)
            return
        calls.count += 1
        calls.with_content += any(getattr(arg, "content", None) for arg in args)

        async def observed(*args: Any, **options: Any) -> None:
            try:
                await function(*args, **options)
            except ANYTHING as error:
                if not isinstance(error, asyncio.CancelledError):
                    calls.errors.append(f"{type(error).__name__}: {error}")
                raise

        self._running += 1
        self._idle.clear()
        try:
            await self._run_event(observed, event, *args, **options)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()
