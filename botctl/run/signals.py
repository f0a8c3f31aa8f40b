"""Handle the signals that stop a process: the first one, the second one, and a watchdog that ends it in any case."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final, NamedTuple

from botctl.core.errors import ExitCode
from botctl.core.event_loop.tasks import create_watched_task
from botctl.core.processes.stop_signals import EXIT_CODES, discard_lost_output, stop_signals
from botctl.core.safe_streams import finish_output

EXIT_GRACE_S: Final = 3.0  # see `ShutdownSignals.limit_exit`
OUTPUT_S: Final = 0.5  # how long the watchdog waits for each of its last two writes
_log = logging.getLogger(__name__)


class _Limit(NamedTuple):
    seconds: float
    exit_code: int


class Watchdog:
    """A thread that ends the process when a time limit is over, even if the event loop is blocked.

    The thread starts at once and waits: when the process is to stop, there may be no memory for a thread.
    """

    def __init__(self, end_process: Callable[[int], None] = os._exit) -> None:
        self._end_process = end_process
        self._limits: SimpleQueue[_Limit | None] = SimpleQueue()  # a signal handler may interrupt its methods
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # without it a stop still works, unless something blocks for ever
            _log.warning("a stop has no time limit: %s", error)

    def set_limit(self, limit_s: float, exit_code: int) -> None:
        """End the process in ``limit_s`` seconds. Replaces an earlier limit."""
        self._limits.put(_Limit(limit_s, exit_code))

    def end(self) -> None:
        """End the thread; there is no limit any more."""
        self._limits.put(None)

    @property
    def thread(self) -> threading.Thread:
        return self._thread

    def _watch(self) -> None:
        limit = self._limits.get()
        while limit is not None:
            try:
                limit = self._limits.get(timeout=limit.seconds)
            except Empty:
                break
        if limit is not None:
            _try_for(OUTPUT_S, finish_output)
            _try_for(OUTPUT_S, functools.partial(_say_why, limit.seconds))
            self._end_process(limit.exit_code)


def _say_why(limit_s: float) -> None:
    problem = f"something did not stop within {limit_s:.0f} s"
    with contextlib.suppress(OSError, ValueError):  # the terminal may be gone
        os.write(sys.stderr.fileno(), f"botctl: {problem}; the process ends without waiting for it.\n".encode())


def _go_to_line_start() -> None:
    """Move the cursor back over the ``^C`` that the terminal has echoed, so that the next line begins in column 0."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = sys.stderr.fileno()
        if os.isatty(descriptor):
            os.write(descriptor, b"\r")


def _try_for(limit_s: float, write: Callable[[], None]) -> None:
    """Call ``write``, but wait no longer than ``limit_s``: a pipe may be full, or a blocked thread hold a lock."""
    thread = threading.Thread(target=write, name="last output", daemon=True)
    with contextlib.suppress(RuntimeError):  # there is no memory for a thread
        thread.start()
        thread.join(limit_s)


class ShutdownSignals:
    """The signals that this process has received.

    The process ends ``hard_limit_s`` after the first signal, whatever it is doing (None: without limit). A `Watchdog`
    ensures that: a handler that blocks the event loop blocks everything else.
    """

    def __init__(self, hard_limit_s: float | None, *, end_process: Callable[[int], None] = os._exit) -> None:
        self.exit_code: ExitCode | None = None
        self._hard_limit_s = hard_limit_s
        self._first = asyncio.Event()
        self._second = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.watchdog = None if hard_limit_s is None else Watchdog(end_process)

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
            self.exit_code = EXIT_CODES[signal.Signals(signum)]
            self._loop.call_soon_threadsafe(self._first.set)  # first of all: nothing below may prevent it
            if self.watchdog is not None and self._hard_limit_s is not None:
                self.watchdog.set_limit(self._hard_limit_s, self.exit_code)
        else:
            self._loop.call_soon_threadsafe(self._second.set)
        if signum == signal.SIGHUP:
            discard_lost_output()
        elif signum == signal.SIGINT:
            _go_to_line_start()

    def limit_exit(self, exit_code: int) -> None:
        """Call it when all services have stopped: the process, with all its threads, must end within `EXIT_GRACE_S`."""
        if self.watchdog is not None:
            self.watchdog.set_limit(EXIT_GRACE_S, exit_code)

    def cancel_watchdog(self) -> None:
        if self.watchdog is not None:
            self.watchdog.end()


@contextlib.contextmanager
def handle_signals(hard_limit_s: float | None) -> Iterator[ShutdownSignals]:
    """Handle the `stop_signals` until the block ends. Needs the main thread and a running event loop.

    The watchdog outlives the block: the caller cancels it (`ShutdownSignals.cancel_watchdog` or `limit_exit`).
    """
    signals = ShutdownSignals(hard_limit_s)

    def handler(signum: int, _frame: FrameType | None) -> None:
        signals.receive(signum)

    # signal.signal, not loop.add_signal_handler: it also runs while a handler blocks the loop.
    previous = {signum: signal.signal(signum, handler) for signum in stop_signals()}
    try:
        yield signals
    finally:
        for signum, previous_handler in previous.items():
            signal.signal(signum, previous_handler)


async def run_cancellable(work: Coroutine[Any, Any, None]) -> ExitCode:
    """Run ``work``; the first signal cancels it, and so does the second. Returns the exit code.

    ``work`` decides what the first cancellation means: it may finish its current step, and there is no time limit.
    """
    with handle_signals(None) as signals:
        task = asyncio.create_task(work, name="work")
        canceller = create_watched_task(_cancel_on_signals(signals, task), name="signals")
        try:
            await task
        except asyncio.CancelledError:
            if signals.exit_code is None:
                raise
            return signals.exit_code
        finally:
            canceller.cancel()
    return ExitCode.OK


async def _cancel_on_signals(signals: ShutdownSignals, task: asyncio.Task[None]) -> None:
    await signals.wait()
    task.cancel()
    await signals.wait_for_second_signal()
    task.cancel()
