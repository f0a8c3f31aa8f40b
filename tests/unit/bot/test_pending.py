"""Small things about pending interactions."""

from __future__ import annotations

import pytest

from botctl.bot.pending import Failures


def test_failures_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture):
    """A store that is down for an hour is not a log line per command; all of them are counted."""
    failures = Failures("it failed")
    for second in (0.0, 1.0, 59.0, 61.0):
        failures.add(ConnectionError("down"), second)
    assert failures.count == 4
    assert len(caplog.records) == 2
