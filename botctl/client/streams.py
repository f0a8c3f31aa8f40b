"""What arrives for one reader: the events of some topics, or a state. No I/O."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from botctl.client.outcomes import EventGap, ReceivedEvent, WatchedState
from botctl.core.contracts.event_log import Position


class EventStream:
    """Events that wait for their reader.

    ``after``: by topic, the position of the last one that arrived, from which a new connection goes on.
    """

    def __init__(self, topics: tuple[str, ...], after: Mapping[str, Position]) -> None:
        self.topics = topics
        self.after = {topic: after[topic] for topic in topics if topic in after}
        self._waiting: deque[ReceivedEvent | EventGap] = deque()
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: ReceivedEvent | EventGap) -> None:
        self.after[item.topic] = item.position
        self._waiting.append(item)
        self._changed.set()

    def begin(self, topic: str, position: Position, *, recovered: bool) -> None:
        """The server sends what follows ``position``. Not ``recovered``: the events up to there are lost."""
        had = self.after.get(topic)
        if had is not None and not recovered:
            self.add(EventGap(topic, position))
        self.after[topic] = position

    def fail(self, error: Exception) -> None:
        """Let `take` raise ``error``, after what has arrived."""
        self._error = error
        self._changed.set()

    async def take(self) -> ReceivedEvent | EventGap:
        """The next item. Raises what `fail` was given."""
        while not self._waiting:
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()


class StateStream:
    """A state for its reader, who gets the newest and none of those that it was too slow for."""

    def __init__(self) -> None:
        self._items: dict[str, Mapping[str, Any]] = {}
        self._stale = False
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    def begin(self, items: Mapping[str, Mapping[str, Any]]) -> None:
        self._items = dict(items)
        self._stale = False
        self._changed.set()

    def change(self, key: str, value: Mapping[str, Any] | None) -> None:
        if value is None:
            self._items.pop(key, None)
        else:
            self._items[key] = value
        self._changed.set()

    def mark(self, *, stale: bool) -> None:
        self._stale = stale
        self._changed.set()

    def fail(self, error: Exception) -> None:
        """Let `take` raise ``error``."""
        self._error = error
        self._changed.set()

    async def take(self) -> WatchedState:
        """The state after the next change. Raises what `fail` was given."""
        await self._changed.wait()
        if self._error is not None:
            raise self._error
        self._changed.clear()
        return WatchedState(dict(self._items), self._stale)
