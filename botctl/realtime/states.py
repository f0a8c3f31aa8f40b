"""The states that clients watch: tables by key, read from their sources while someone watches them.

One read serves all watchers. What it finds is compared with what the one before it found, key by key, and the
differences are pushed. A watcher joins in the same turn of the event loop in which it gets its snapshot, so no change
is between the two.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from botctl.core.clock import Clock, iso_ms
from botctl.core.contracts.states import StateSource, StateTable, StateTables
from botctl.core.errors import STORE_FAULTS
from botctl.realtime.hub import Receiver
from botctl.realtime.protocol import encode_push
from botctl.realtime.socket import chunks, text_frame

EVERY_S: Final = 0.9
"""Between two reads of a source, so that a change reaches a watcher within about a second."""
_MAX_SHARE: Final = 0.2  # of the time that a source may spend reading; it is read less often if a read takes long

_log = logging.getLogger(__name__)


class StateHub:
    """The states of ``sources``, with their watchers."""

    def __init__(self, sources: Iterable[StateSource], clock: Clock) -> None:
        self._feeds = [_Feed(source, clock) for source in sources]
        self._by_state = {name: feed for feed in self._feeds for name in feed.source.names}

    @property
    def names(self) -> tuple[str, ...]:
        """The states that there are."""
        return tuple(self._by_state)

    @property
    def watches(self) -> int:
        """Number of watchers over all states."""
        return sum(len(watchers) for feed in self._feeds for watchers in feed.watchers.values())

    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What must run, for ever, by a name: one task for each source."""
        return {f"state {'/'.join(feed.source.names)}": feed.run for feed in self._feeds}

    async def watch(self, receiver: Receiver, names: Iterable[str]) -> StateTables:
        """Push changes of the states ``names`` to ``receiver`` from now on; returns their tables now.

        Send the tables before the next ``await``. Raises Unreachable if one of them cannot be read.
        """
        feeds = {name: self._by_state[name] for name in names}
        with ExitStack() as stack:
            for feed in feeds.values():
                stack.enter_context(feed.in_use())
            for feed in feeds.values():
                await feed.require_tables()
            return {name: feed.add_watcher(receiver, name) for name, feed in feeds.items()}

    def unwatch(self, receiver: Receiver, names: Iterable[str]) -> None:
        """Push no more changes of the states ``names`` to ``receiver``."""
        for name in names:
            if (feed := self._by_state.get(name)) is not None:
                feed.remove_watcher(receiver, name)

    def stale_since(self, name: str) -> str | None:
        """When the state ``name`` was read last, ISO 8601, if it cannot be read at the moment."""
        return self._by_state[name].stale_since


class _Feed:
    """One source with its watchers, by state. The source is read as long as someone uses it."""

    def __init__(self, source: StateSource, clock: Clock) -> None:
        self.source = source
        self.watchers: dict[str, dict[Receiver, None]] = {name: {} for name in source.names}
        self.stale_since: str | None = None
        self._clock = clock
        self._tables: StateTables | None = None  # None: no one uses it, or the first read is under way
        self._users = 0  # calls of `in_use`
        self._is_used = asyncio.Event()
        self._reading = asyncio.Lock()
        self._read_at = ""  # ISO 8601
        self._pause_s = EVERY_S

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the tables current, also while there is no watcher."""
        self._users += 1
        self._is_used.set()
        try:
            yield
        finally:
            self._users -= 1
            self._forget_unless_used()

    async def run(self) -> None:
        """Read again and again while someone uses it, for ever."""
        while True:
            await self._is_used.wait()
            await asyncio.sleep(self._pause_s)
            async with self._reading:
                if self._tables is not None:
                    await self._refresh()

    async def require_tables(self) -> None:
        """Read the source if it was not read yet. Raises Unreachable."""
        async with self._reading:
            if self._tables is None:
                self._tables = await self._read()

    def add_watcher(self, receiver: Receiver, name: str) -> StateTable:
        assert self._tables is not None  # noqa: S101  `require_tables` has read them
        self.watchers[name][receiver] = None
        return self._tables[name]

    def remove_watcher(self, receiver: Receiver, name: str) -> None:
        self.watchers[name].pop(receiver, None)
        self._forget_unless_used()

    def _forget_unless_used(self) -> None:
        if not self._users and not any(self.watchers.values()):
            self._is_used.clear()
            self._tables, self.stale_since = None, None

    async def _read(self) -> StateTables:
        started_s, at = self._clock.monotonic(), iso_ms(self._clock.now())
        tables = await self.source.read()
        self._read_at = at
        self._pause_s = max(EVERY_S, (self._clock.monotonic() - started_s) / _MAX_SHARE)
        return {name: _as_sent(tables[name]) for name in self.source.names}

    async def _refresh(self) -> None:
        try:
            tables = await self._read()
        except STORE_FAULTS as error:
            self._mark_stale(str(error))
        else:
            if self._tables is not None:  # the last user may have left during the read
                self._push_changes(self._tables, tables)
                self._tables = tables

    def _push_changes(self, old: StateTables, new: StateTables) -> None:
        """Push the differences, and then that the states can be read again if they could not."""
        was_stale, self.stale_since = self.stale_since is not None, None
        for name, watchers in self.watchers.items():
            if watchers:
                pushes = [
                    encode_push("change", state=name, key=key, value=value)
                    for key, value in changes(old[name], new[name]).items()
                ]
                _push([*pushes, *([encode_push("fresh", state=name)] if was_stale else [])], watchers)

    def _mark_stale(self, reason: str) -> None:
        if self.stale_since is None and self._tables is not None:
            self.stale_since = self._read_at
            _log.info("watchers of %s get no changes for now: %s", ", ".join(self.source.names), reason)
            for name, watchers in self.watchers.items():
                _push([encode_stale(name, self.stale_since)], watchers)


def encode_stale(name: str, since: str) -> bytes:
    """The push that the state ``name`` cannot be read; its values are of the time ``since``, ISO 8601."""
    return encode_push("stale", state=name, since=since)


def changes(old: StateTable, new: StateTable) -> Mapping[str, Mapping[str, Any] | None]:
    """The keys whose values are different in ``new``, with the new value; None for those that are gone."""
    changed = {key: value for key, value in new.items() if old.get(key) != value}
    return changed | dict.fromkeys(old.keys() - new.keys())


def _as_sent(table: StateTable) -> StateTable:
    """``table`` as clients get it: a later change of an object of the source changes nothing here."""
    sent: StateTable = json.loads(json.dumps(table))
    return sent


def _push(pushes: Sequence[bytes], watchers: Iterable[Receiver]) -> None:
    joined = list(chunks(map(text_frame, pushes)))
    for receiver in tuple(watchers):
        for chunk in joined:
            receiver.push(chunk)
