"""A `Clock` for tests."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on both clocks."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


class Standstill:
    """Lets the running event loop stand still for a time, as if code had blocked it, without the wait."""

    def __init__(self) -> None:
        self.every_look_s = 0.0  # how long it stands still whenever it looks at its clock
        self._ahead_s = 0.0
        asyncio.get_running_loop().time = self._time  # type: ignore[method-assign]

    def stand_still(self, seconds: float) -> None:
        self._ahead_s += seconds

    def _time(self) -> float:
        self._ahead_s += self.every_look_s
        return time.monotonic() + self._ahead_s
