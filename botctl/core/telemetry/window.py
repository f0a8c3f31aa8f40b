"""Statistics of the last minute, one record for each second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from botctl.core.telemetry.latency import Latencies, merge

WINDOW_S: Final = 60


@dataclass(slots=True)
class Second:
    """Second ``number`` of the clock: commands ``finished``, their ``latencies``, the event loop's longest delay.

    ``late``: those that got no answer in time.
    """

    number: int
    finished: int = 0
    late: int = 0
    lag_ms: float = 0.0
    latencies: Latencies | None = None


class Window:
    """The last `WINDOW_S` seconds of a monotonic clock."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seconds: deque[Second] = deque()

    def now(self) -> Second:
        """The current second, to be updated. Drops old seconds."""
        number = int(self._monotonic())
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(Second(number))
        while self._seconds[0].number <= number - WINDOW_S:
            self._seconds.popleft()
        return self._seconds[-1]

    def finished(self) -> list[int]:
        """Commands finished in each second of the window, oldest first, without the current second."""
        last = self.now().number - 1
        by_number = {second.number: second.finished for second in self._seconds}
        return [by_number.get(number, 0) for number in range(last - WINDOW_S + 2, last + 1)]

    def recent(self, seconds: int) -> tuple[int, int]:
        """The commands that finished within the last ``seconds``, and how many of them got no answer in time."""
        since = self.now().number - seconds
        latest = [second for second in self._seconds if second.number > since]
        return sum(second.finished for second in latest), sum(second.late for second in latest)

    def latencies(self) -> list[int]:
        """The latencies of all commands in the window: a count per histogram bucket (`latency.BOUNDS_MS`)."""
        self.now()
        return merge(second.latencies.counts for second in self._seconds if second.latencies)

    def lag_ms(self, seconds: int = WINDOW_S) -> float:
        """The longest delay of the event loop within the last ``seconds``."""
        since = self.now().number - seconds
        return max(second.lag_ms for second in self._seconds if second.number > since)
