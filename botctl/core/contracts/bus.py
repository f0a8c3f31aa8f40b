"""The event bus of one process. Publishing never waits for a reader, and no error of a reader reaches the publisher."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

from botctl.core.contracts.events import Event
from botctl.core.errors import ANYTHING

E = TypeVar("E", bound=Event)
_log = logging.getLogger(__name__)


class Subscription(AsyncIterator[E]):
    """A bounded queue of events for one reader. When it is full, the oldest event is dropped and counted."""

    def __init__(self, name: str, types: tuple[type[E], ...], size: int) -> None:
        self.name = name
        self.types = types
        self.dropped = 0
        self._events: deque[E] = deque(maxlen=size)
        self._wake = asyncio.Event()

    def put(self, event: E) -> None:
        """Add ``event``. Drops the oldest one if the queue is full. Never waits."""
        if len(self._events) == self._events.maxlen:
            self.dropped += 1
        self._events.append(event)
        self._wake.set()

    def take(self) -> list[E]:
        """Remove and return all waiting events, oldest first. Does not wait, so there may be none."""
        taken = list(self._events)
        self._events.clear()
        self._wake.clear()
        return taken

    async def __anext__(self) -> E:
        while not self._events:
            self._wake.clear()
            await self._wake.wait()
        return self._events.popleft()

    def __aiter__(self) -> Subscription[E]:
        return self


class Bus:
    """Publish and subscribe by event class. A base class includes its subclasses."""

    def __init__(self) -> None:
        self._subscriptions: dict[Subscription[Event], None] = {}
        self._listeners: dict[object, tuple[Callable[[Event], None], tuple[type[Event], ...]]] = {}

    def publish(self, event: Event) -> None:
        """Call the listeners with ``event``, and add it to the subscriptions. An error of a listener is logged."""
        for listener, types in tuple(self._listeners.values()):
            if isinstance(event, types):
                try:
                    listener(event)
                except ANYTHING:  # a reader must never stop the publisher
                    _log.exception("listener %r failed on %s", listener, event.type)
        for subscription in self._subscriptions:
            if isinstance(event, subscription.types):
                subscription.put(event)

    @contextmanager
    def subscribe(self, *types: type[E], name: str, size: int = 1000) -> Iterator[Subscription[E]]:
        """Read events of ``types`` through a queue of at most ``size`` events, until the block ends."""
        subscription = Subscription(name, types, size)
        key = cast(Subscription[Event], subscription)
        self._subscriptions[key] = None
        try:
            yield subscription
        finally:
            del self._subscriptions[key]

    @contextmanager
    def listen(self, listener: Callable[[E], None], *types: type[E]) -> Iterator[None]:
        """Call ``listener`` for each event of ``types``, until the block ends. It must not block."""
        key = object()  # not the listener, which may be registered twice
        self._listeners[key] = (cast(Callable[[Event], None], listener), types)
        try:
            yield
        finally:
            del self._listeners[key]

    def dropped(self) -> dict[str, int]:
        """Events dropped so far, by the name of the subscription that was too slow."""
        return {s.name: s.dropped for s in self._subscriptions if s.dropped}
