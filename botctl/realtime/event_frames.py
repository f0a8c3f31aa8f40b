"""The events of a page of the log as frames: encoded once for all subscribers that may read the same guilds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

from botctl.core.contracts.callers import Guilds
from botctl.core.contracts.event_log import Entry, EventPage
from botctl.realtime.protocol import encode_events
from botctl.realtime.socket import MAX_HEADER_BYTES, chunks, text_frame


class PageFrames:
    """The frames of ``page``, a page of the topic ``name``."""

    def __init__(self, name: str, page: EventPage) -> None:
        self._name = name
        self._page = page
        self._whole: dict[Guilds, list[bytes]] = {}
        self._counts: dict[Guilds, int] = {}

    def whole(self, guilds: Guilds) -> list[bytes]:
        """All events of ``guilds``, as joined frames."""
        if guilds not in self._whole:
            self._whole[guilds] = self._encode(self._entries(guilds))
        return self._whole[guilds]

    def after(self, last_offset: int, guilds: Guilds) -> list[bytes]:
        """The events of ``guilds`` after ``last_offset``, as joined frames."""
        return self._encode([entry for entry in self._entries(guilds) if entry.offset > last_offset])

    def count(self, guilds: Guilds) -> int:
        """How many events of ``guilds`` the page has."""
        if guilds not in self._counts:
            self._counts[guilds] = len(self._entries(guilds))
        return self._counts[guilds]

    def _entries(self, guilds: Guilds) -> Sequence[Entry]:
        if guilds is None:
            return self._page.entries
        guild_of = zip(self._page.entries, self._guilds, strict=True)
        return [entry for entry, guild in guild_of if guild in guilds]

    @cached_property
    def _guilds(self) -> list[str | None]:
        """The guild of each entry: each is parsed once, and only if a subscriber may not read all of them."""
        return [guild_of(entry) for entry in self._page.entries]

    def _encode(self, entries: Collection[Entry]) -> list[bytes]:
        return list(chunks(map(text_frame, encode_events(self._name, self._page.epoch, entries))))


def guild_of(entry: Entry) -> str | None:
    """The guild of an event; None if it has none, or its envelope is not as botctl writes it."""
    try:
        guild = entry.envelope.get("guild")
    except (ValueError, AttributeError):
        return None
    return guild if isinstance(guild, str) else None


def within(entries: Sequence[Entry], guilds: Guilds) -> tuple[Entry, ...]:
    """Those of ``entries`` that are events of ``guilds``."""
    return tuple(entry for entry in entries if guilds is None or guild_of(entry) in guilds)


def size_bytes(name: str, page: EventPage, entries: Sequence[Entry]) -> int:
    """Return the most that ``entries`` of ``page`` need as frames: for each the data, topic, position and header."""
    (empty_push,) = encode_events(name, page.epoch, [Entry(page.last, b"")])
    return sum(len(empty_push) + MAX_HEADER_BYTES + len(entry.data) for entry in entries)
