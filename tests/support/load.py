"""Busy processes beside the tests: `python -m tests.support.load COUNT COMMAND…` runs a command beside them.

Each takes all the processor time it gets, so COUNT is about the load that they add. They end with this process, and
after `LONGEST_S` at the latest.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from botctl.core.processes.process import die_with_parent

LONGEST_S = 4 * 3600
_SPIN = f"import time; end = time.monotonic() + {LONGEST_S}\nwhile time.monotonic() < end: pass"


@contextmanager
def load(count: int) -> Iterator[list[int]]:
    """Run ``count`` busy processes during the block; yields their ids."""
    command = die_with_parent((sys.executable, "-I", "-S", "-c", _SPIN))
    with ExitStack() as stack:
        running = [stack.enter_context(_busy(command)) for _ in range(count)]
        yield [process.pid for process in running]


@contextmanager
def _busy(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def main(words: Sequence[str]) -> int:
    """Run the command beside the load; returns its exit code."""
    count, *command = words
    with load(int(count)):
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the command ends too
    sys.exit(main(sys.argv[1:]))
