"""The hub: reads the log of events once, and hands each event to everyone who wants its topic.

Each subscriber has a position in each of its topics. A page of the log is encoded once and written to all who stand
right before it; who joined in between gets what it lacks. Nobody gets an event twice, and where some are gone for good
(the store lost them, or the hub fell too far behind) a push says so: ``gap``.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from botctl.core.contracts.event_log import Entry, EventLog, EventPage, Position
from botctl.core.errors import Unreachable
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks
from botctl.realtime.protocol import message, place, pushes
from botctl.realtime.socket import MAX_HEADER_BYTES, chunks, text_frame

PAGE: Final = 256
MAX_TOPICS: Final = 256  # that are read at once; a key for all topics may invent names
_WAIT_S: Final = 1.0
_PAUSES: Final = Backoff(first_s=0.05, limit_s=1.0)

_log = logging.getLogger(__name__)


class Receiver(Protocol):
    """Takes whole frames; never waits."""

    def push(self, frames: bytes) -> None:
        """Send ``frames``."""
        ...


class HubFull(Exception):
    """More topics are wanted than the hub reads."""


@dataclass(frozen=True, slots=True)
class History:
    """What a subscriber missed: all of it, or (``recovered`` is False) nothing; ``position`` is where it is now.

    ``size_bytes``: at least what the entries take when they are sent.
    """

    position: Position
    recovered: bool
    entries: tuple[Entry, ...] = ()
    size_bytes: int = 0


@dataclass(slots=True)
class HubCounts:
    """``events`` were read from the log, ``deliveries`` handed out; ``gaps`` told of."""

    events: int = 0
    deliveries: int = 0
    gaps: int = 0
    recovered: int = 0
    not_recovered: int = 0


@dataclass(slots=True)
class _Topic:
    position: Position
    subscribers: dict[Receiver, Position] = field(default_factory=dict)


class Hub:
    """Topics and who wants them.

    ``recover``: events of a topic given to one who comes back; ``recover_bytes``: those of all its topics together.
    """

    def __init__(self, log: EventLog, tasks: Tasks, *, recover: int, recover_bytes: int) -> None:
        self.counts = HubCounts()
        self._log = log
        self._recover = recover
        self.recover_bytes = recover_bytes
        self._topics: dict[str, _Topic] = {}
        self._wanted = asyncio.Event()
        self._after: dict[str, Position] = {}  # what is being read
        self._reading: asyncio.Task[Mapping[str, EventPage]] | None = None
        self._outage = Outage(tasks, _log, _PAUSES)

    @property
    def subscriptions(self) -> int:
        """How many there are, over all topics."""
        return sum(len(topic.subscribers) for topic in self._topics.values())

    async def history(self, name: str, after: Position | None, *, room_bytes: int) -> History:
        """What came in the topic ``name`` after ``after``, and where that ends; without one, only where it is now.

        What does not fit in ``room_bytes`` is not recovered.

        Raises:
            Unreachable: the log cannot be read.
        """
        if after is None:
            topic = self._topics.get(name)
            return History(topic.position if topic else await self._log.position(name), recovered=True)
        page = await self._log.read(name, after, limit=self._recover + 1)
        size_bytes = _size_bytes(name, page)
        if page.complete and len(page.entries) <= self._recover and size_bytes <= room_bytes:
            self.counts.recovered += 1
            return History(page.position, recovered=True, entries=page.entries, size_bytes=size_bytes)
        self.counts.not_recovered += 1
        return History(Position(page.epoch, page.last), recovered=False)

    async def join(self, receiver: Receiver, name: str, position: Position) -> None:
        """From now on, give ``receiver`` what comes in the topic ``name`` after ``position``.

        Raises:
            HubFull: there is no room for another topic.
            Unreachable: what came meanwhile cannot be read.
        """
        for again in itertools.count():
            topic = self._topics.get(name)
            if topic is None or not _is_ahead(topic.position, position):
                break
            if topic.position.epoch != position.epoch and again:
                break  # read twice, and the same: it is the hub that has yet to notice
            page = await self._log.read(name, position, limit=PAGE)
            position = self._give(receiver, name, position, page, forgotten=_is_forgotten(position, page))
        if topic is None:
            if len(self._topics) >= MAX_TOPICS:
                raise HubFull
            topic = self._topics[name] = _Topic(position)
            self._read_anew()
        topic.subscribers[receiver] = position

    def leave(self, receiver: Receiver, names: Iterable[str]) -> None:
        """Give ``receiver`` nothing more of the topics ``names``."""
        for name in names:
            topic = self._topics.get(name)
            if topic is not None:
                topic.subscribers.pop(receiver, None)
                if not topic.subscribers:
                    del self._topics[name]

    async def run(self) -> None:
        """Read and hand out, for ever. While the log cannot be read, everyone waits; nothing is lost by that."""
        while True:
            try:
                pages = await self._next()
            except Unreachable as error:
                await self._outage.begin_and_pause(f"no events are handed out: {error}")
            else:
                self._outage.end()
                for name, page in pages.items():
                    self._deliver(name, page)

    async def _next(self) -> Mapping[str, EventPage]:
        """The next pages of all topics; nothing when the topics changed while it was waiting for them."""
        if not self._topics:
            self._wanted.clear()
            await self._wanted.wait()
        self._after = {name: topic.position for name, topic in self._topics.items()}
        self._reading = asyncio.create_task(self._log.read_many(self._after, limit=PAGE, wait_s=_WAIT_S))
        try:
            await asyncio.wait({self._reading})
            return {} if self._reading.cancelled() else self._reading.result()
        finally:
            self._reading.cancel()

    def _read_anew(self) -> None:
        self._wanted.set()
        if self._reading is not None:
            self._reading.cancel()

    def _deliver(self, name: str, page: EventPage) -> None:
        topic = self._topics.get(name)
        if topic is None or topic.position != self._after[name]:
            return  # all have left, and others may have come, since this was read
        if page.position == topic.position and not page.entries:
            return
        before, topic.position = topic.position, page.position
        self.counts.events += len(page.entries)
        self.counts.deliveries += len(page.entries) * len(topic.subscribers)
        pieces = _pieces(name, page, 0) if page.complete else None
        forgotten = _is_forgotten(before, page)
        for receiver, position in topic.subscribers.items():
            if pieces is not None and position == before:
                for piece in pieces:
                    receiver.push(piece)
                topic.subscribers[receiver] = page.position
            else:  # who is beyond the page, but has come since the store forgot, has read more than the hub
                lost = forgotten and position >= before and _is_forgotten(position, page)
                topic.subscribers[receiver] = self._give(receiver, name, position, page, forgotten=lost)

    def _give(self, receiver: Receiver, name: str, position: Position, page: EventPage, *, forgotten: bool) -> Position:
        """Give ``receiver``, which is at ``position``, what it lacks of ``page``; returns where it is then.

        ``forgotten``: the log has lost what it saw last, and gives those numbers to others.
        """
        seen = position.offset
        if forgotten or not _follows(position, page):
            self.counts.gaps += 1
            seen = page.last if forgotten else _begin(page)
            receiver.push(text_frame(message("gap", **place(name, Position(page.epoch, seen)))))
        for piece in _pieces(name, page, seen):
            receiver.push(piece)
        return Position(page.epoch, max(seen, page.position.offset))


def _is_forgotten(position: Position, page: EventPage) -> bool:
    """Whether the newest that was seen at ``position`` is not in the log any more, although its epoch goes on."""
    return position.epoch == page.epoch and position.offset > page.last


def _is_ahead(hub: Position, position: Position) -> bool:
    """Whether the hub has handed out what ``position`` has not seen."""
    if hub.epoch in ("", position.epoch):
        return hub.offset > position.offset
    return True


def _follows(position: Position, page: EventPage) -> bool:
    """Whether nothing is missing between ``position`` and the entries of ``page``."""
    return position.epoch in ("", page.epoch) and position.offset >= _begin(page)


def _begin(page: EventPage) -> int:
    """The offset before the entries of ``page``."""
    return page.entries[0].offset - 1 if page.entries else page.position.offset


def _size_bytes(name: str, page: EventPage) -> int:
    """At least what the entries of ``page`` take when they are sent: of small ones, most is what is around them."""
    (bare,) = pushes(name, page.epoch, [Entry(page.last, b"")])
    return sum(len(bare) + MAX_HEADER_BYTES + len(entry.data) for entry in page.entries)


def _pieces(name: str, page: EventPage, seen: int) -> list[bytes]:
    """The frames of what comes after ``seen`` in ``page``, joined."""
    entries = [entry for entry in page.entries if entry.offset > seen]
    return list(chunks(map(text_frame, pushes(name, page.epoch, entries))))
