"""The output of a process whose terminal is gone, or shows the keys that were pressed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from tests.support.waiting import LIMIT_S

SCRIPT = """
import sys
from botctl.core.processes.stop_signals import discard_lost_output
print("ready", flush=True)
sys.stdin.read()
lost = discard_lost_output()
print("the end", flush=True)
sys.exit(7 if lost else 0)
"""


def run(*, reader_gone: bool) -> int:
    """The exit code of a process that prints after the reader of its output has gone, or has not."""
    words = (sys.executable, "-c", SCRIPT)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        if reader_gone:
            child.stdout.close()
        child.stdin.close()
        return child.wait(LIMIT_S)


def test_output_to_a_closed_terminal_is_discarded() -> None:
    """Without that, print would raise OSError. Output that has a reader is kept."""
    assert run(reader_gone=True) == 7
    assert run(reader_gone=False) == 0


ECHO = """
import asyncio, fcntl, os, sys, termios
from botctl.run.signals import run_cancellable
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
async def work():
    print("ready", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        os.write(2, b"the end")
sys.exit(asyncio.run(run_cancellable(work())))
"""


def test_line_after_ctrl_c_begins_where_the_echo_does() -> None:
    """The terminal shows ^C where the cursor is, and leaves it behind that."""
    keys, terminal = pty.openpty()
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen((sys.executable, "-c", ECHO), start_new_session=True, **streams) as child:
        os.close(terminal)
        read_until(keys, b"ready\r\n")
        os.write(keys, b"\x03")
        shown = read_until(keys, b"the end")
        assert child.wait(LIMIT_S) == 130
    os.close(keys)
    assert shown == b"^C\rthe end"


def read_until(terminal: int, end: bytes) -> bytes:
    shown = b""
    while not shown.endswith(end):
        shown += os.read(terminal, 100)
    return shown
