"""Signals: the first stops, the second hurries, and a watchdog ends what nothing else can."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from botctl.core.errors import ExitCode
from botctl.run.signals import Stop, listening


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_the_first_signal_names_the_exit_code(signum: signal.Signals, code: int) -> None:
    """130 for Ctrl-C, 143 for SIGTERM; the second one hurries and does not change the code."""
    with listening(60) as stop:
        os.kill(os.getpid(), signum)
        assert await asyncio.wait_for(stop.wait(), 5) == code
        hurry = asyncio.create_task(stop.wait_for_hurry())
        await asyncio.sleep(0)
        assert not hurry.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(hurry, 5)
        assert stop.code == code
        stop.close()


async def test_the_handlers_from_before_are_put_back() -> None:
    """A test runner, or a shell around us, keeps its own."""
    before = signal.getsignal(signal.SIGTERM)
    with listening(60):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


async def test_the_watchdog_ends_a_process_whose_loop_is_blocked(capfd: pytest.CaptureFixture[str]) -> None:
    """It runs in a thread of its own: this test blocks the loop for as long as it takes."""
    ended = threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    stop = Stop(0.01, end=end)
    stop.receive(signal.SIGTERM)
    assert ended.wait(5)  # the loop cannot run meanwhile
    assert codes == [ExitCode.TERMINATED]
    assert "would not stop" in capfd.readouterr().err


async def test_a_stop_in_time_calls_the_watchdog_off() -> None:
    """Nothing ends a process that stopped by itself."""
    codes: list[int] = []
    stop = Stop(60, end=codes.append)
    stop.receive(signal.SIGINT)
    watchdog = stop._watchdog
    assert watchdog is not None
    stop.close()
    watchdog.join(5)
    assert not watchdog.is_alive()
    assert codes == []
