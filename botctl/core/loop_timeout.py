"""A timeout that does not blame others for the delays of this process's own event loop.

A timer of an event loop that was blocked (or had no CPU time) runs late, and before the answers that have come in the
meantime. So an ordinary timeout then says that a store was silent, though it was not.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

SLICES: Final = 4
"""Parts of a `LoopTimeout`. In a part whose end comes late by more than its length, the time does not count."""


class LoopTimeout:
    """`asyncio.timeout` that does not count the time in which the loop stood still. None: no limit.

    A loop that is late all the time gets up to twice the `SLICES`, so that the wait ends in any case.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._timeout.__aenter__()
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel_timer()
        await self._timeout.__aexit__(kind, error, trace)

    def reschedule(self, when: float | None) -> None:
        """Replace the limit, as `asyncio.Timeout.reschedule`."""
        self._cancel_timer()
        self._limit_s = None if when is None else max(0.0, when - self._loop.time())
        self._begin()

    def _begin(self) -> None:
        self._slice, self._late_slices = 0, 0
        self._began_s = self._loop.time()
        if self._limit_s is not None:
            self._wait_for_next_slice(self._limit_s / SLICES)

    def _wait_for_next_slice(self, slice_s: float) -> None:
        due_s = self._began_s + slice_s * (self._slice + 1)
        self._timer = self._loop.call_at(due_s, self._end_slice, slice_s, due_s)

    def _end_slice(self, slice_s: float, due_s: float) -> None:
        late_s = self._loop.time() - due_s
        if late_s > slice_s and self._late_slices < SLICES:
            self._late_slices += 1
            self._began_s += slice_s + late_s
        else:
            self._slice += 1
        if self._slice < SLICES:
            self._wait_for_next_slice(slice_s)
        else:
            self._timeout.reschedule(self._loop.time())

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
