"""The last minute."""

from __future__ import annotations

from botctl.core.telemetry.latency import Latencies, quantile_ms
from botctl.core.telemetry.window import WINDOW_S, Window
from tests.support.clock import ManualClock


def test_current_second_is_left_out():
    """Newest last; seconds in which nothing was are zeros."""
    clock = ManualClock()
    window = Window(clock.monotonic)
    window.now().finished += 3
    clock.advance(2)
    window.now().finished += 5
    assert window.finished()[-3:] == [0, 3, 0]
    clock.advance(1)
    assert window.finished()[-3:] == [3, 0, 5]
    assert len(window.finished()) == WINDOW_S - 1


def test_late_commands_are_counted_among_the_recent_ones():
    clock = ManualClock()
    window = Window(clock.monotonic)
    window.now().finished, window.now().late = 3, 2
    clock.advance(29)
    window.now().finished += 4
    assert window.recent(30) == (7, 2)
    clock.advance(1)
    assert window.recent(30) == (4, 0)


def test_values_older_than_a_minute_are_dropped():
    """Counts, latencies and lag."""
    clock = ManualClock()
    window = Window(clock.monotonic)
    second = window.now()
    second.finished, second.lag_ms, second.latencies = 1, 250.0, Latencies()
    second.latencies.add(4.0)
    clock.advance(WINDOW_S - 1)
    assert (window.lag_ms(), window.lag_ms(10), sum(window.finished())) == (250.0, 0.0, 1)
    assert quantile_ms(window.latencies(), 1) == 5
    clock.advance(1)
    assert (window.lag_ms(), sum(window.finished()), sum(window.latencies())) == (0.0, 0, 0)
