"""Being told to stop: SIGTERM and Ctrl-C, the second signal, and the exit that nothing can hold up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from botctl.core.errors import ExitCode

_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


class Stop:
    """What the signals have said so far.

    ``hard_limit_s``: seconds from the first signal after which the process ends whatever it is doing. A watchdog thread
    sees to it, because a handler that blocks the event loop blocks everything else that could.
    """

    def __init__(self, hard_limit_s: float, *, end: Callable[[int], None] = os._exit) -> None:
        self.code: ExitCode | None = None
        self._hard_limit_s = hard_limit_s
        self._end = end
        self._first = asyncio.Event()
        self._second = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._watchdog: threading.Timer | None = None

    async def wait(self) -> ExitCode:
        """Until the first signal; returns the exit code it stands for."""
        await self._first.wait()
        assert self.code is not None  # noqa: S101 - set before the event is
        return self.code

    async def wait_for_hurry(self) -> None:
        """Until a second signal: the person will not wait."""
        await self._second.wait()

    def receive(self, signum: int) -> None:
        """Take note of a signal. Called in the main thread, between two instructions of whatever runs there."""
        if self.code is None:
            self.code = _CODES[signal.Signals(signum)]
            self._watchdog = threading.Timer(self._hard_limit_s, self._give_up)
            self._watchdog.daemon = True
            self._watchdog.start()
            self._loop.call_soon_threadsafe(self._first.set)
        else:
            self._loop.call_soon_threadsafe(self._second.set)

    def _give_up(self) -> None:
        sentence = f"botctl: still not stopped {self._hard_limit_s:.0f} s after the signal; ending without ceremony.\n"
        os.write(sys.stderr.fileno(), sentence.encode())
        self._end(self.code or ExitCode.FAILED)

    def close(self) -> None:
        """The stop is over: call off the watchdog."""
        if self._watchdog is not None:
            self._watchdog.cancel()


@contextlib.contextmanager
def listening(hard_limit_s: float) -> Iterator[Stop]:
    """Listen for SIGTERM and SIGINT while the block runs; must be entered in the main thread, in a running loop."""
    stop = Stop(hard_limit_s)

    def handler(signum: int, _frame: FrameType | None) -> None:
        stop.receive(signum)

    # signal.signal, not loop.add_signal_handler: it also runs while a handler blocks the loop.
    before = {signum: signal.signal(signum, handler) for signum in _CODES}
    try:
        yield stop
    finally:
        stop.close()
        for signum, old in before.items():
            signal.signal(signum, old)
