"""The signals that ask a process to stop, and the exit code for each."""

from __future__ import annotations

import os
import select
import signal
from typing import Final

from botctl.core.errors import ExitCode

EXIT_CODES: Final = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.HUNG_UP,
}


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals to handle. SIGHUP is not among them if this process was started with it ignored, as by `nohup`."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in EXIT_CODES if number is not signal.SIGHUP or not ignored)


def discard_lost_output() -> bool:
    """Send stdout and stderr to /dev/null if their terminal or pipe is gone. A write there would raise OSError.

    Returns whether one of them was gone.
    """
    lost = False
    for descriptor in (1, 2):
        poll = select.poll()
        poll.register(descriptor, 0)
        if any(state & (select.POLLHUP | select.POLLERR) for _, state in poll.poll(0)):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)
            lost = True
    return lost
