"""The output of a process whose terminal is gone."""

from __future__ import annotations

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
