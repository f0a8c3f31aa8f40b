"""The sandbox's time: the machine's clock plus an offset that `advance` increases.

The offset applies to rate limits, tokens, interaction deadlines, member timeouts and the time for a RESUME. It does not
apply to heartbeats, which use the machine's clock (``base``), because the client's own clock was not moved.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from botctl.core.clock import Clock, SystemClock
from botctl.core.errors import UsageError

_ADVANCE_MAX_S = 10 * 366 * 86_400


@dataclass(eq=False, slots=True)
class Timer:
    """A callback that waits for its time; ``callback`` is None when it was cancelled."""

    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


class SandboxClock:
    """A `botctl.core.clock.Clock` that can be moved ahead and runs callbacks at their time."""

    def __init__(self, base: Clock | None = None) -> None:
        self.base = base or SystemClock()
        self._offset_s = 0.0
        self._timers: list[tuple[float, int, Timer]] = []  # a heap of (due_s, number, timer)
        self._number = 0
        self._wakeup: asyncio.TimerHandle | None = None

    def now(self) -> datetime:
        return self.base.now() + timedelta(seconds=self._offset_s)

    def monotonic(self) -> float:
        return self.base.monotonic() + self._offset_s

    def advance(self, seconds: float) -> None:
        """Move ahead by 0 s to ten years (else UsageError). The timers on the way run in order, at their times."""
        if not 0 <= seconds <= _ADVANCE_MAX_S:
            raise UsageError("The clock moves ahead by a number of seconds.", hint="Give 0 seconds to ten years.")
        target_s = self._offset_s + seconds
        while self._timers and (due_s := self._timers[0][0]) <= self.base.monotonic() + target_s:
            self._offset_s = max(self._offset_s, due_s - self.base.monotonic())
            self._run_first_timer()
        self._offset_s = max(self._offset_s, target_s)  # a callback may have advanced it further
        self._schedule_wakeup()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` when ``delay_s`` have passed or were skipped by `advance`. Needs a running event loop."""
        timer = Timer(callback)
        self._number += 1
        heapq.heappush(self._timers, (self.monotonic() + delay_s, self._number, timer))
        if self._timers[0][2] is timer:
            self._schedule_wakeup()
        return timer

    async def sleep(self, delay_s: float) -> None:
        passed = asyncio.Event()
        timer = self.call_later(delay_s, passed.set)
        try:
            await passed.wait()
        finally:
            timer.cancel()

    @asynccontextmanager
    async def timeout(self, delay_s: float) -> AsyncIterator[None]:
        """Like `asyncio.timeout`, on this clock; raises TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:
            timer = self.call_later(delay_s, lambda: limit.reschedule(loop.time()))
            try:
                yield
            finally:
                timer.cancel()

    def _run_first_timer(self) -> None:
        callback = heapq.heappop(self._timers)[2].callback
        if callback is not None:
            callback()

    def _schedule_wakeup(self) -> None:
        """Wake the event loop at the time of the first timer that is not cancelled."""
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if self._timers:
            delay_s = max(self._timers[0][0] - self.monotonic(), 0.0)
            self._wakeup = asyncio.get_running_loop().call_later(delay_s, self._on_wakeup)

    def _on_wakeup(self) -> None:
        now_s = self.monotonic()
        try:
            while self._timers and self._timers[0][0] <= now_s:
                self._run_first_timer()
        finally:
            self._schedule_wakeup()
