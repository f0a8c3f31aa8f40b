"""Events between processes: what is kept of each topic, and where a reader is in it.

A topic is a sequence of envelopes (`events.envelope`), numbered from 1 without gaps. The numbers hold as long as the
*epoch* does: a new epoch says that the sequence is another one, because the store lost what it had.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from botctl.core.redact import redact_json

Envelope = dict[str, Any]
"""``{v, id, type, at, bot, proc, guild?, data}``, as `botctl.core.contracts.events.envelope` makes it."""

MAX_TOPIC: Final = 64
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_TOPIC = re.compile(rf"[a-z][a-z0-9_.-]{{0,{MAX_TOPIC - 1}}}", re.ASCII)


def is_topic(name: str) -> bool:
    """Whether a topic can be called ``name``: a letter, then up to 63 of a-z, 0-9, ``_``, ``.`` and ``-``."""
    return _TOPIC.fullmatch(name) is not None


def encode(envelope: Envelope) -> bytes:
    """``envelope`` as compact JSON in UTF-8, without secrets.

    Raises:
        TypeError, ValueError: a value in it is none that JSON knows.
    """
    _, text = redact_json(envelope, _ENCODER.encode)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell and UTF-8 cannot
        return json.dumps(json.loads(text), separators=(",", ":"), allow_nan=False).encode()


class Position(NamedTuple):
    """Where a reader is: it has seen everything up to ``offset``. An empty ``epoch`` stands for whichever is now."""

    epoch: str
    offset: int


START: Final = Position("", 0)
"""Before the oldest entry that is kept."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a topic. ``data`` is its envelope as JSON, exactly as it was appended."""

    offset: int
    data: bytes

    @property
    def envelope(self) -> Envelope:
        """The envelope, decoded; pass it to `botctl.core.contracts.events.from_envelope` for the event."""
        decoded: Envelope = json.loads(self.data)
        return decoded


@dataclass(frozen=True, slots=True)
class EventPage:
    """What follows a position. ``first`` and ``last``: the offsets of the oldest and the newest that are kept.

    ``position``: where to go on. ``complete``: nothing lies between the position that was asked for and the entries.
    It is False when that position was of another epoch, is trimmed away, or lies ahead of the newest; the entries then
    are the oldest ones kept. Where nothing is kept, ``first`` is ``last + 1``.
    """

    entries: tuple[Entry, ...]
    epoch: str
    first: int
    last: int
    position: Position
    complete: bool = True


class Batch(NamedTuple):
    """Events of several topics, appended together or not at all.

    ``writer`` and ``number`` name the batch: one that arrives twice (its writer did not hear whether the first try
    worked) is appended once. A writer numbers its batches, and does not go on before one is acknowledged.
    ``events``: by topic, each as `encode` makes it.
    """

    writer: str
    number: int
    events: Mapping[str, Sequence[bytes]]


class EventLog(Protocol):
    """The events of a bot, from and for all of its processes. Every method raises Unreachable without its store."""

    async def append(self, topic: str, envelopes: Sequence[Envelope]) -> int:
        """Append to ``topic``, all or none; returns the offset of the last. Order is kept.

        After Unreachable it is not known whether they were appended; `append_batch` can be repeated.
        """
        ...

    async def append_batch(self, batch: Batch) -> Mapping[str, int]:
        """Append to several topics at once; returns the offset of the last by topic. May be repeated."""
        ...

    async def read(self, topic: str, after: Position = START, *, limit: int = 100, wait_s: float = 0) -> EventPage:
        """At most ``limit`` entries after ``after``, oldest first; waits up to ``wait_s`` for one to come."""
        ...

    async def read_many(
        self, after: Mapping[str, Position], *, limit: int = 100, wait_s: float = 0
    ) -> Mapping[str, EventPage]:
        """`read` for several topics at once: waits until one of them has something."""
        ...

    async def position(self, topic: str) -> Position:
        """The newest of ``topic``: who reads after it gets what comes from now on."""
        ...

    async def topics(self) -> Mapping[str, Position]:
        """Every topic that ever had an event, with its newest."""
        ...

    async def trim(self, topic: str, *, keep: int) -> int:
        """Remove all but about the newest ``keep``; returns how many were removed."""
        ...
