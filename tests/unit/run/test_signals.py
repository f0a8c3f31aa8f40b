"""The first signal stops the process, the second shortens the stop, and a watchdog ends a blocked process."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import threading
from typing import cast
from unittest import mock

import pytest

from botctl.core.errors import ExitCode
from botctl.core.safe_streams import SafeStream, safe_streams
from botctl.run.signals import ShutdownSignals, handle_signals
from tests.support import canary
from tests.support.waiting import LIMIT_S, expires


@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_first_signal_sets_the_exit_code(signum: signal.Signals, exit_code: int) -> None:
    """The second one does not change it."""
    with handle_signals(60) as signals:
        os.kill(os.getpid(), signum)
        assert await asyncio.wait_for(signals.wait(), LIMIT_S) == exit_code
        second = asyncio.create_task(signals.wait_for_second_signal())
        await asyncio.sleep(0)
        assert not second.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(second, LIMIT_S)
        assert signals.exit_code == exit_code
        signals.cancel_watchdog()


async def test_previous_signal_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with handle_signals(60):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


async def test_watchdog_ends_a_process_with_a_blocked_loop(capfd: pytest.CaptureFixture[str]) -> None:
    """The watchdog is a thread of its own. This test blocks the loop until it has acted."""
    ended = threading.Event()
    exit_codes: list[int] = []

    def end_process(exit_code: int) -> None:
        exit_codes.append(exit_code)
        ended.set()

    signals = ShutdownSignals(0.01, end_process=end_process)
    signals.receive(signal.SIGTERM)
    assert ended.wait(LIMIT_S)  # the loop cannot run in the meantime
    assert exit_codes == [ExitCode.TERMINATED]
    assert "did not stop within" in capfd.readouterr().err


async def test_watchdog_writes_what_is_held_back() -> None:
    out, printed = io.StringIO(), []
    with canary.registered(), mock.patch.object(sys, "stdout", out), safe_streams():
        sys.stdout.write(f"the last {canary.PASSWORD[:5]}")
        signals = ShutdownSignals(0.01, end_process=lambda _: printed.append(out.getvalue()))
        signals.receive(signal.SIGTERM)
        assert signals.watchdog is not None
        signals.watchdog.thread.join(LIMIT_S)
    assert printed == [f"the last {canary.PASSWORD[:5]}"]


async def test_watchdog_ends_a_process_that_blocks_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the reader of the pipe has stopped."""
    monkeypatch.setattr("botctl.run.signals.OUTPUT_S", expires(0.01))
    exit_codes: list[int] = []
    with mock.patch.object(sys, "stdout", io.StringIO()), safe_streams():
        stream = cast(SafeStream, sys.stdout)
        with stream._lock:
            signals = ShutdownSignals(0.01, end_process=exit_codes.append)
            signals.receive(signal.SIGTERM)
            assert signals.watchdog is not None
            signals.watchdog.thread.join(LIMIT_S)
    assert exit_codes == [ExitCode.TERMINATED]


async def test_cancelled_watchdog_does_not_end_the_process() -> None:
    exit_codes: list[int] = []
    signals = ShutdownSignals(60, end_process=exit_codes.append)
    signals.receive(signal.SIGINT)
    assert signals.watchdog is not None
    signals.cancel_watchdog()
    signals.watchdog.thread.join(LIMIT_S)
    assert not signals.watchdog.thread.is_alive()
    assert exit_codes == []


async def test_signal_is_received_when_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under `prlimit --as`. The watchdog's thread waits since the start."""
    exit_codes: list[int] = []
    signals = ShutdownSignals(0.01, end_process=exit_codes.append)
    no_threads(monkeypatch)
    signals.receive(signal.SIGTERM)
    assert await asyncio.wait_for(signals.wait(), LIMIT_S) == ExitCode.TERMINATED
    assert signals.watchdog is not None
    signals.watchdog.thread.join(LIMIT_S)
    assert exit_codes == [ExitCode.TERMINATED]


async def test_signals_work_without_a_watchdog_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The second signal and the end of the run, too."""
    no_threads(monkeypatch)
    signals = ShutdownSignals(60)
    signals.receive(signal.SIGHUP)
    signals.receive(signal.SIGTERM)
    await asyncio.wait_for(signals.wait_for_second_signal(), LIMIT_S)
    signals.limit_exit(ExitCode.HUNG_UP)
    signals.cancel_watchdog()
    assert "no time limit" in caplog.text


async def test_ignored_hangup_stays_ignored() -> None:
    """As `nohup` starts a process."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handle_signals(None):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
