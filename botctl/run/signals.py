"""Being told to stop: SIGTERM and Ctrl-C, the second signal, and the exit that nothing can hold up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, Final

from botctl.core.errors import ExitCode

DEPART_S: Final = 3.0
_CODES: Final = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


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
            self._watch(self._hard_limit_s, self.code)
            self._loop.call_soon_threadsafe(self._first.set)
        else:
            self._loop.call_soon_threadsafe(self._second.set)

    def depart(self, code: int) -> None:
        """All has stopped: what still runs in the process (a thread that hangs, say) gets ``DEPART_S`` to end."""
        self.close()
        self._watch(DEPART_S, code)

    def close(self) -> None:
        """Call off the watchdog."""
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _watch(self, limit_s: float, code: int) -> None:
        self._watchdog = threading.Timer(limit_s, self._give_up, (limit_s, code))
        self._watchdog.daemon = True
        self._watchdog.start()

    def _give_up(self, limit_s: float, code: int) -> None:
        sentence = f"botctl: something would not stop within {limit_s:.0f} s; ending without it.\n"
        os.write(sys.stderr.fileno(), sentence.encode())
        self._end(code)


@contextlib.contextmanager
def listening(hard_limit_s: float) -> Iterator[Stop]:
    """Listen for SIGTERM and SIGINT while the block runs; must be entered in the main thread, in a running loop.

    The watchdog is not called off when the block ends; that is for who enters it (`Stop.close`, `Stop.depart`).
    """
    stop = Stop(hard_limit_s)

    def handler(signum: int, _frame: FrameType | None) -> None:
        stop.receive(signum)

    # signal.signal, not loop.add_signal_handler: it also runs while a handler blocks the loop.
    before = {signum: signal.signal(signum, handler) for signum in _CODES}
    try:
        yield stop
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)


async def finish(work: Coroutine[Any, Any, None]) -> ExitCode:
    """Do ``work``, of a verb that changes things; each signal cancels it once. Returns the exit code that it comes to.

    What the first one means is the work's to say: it may finish what it is at. There is no limit to how long that may
    take, and a second signal is its limit.
    """
    with listening(threading.TIMEOUT_MAX) as stop:
        task = asyncio.create_task(work, name="work")
        minding = asyncio.create_task(_pass_on(stop, task), name="signals")
        try:
            await task
        except asyncio.CancelledError:
            if stop.code is None:
                raise
            return stop.code
        finally:
            minding.cancel()
            stop.close()
    return ExitCode.OK


async def _pass_on(stop: Stop, task: asyncio.Task[None]) -> None:
    await stop.wait()
    task.cancel()
    await stop.wait_for_hurry()
    task.cancel()
