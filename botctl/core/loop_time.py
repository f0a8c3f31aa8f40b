"""Tell the delays of this process's own event loop from those of others.

A timer of an event loop that was blocked (or had no CPU time) runs late, and before the answers that have come in the
meantime. So an ordinary timeout then says that a store was silent, though it was not.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

SLICES: Final = 4
"""Parts of a `LoopTimeout`. In a part whose end comes late by more than its length, the time does not count."""
WINDOW_S: Final = 10.0
OWN_LAG_S: Final = 0.5
"""From this much delay in `WINDOW_S` on, a timeout is not blamed on the other side."""
_JITTER_S: Final = 0.05  # a shorter delay is normal


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


class LoopLag:
    """How late the event loop was lately. A task of the loop calls `record` at regular times."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._delays: deque[tuple[float, float]] = deque(maxlen=256)
        self._due_s = float("inf")

    def record(self, late_s: float, *, next_in_s: float) -> None:
        """Record a call that is ``late_s`` late. The next one is due ``next_in_s`` later."""
        now_s = self._clock_s()
        if late_s > _JITTER_S:
            self._delays.append((now_s, late_s))
        self._due_s = now_s + next_in_s

    def clear(self) -> None:
        """Forget all, when no task records any more."""
        self._delays.clear()
        self._due_s = float("inf")

    def late_s(self, within_s: float = WINDOW_S) -> float:
        """How much of the last ``within_s`` seconds the loop was late; 0 if no task records it."""
        now_s = self._clock_s()
        overdue_s = now_s - self._due_s
        recorded_s = sum(late_s for at_s, late_s in self._delays if at_s >= now_s - within_s)
        return recorded_s + (overdue_s if overdue_s > _JITTER_S else 0.0)


LAG: Final = LoopLag()
"""That of this process. `core.telemetry.metrics` records it in a `botctl run`, and nothing does elsewhere."""


def own_lag_s(error: BaseException) -> float:
    """How late this process's own loop was lately, if ``error`` is a timeout that this explains; else 0."""
    late_s = LAG.late_s() if _is_timeout(error) else 0.0
    return late_s if late_s >= OWN_LAG_S else 0.0


def _is_timeout(error: BaseException | None) -> bool:
    """Whether ``error`` or what caused it is a timeout: of Python, redis-py (by its name) or pymongo (``timeout``)."""
    while error is not None:
        if type(error).__name__ == "TimeoutError" or getattr(error, "timeout", False) is True:
            return True
        error = error.__cause__
    return False
