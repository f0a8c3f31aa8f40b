"""Handle SIGTERM and Ctrl-C: the first signal, the second one, and a watchdog that ends the process in any case."""

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

EXIT_GRACE_S: Final = 3.0  # see `ShutdownSignals.limit_exit`
_EXIT_CODES: Final = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


class ShutdownSignals:
    """The signals that this process has received.

    The process ends ``hard_limit_s`` after the first signal, whatever it is doing. A watchdog thread ensures that: a
    handler that blocks the event loop blocks everything else.
    """

    def __init__(self, hard_limit_s: float, *, end_process: Callable[[int], None] = os._exit) -> None:
        self.exit_code: ExitCode | None = None
        self._hard_limit_s = hard_limit_s
        self._end_process = end_process
        self._first = asyncio.Event()
        self._second = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._watchdog: threading.Timer | None = None

    async def wait(self) -> ExitCode:
        """Wait for the first signal; returns its exit code."""
        await self._first.wait()
        assert self.exit_code is not None  # noqa: S101 - set before the event is
        return self.exit_code

    async def wait_for_second_signal(self) -> None:
        """Wait for the second signal, which means that the operator does not want to wait."""
        await self._second.wait()

    def receive(self, signum: int) -> None:
        """Record a signal. Python calls this in the main thread, between any two instructions."""
        if self.exit_code is None:
            self.exit_code = _EXIT_CODES[signal.Signals(signum)]
            self._start_watchdog(self._hard_limit_s, self.exit_code)
            self._loop.call_soon_threadsafe(self._first.set)
        else:
            self._loop.call_soon_threadsafe(self._second.set)

    def limit_exit(self, exit_code: int) -> None:
        """Call it when all services have stopped: the process, with all its threads, must end within `EXIT_GRACE_S`."""
        self.cancel_watchdog()
        self._start_watchdog(EXIT_GRACE_S, exit_code)

    def cancel_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _start_watchdog(self, limit_s: float, exit_code: int) -> None:
        self._watchdog = threading.Timer(limit_s, self._force_exit, (limit_s, exit_code))
        self._watchdog.daemon = True
        self._watchdog.start()

    def _force_exit(self, limit_s: float, exit_code: int) -> None:
        sentence = f"botctl: something did not stop within {limit_s:.0f} s; the process ends without waiting for it.\n"
        os.write(sys.stderr.fileno(), sentence.encode())
        self._end_process(exit_code)


@contextlib.contextmanager
def handle_signals(hard_limit_s: float) -> Iterator[ShutdownSignals]:
    """Handle SIGTERM and SIGINT until the block ends. Needs the main thread and a running event loop.

    The watchdog outlives the block: the caller cancels it (`ShutdownSignals.cancel_watchdog` or `limit_exit`).
    """
    signals = ShutdownSignals(hard_limit_s)

    def handler(signum: int, _frame: FrameType | None) -> None:
        signals.receive(signum)

    # signal.signal, not loop.add_signal_handler: it also runs while a handler blocks the loop.
    previous = {signum: signal.signal(signum, handler) for signum in _EXIT_CODES}
    try:
        yield signals
    finally:
        for signum, previous_handler in previous.items():
            signal.signal(signum, previous_handler)


async def run_cancellable(work: Coroutine[Any, Any, None]) -> ExitCode:
    """Run ``work``; the first signal cancels it, and so does the second. Returns the exit code.

    ``work`` decides what the first cancellation means: it may finish its current step, and there is no time limit.
    """
    with handle_signals(threading.TIMEOUT_MAX) as signals:
        task = asyncio.create_task(work, name="work")
        canceller = asyncio.create_task(_cancel_on_signals(signals, task), name="signals")
        try:
            await task
        except asyncio.CancelledError:
            if signals.exit_code is None:
                raise
            return signals.exit_code
        finally:
            canceller.cancel()
            signals.cancel_watchdog()
    return ExitCode.OK


async def _cancel_on_signals(signals: ShutdownSignals, task: asyncio.Task[None]) -> None:
    await signals.wait()
    task.cancel()
    await signals.wait_for_second_signal()
    task.cancel()
