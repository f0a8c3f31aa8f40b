"""Who holds the event loop up: a thread looks while it happens, a line of the log tells it afterwards.

Python cannot say after a `time.sleep` who it was. So while the loop does not come back, the thread reads what its
thread is at, once; otherwise it sleeps.
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

HELD_S: Final = 1.0
"""Since when it is worth a line: a third of what Discord waits for an answer."""
CHECK_EVERY_S: Final = 0.25
_LIBRARIES: Final = tuple(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib"))
_log = logging.getLogger(__name__)


class LoopWatch:
    """Watches the running loop while it is entered; the loop calls `beat` every ``beat_s``.

    ``doing`` says what a task does in words that people know (``/block``), or None. It is called by the thread.
    """

    def __init__(
        self, doing: Callable[[asyncio.Task[Any]], str | None], *, beat_s: float, held_s: float = HELD_S
    ) -> None:
        self._doing = doing
        self._held_s = held_s
        self._suspect_s = beat_s + held_s / 2
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._last = time.monotonic()
        self._seen: tuple[float, str] | None = None
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

    def beat(self, lag_ms: float) -> None:
        """The loop came ``lag_ms`` too late; once that is ``held_s`` or more, it is told."""
        seen, last, self._last = self._seen, self._last, time.monotonic()
        if lag_ms < self._held_s * 1000:
            return
        if seen is not None and seen[0] == last:
            _log.warning("%s held the event loop for %.1f s: nobody was answered meanwhile", seen[1], lag_ms / 1000)
        else:  # suspended, out of processor time, or in a library that lets no other thread run
            _log.info("the whole process stood still for %.1f s", lag_ms / 1000)

    @property
    def seen(self) -> str | None:
        """Who holds the loop since the last beat, as far as the thread has seen."""
        return self._seen[1] if self._seen is not None and self._seen[0] == self._last else None

    def _watch(self) -> None:
        every_s = min(CHECK_EVERY_S, self._held_s / 4)
        looked = time.monotonic()
        while not self._stop.wait(every_s):
            before, looked = looked, time.monotonic()
            last = self._last
            standstill = looked - before > every_s + self._held_s / 2
            if looked - last > self._suspect_s and self.seen is None and not standstill:
                self._seen = (last, self._look())

    def _look(self) -> str:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001
        place = frame_location(frame)
        name = self._doing(task) if task is not None else None
        return f"{name} ({place})" if name else place


def frame_location(frame: FrameType | None) -> str:
    """``commands/block.py:9``: where ``frame`` is, libraries left out as far as there is anything else."""
    innermost = frame
    while frame is not None and frame.f_code.co_filename.startswith((*_LIBRARIES, "<")):
        frame = frame.f_back
    frame = frame or innermost
    if frame is None:
        return "something"
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_lineno}"
