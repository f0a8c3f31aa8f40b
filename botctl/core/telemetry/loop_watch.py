"""Find out what blocks the event loop, and log it.

After a blocking call, nothing shows which call it was. So a thread watches the loop, and reads its stack once while it
is blocked.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

BLOCKED_S: Final = 1.0
"""The shortest block that is logged: a third of the time that Discord waits for a response."""
CHECK_EVERY_S: Final = 0.25
_LIBRARIES: Final = tuple(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib"))
_log = logging.getLogger(__name__)


class LoopWatch:
    """Watches the running event loop. A task of the loop must call `record_lag` every ``interval_s``.

    ``describe_task`` returns the name of what a task runs (``/block``), or None. The watching thread calls it.
    """

    def __init__(
        self,
        describe_task: Callable[[asyncio.Task[Any]], str | None],
        *,
        interval_s: float,
        blocked_s: float = BLOCKED_S,
    ) -> None:
        self._describe_task = describe_task
        self._blocked_s = blocked_s
        self._capture_after_s = interval_s + blocked_s / 2
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._last_record_s = time.monotonic()
        self._blocker: tuple[float, str] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(1.0)

    def record_lag(self, lag_ms: float) -> None:
        """Record that the loop was ``lag_ms`` late. Logs it if that is ``blocked_s`` or more."""
        blocker, last_s, self._last_record_s = self._blocker, self._last_record_s, time.monotonic()
        if lag_ms < self._blocked_s * 1000:
            return
        if blocker is not None and blocker[0] == last_s:
            _log.warning(
                "%s blocked the event loop for %.1f s: the bot answered no one in that time", blocker[1], lag_ms / 1000
            )
        else:  # suspended, without CPU time, or in a library that holds the GIL
            _log.info("the whole process stood still for %.1f s", lag_ms / 1000)

    @property
    def blocker(self) -> str | None:
        """What has blocked the loop since the last `record_lag`, as far as the thread knows."""
        return self._blocker[1] if self._blocker is not None and self._blocker[0] == self._last_record_s else None

    def _watch(self) -> None:
        every_s = min(CHECK_EVERY_S, self._blocked_s / 4)
        checked = time.monotonic()
        while not self._stop.wait(every_s):
            before, checked = checked, time.monotonic()
            last_s = self._last_record_s
            standstill = checked - before > every_s + self._blocked_s / 2
            if checked - last_s > self._capture_after_s and self.blocker is None and not standstill:
                self._blocker = (last_s, describe_current(self._loop, self._thread_id, self._describe_task))


def describe_current(
    loop: asyncio.AbstractEventLoop, thread_id: int, describe_task: Callable[[asyncio.Task[Any]], str | None]
) -> str:
    """What ``loop`` runs now in the thread ``thread_id``: the task and the line of code. For another thread."""
    task = asyncio.current_task(loop)
    location = frame_location(sys._current_frames().get(thread_id))  # noqa: SLF001
    name = describe_task(task) if task is not None else None
    return f"{name} ({location})" if name else location


def frame_location(frame: FrameType | None) -> str:
    """The location of ``frame``, such as ``commands/block.py:9``. Skips frames of libraries if possible."""
    innermost = frame
    while frame is not None and frame.f_code.co_filename.startswith((*_LIBRARIES, "<")):
        frame = frame.f_back
    frame = frame or innermost
    if frame is None:
        return "something"
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_lineno}"
