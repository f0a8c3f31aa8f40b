"""The event log: the stored events of all processes, by topic, and the position of a reader.

A topic is a sequence of envelopes (`events.envelope`: an event with its sender and time, as a dict). The *offset* of an
envelope is its number, from 1 without gaps. When the store has lost data, the topic gets a new id, its *epoch*, and
counts from 1 again, or on from the envelopes that are left if only the newest are lost. So an offset is valid only
together with its epoch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from botctl.core.redact import redact_json

Envelope = dict[str, Any]
"""``{v, id, type, at, bot, proc, guild?, data}``, as from `botctl.core.contracts.events.envelope`."""

MAX_TOPIC: Final = 64
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_TOPIC = re.compile(rf"[a-z][a-z0-9_.-]{{0,{MAX_TOPIC - 1}}}", re.ASCII)


def is_topic(name: str) -> bool:
    """Whether ``name`` is a valid topic: a letter, then up to 63 of a-z, 0-9, ``_``, ``.`` and ``-``."""
    return _TOPIC.fullmatch(name) is not None


def encode(envelope: Envelope) -> bytes:
    """``envelope`` as compact JSON, without secrets. Raises TypeError or ValueError if JSON cannot hold a value."""
    _, text = redact_json(envelope, _ENCODER.encode)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can escape and UTF-8 cannot encode
        return json.dumps(json.loads(text), separators=(",", ":"), allow_nan=False).encode()


class Position(NamedTuple):
    """The position of a reader that has read up to ``offset``. An empty ``epoch`` means the current one."""

    epoch: str
    offset: int


START: Final = Position("", 0)
"""Before the oldest stored entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a topic. ``data`` is its envelope as JSON, byte for byte as it was appended."""

    offset: int
    data: bytes

    @property
    def envelope(self) -> Envelope:
        """The decoded envelope. `botctl.core.contracts.events.from_envelope` returns its event."""
        decoded: Envelope = json.loads(self.data)
        return decoded


@dataclass(frozen=True, slots=True)
class EventPage:
    """The entries after a position.

    ``complete`` is False when the position is of another epoch or beyond the newest entry, or entries after it were
    trimmed (removed). Then the entries are the oldest stored ones that the reader did not have.
    """

    entries: tuple[Entry, ...]
    epoch: str
    first: int  # offset of the oldest stored entry; ``last + 1`` if none is stored
    last: int  # offset of the newest one
    position: Position  # where to continue
    complete: bool = True  # no entry is missing between the position and ``entries``
    kept: Mapping[str, int] = field(default_factory=dict)  # by earlier epoch: up to where its entries are in this one

    def had(self, position: Position) -> int:
        """The offset, in this epoch, up to which a reader at ``position`` has read the stored entries."""
        if position.epoch in ("", self.epoch):
            return min(position.offset, self.last)
        return min(position.offset, self.kept.get(position.epoch, 0))


class Batch(NamedTuple):
    """Events of several topics, appended atomically.

    ``writer`` and ``number`` identify the batch, so that one that is sent twice is appended once. A writer numbers its
    batches and waits until each is acknowledged. ``events``: for each topic, its envelopes as `encode` returns them.
    """

    writer: str
    number: int
    events: Mapping[str, Sequence[bytes]]


class EventLog(Protocol):
    """The events of all processes of a bot. Every method raises Unreachable if the store does not answer."""

    async def append(self, topic: str, envelopes: Sequence[Envelope]) -> int:
        """Append to ``topic``, in order, all or none. Returns the offset of the last.

        After Unreachable it is unknown whether they were appended; `append_batch` can be retried.
        """
        ...

    async def append_batch(self, batch: Batch) -> Mapping[str, int]:
        """Append to several topics; returns the offset of the last entry by topic. May be retried."""
        ...

    async def read(self, topic: str, after: Position = START, *, limit: int = 100, wait_s: float = 0) -> EventPage:
        """At most ``limit`` entries after ``after``, oldest first. Waits up to ``wait_s`` for the first one."""
        ...

    async def read_many(
        self, after: Mapping[str, Position], *, limit: int = 100, wait_s: float = 0
    ) -> Mapping[str, EventPage]:
        """`read` for several topics: waits until one of them has an entry."""
        ...

    async def position(self, topic: str) -> Position:
        """The position of the newest entry of ``topic``. Reading after it returns only later entries."""
        ...

    async def topics(self) -> Mapping[str, Position]:
        """The position of the newest entry of every topic."""

    async def trim(self, topic: str, *, keep: int) -> int:
        """Keep about the newest ``keep`` entries and remove the rest; returns how many were removed."""
        ...
