"""How late the event loop of this process was lately, to tell its own delays from those of others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 10.0
OWN_LAG_S: Final = 0.5
"""From this much delay in `WINDOW_S` on, a timeout is not blamed on the other side."""
_JITTER_S: Final = 0.05  # a shorter delay is normal


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
