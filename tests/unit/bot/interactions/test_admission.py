"""What is said when no store can tell whether a command may run."""

from __future__ import annotations

import pytest

from botctl.bot.interactions.admission import FailureCounter


def test_failures_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture):
    failures = FailureCounter("it failed")
    for second in (0.0, 1.0, 59.0, 61.0):
        failures.record(ConnectionError("down"), second)
    assert failures.count == 4
    assert len(caplog.records) == 2
