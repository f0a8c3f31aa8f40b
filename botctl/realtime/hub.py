"""The hub reads the event log once and sends each event to the subscribers of its topic.

Each subscriber has a position (epoch and offset, see `events.log`) in each topic. Each page of the log is encoded once,
for all subscribers whose position is where the page begins. Another one gets only the events after its own position, so
that none comes twice. When events are lost (in Redis, or the hub is too far behind), the subscriber gets a ``gap``.
One that may read some guilds only gets their events; its position moves on with those that it does not get.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from botctl.core.contracts.callers import Guilds
from botctl.core.contracts.event_log import Entry, EventLog, EventPage, Position
from botctl.core.errors import STORE_FAULTS
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks
from botctl.realtime.event_frames import PageFrames, size_bytes, within
from botctl.realtime.protocol import encode_push, position_fields
from botctl.realtime.socket import text_frame

PAGE_SIZE: Final = 256
MAX_TOPICS: Final = 256
"""Read at once, and at least four times what one connection may subscribe to. A client that may read every topic may
subscribe to any name, so one key or session may use a quarter of them."""
_SHARES: Final = 4
_REMEMBERED_EPOCHS: Final = 16  # per topic
_READ_WAIT_S: Final = 1.0
_BACKOFF: Final = Backoff(first_s=0.05, limit_s=1.0)

_log = logging.getLogger(__name__)


class Receiver(Protocol):
    """A subscriber's connection."""

    def push(self, frames: bytes) -> None:
        """Send whole ``frames`` without waiting."""
        ...


class HubFull(Exception):
    """The hub, or the caller, has all the topics that it may have. The sentence says which."""


@dataclass(frozen=True, slots=True)
class History:
    """The events that a subscriber missed: all, or (``recovered`` is False) none.

    ``position``: that of the subscriber afterwards. ``size_bytes``: the most that they need as frames.
    """

    position: Position
    recovered: bool
    entries: tuple[Entry, ...] = ()
    size_bytes: int = 0


@dataclass(slots=True)
class HubCounts:
    """Totals: events read, deliveries to subscribers, gaps sent, and histories recovered or not."""

    events: int = 0
    deliveries: int = 0
    gaps: int = 0
    recovered: int = 0
    not_recovered: int = 0


@dataclass(slots=True)
class _Subscriber:
    """``position``: up to where it has the events. ``caller``: the id of its key or session."""

    position: Position
    guilds: Guilds
    caller: str


@dataclass(slots=True)
class _Topic:
    """``position``: up to where the hub has read. Each subscriber may be at another one.

    ``reached``: by earlier epoch, the offset that the hub had read. A store that is restored may go back to one.
    """

    position: Position
    subscribers: dict[Receiver, _Subscriber] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)

    def begin_epoch(self, page: EventPage) -> int:
        """Remember the epoch that ``page`` ends. Returns up to where the entries of the new one were read already."""
        self.reached[self.position.epoch] = self.position.offset
        if len(self.reached) > _REMEMBERED_EPOCHS:
            del self.reached[next(iter(self.reached))]
        return min(self.reached.pop(page.epoch, 0), page.last)


class Hub:
    """The topics with their subscribers.

    ``recover``: how many missed events a subscriber can get per topic. ``recover_bytes``: their size over all topics.
    """

    def __init__(
        self, log: EventLog, tasks: Tasks, *, recover: int, recover_bytes: int, max_topics: int = MAX_TOPICS
    ) -> None:
        self.counts = HubCounts()
        self._log = log
        self._recover = recover
        self.recover_bytes = recover_bytes
        self._max_topics = max_topics
        self._topics: dict[str, _Topic] = {}
        self._caller_topics: dict[str, Counter[str]] = {}  # by caller: its subscriptions, by topic
        self._has_topics = asyncio.Event()
        self._read_positions: dict[str, Position] = {}  # of the read under way
        self._reading: asyncio.Task[Mapping[str, EventPage]] | None = None
        self._outage = Outage(tasks, _log, _BACKOFF)

    @property
    def subscriptions(self) -> int:
        """Number of subscriptions over all topics."""
        return sum(len(topic.subscribers) for topic in self._topics.values())

    async def history(self, name: str, after: Position | None, *, limit_bytes: int, guilds: Guilds = None) -> History:
        """Return the events of ``guilds`` in the topic ``name`` after ``after``; without it only the current position.

        Events that do not fit into ``limit_bytes`` are not recovered. Raises Unreachable.
        """
        if after is None:
            topic = self._topics.get(name)
            return History(topic.position if topic else await self._log.position(name), recovered=True)
        page = await self._log.read(name, after, limit=self._recover + 1)
        if page.complete and len(page.entries) <= self._recover:
            entries = within(page.entries, guilds)
            size = size_bytes(name, page, entries)
            if size <= limit_bytes:
                self.counts.recovered += 1
                return History(page.position, recovered=True, entries=entries, size_bytes=size)
        self.counts.not_recovered += 1
        return History(Position(page.epoch, page.last), recovered=False)

    async def join(
        self, receiver: Receiver, name: str, position: Position, *, guilds: Guilds = None, caller: str = ""
    ) -> None:
        """Send ``receiver``, a connection of ``caller``, the events of the topic ``name`` after ``position`` from now.

        Only those of ``guilds``. Raises HubFull if the hub reads as many other topics as it may, or a quarter of them
        for ``caller``; Unreachable if the events cannot be read.
        """
        subscriber = _Subscriber(position, guilds, caller)
        for attempt in itertools.count():
            topic, position = self._topics.get(name), subscriber.position
            if topic is None or not _is_ahead(topic.position, position):
                break
            if topic.position.epoch != position.epoch and attempt:
                break  # two reads agree, so the hub has not seen the new epoch yet
            page = await self._log.read(name, position, limit=PAGE_SIZE)
            frames, forgotten = PageFrames(name, page), _is_forgotten(position, page)
            self._catch_up(receiver, name, subscriber, page, frames, forgotten=forgotten)
        of_caller = self._caller_topics.get(caller, Counter())
        if caller and name not in of_caller and len(of_caller) >= self._max_topics // _SHARES:
            raise HubFull("this client reads too many topics")
        if topic is None:
            if len(self._topics) >= self._max_topics:
                raise HubFull("the server reads too many topics")
            topic = self._topics[name] = _Topic(position)
            self._restart_read()
        if caller and receiver not in topic.subscribers:
            self._caller_topics.setdefault(caller, of_caller)[name] += 1
        topic.subscribers[receiver] = subscriber

    def leave(self, receiver: Receiver, names: Iterable[str]) -> None:
        """Send ``receiver`` no more events of the topics ``names``."""
        for name in names:
            topic = self._topics.get(name)
            if topic is not None:
                if (left := topic.subscribers.pop(receiver, None)) is not None:
                    self._count_leave(left.caller, name)
                if not topic.subscribers:
                    del self._topics[name]

    def _count_leave(self, caller: str, name: str) -> None:
        """Count one subscription less of ``caller`` to the topic ``name``."""
        if (of_caller := self._caller_topics.get(caller)) is not None:
            of_caller[name] -= 1
            if not of_caller[name]:
                del of_caller[name]
            if not of_caller:
                del self._caller_topics[caller]

    async def run(self) -> None:
        """Read and deliver for ever. While the log cannot be read, subscribers wait and lose nothing."""
        while True:
            try:
                pages = await self._read_pages()
            except STORE_FAULTS as error:
                await self._outage.begin_and_pause(f"no events are handed out: {error}", error)
            else:
                if pages is not None:
                    self._outage.end()
                    for name, page in pages.items():
                        self._deliver(name, page)

    async def _read_pages(self) -> Mapping[str, EventPage] | None:
        """Read the next pages of all topics. None if they changed during the read: the log has not answered it.

        Without topics, wait for one; but during an outage ask the log first, since no read would show its end.
        """
        if not self._topics:
            if self._outage.active:
                await self._log.position(next(iter(self._read_positions)))  # of a topic that was left
                return {}
            self._has_topics.clear()
            await self._has_topics.wait()
        self._read_positions = {name: topic.position for name, topic in self._topics.items()}
        self._reading = asyncio.create_task(
            self._log.read_many(self._read_positions, limit=PAGE_SIZE, wait_s=_READ_WAIT_S)
        )
        try:
            await asyncio.wait({self._reading})
            return None if self._reading.cancelled() else self._reading.result()
        finally:
            self._reading.cancel()

    def _restart_read(self) -> None:
        """Cancel the read that waits, since the topics changed."""
        self._has_topics.set()
        if self._reading is not None:
            self._reading.cancel()

    def _deliver(self, name: str, page: EventPage) -> None:
        """Send ``page`` to the subscribers of the topic ``name``."""
        topic = self._topics.get(name)
        if topic is None or topic.position != self._read_positions[name]:
            return  # the topic was left, and perhaps joined again, during the read
        if page.position == topic.position and not page.entries:
            return
        read = topic.begin_epoch(page) if page.epoch != topic.position.epoch else 0
        before, topic.position = topic.position, page.position
        self.counts.events += len(page.entries)
        frames = PageFrames(name, page)
        forgotten = _is_forgotten(before, page)
        limited = [subscriber for subscriber in topic.subscribers.values() if subscriber.guilds is not None]
        unlimited = len(topic.subscribers) - len(limited)
        self.counts.deliveries += len(page.entries) * unlimited
        self.counts.deliveries += sum(frames.count(subscriber.guilds) for subscriber in limited)
        complete, after = page.complete, page.position
        everything = frames.whole(None) if complete and unlimited else []  # looked up once: the loop is the fan-out
        for receiver, subscriber in topic.subscribers.items():
            if complete and subscriber.position == before:
                for chunk in everything if subscriber.guilds is None else frames.whole(subscriber.guilds):
                    receiver.push(chunk)
                subscriber.position = after
            else:  # a receiver beyond the page that joined after the loss has read more than the hub
                position = subscriber.position
                lost = forgotten and position >= before and _is_forgotten(position, page)
                self._catch_up(receiver, name, subscriber, page, frames, forgotten=lost, read=read)

    def _catch_up(
        self,
        receiver: Receiver,
        name: str,
        subscriber: _Subscriber,
        page: EventPage,
        frames: PageFrames,
        *,
        forgotten: bool,
        read: int = 0,
    ) -> None:
        """Send ``receiver`` the events of ``page`` after the position of ``subscriber``, and move that on.

        ``forgotten``: the log lost the events that it saw last, and reuses their offsets. The gap then begins after
        those that the log still has, in a new epoch too: the receiver gets none of them again. ``read``: the hub had
        read the entries up to there before the epoch.
        """
        position = subscriber.position
        last_offset = position.offset
        if forgotten or not _is_contiguous(position, page):
            self.counts.gaps += 1
            last_offset = max(_start_offset(page), page.had(position), read)
            receiver.push(text_frame(encode_push("gap", **position_fields(name, Position(page.epoch, last_offset)))))
        for chunk in frames.after(last_offset, subscriber.guilds):
            receiver.push(chunk)
        subscriber.position = Position(page.epoch, max(last_offset, page.position.offset))


def _is_forgotten(position: Position, page: EventPage) -> bool:
    """Whether ``position`` is beyond the newest event, though the epoch is the same: the log lost its last events."""
    return position.epoch == page.epoch and position.offset > page.last


def _is_ahead(hub: Position, position: Position) -> bool:
    """Whether the hub delivered events after ``position``."""
    if hub.epoch in ("", position.epoch):
        return hub.offset > position.offset
    return True


def _is_contiguous(position: Position, page: EventPage) -> bool:
    """Whether no event is missing between ``position`` and ``page``."""
    return position.epoch in ("", page.epoch) and position.offset >= _start_offset(page)


def _start_offset(page: EventPage) -> int:
    """The offset after which ``page`` begins."""
    return page.entries[0].offset - 1 if page.entries else page.position.offset
