"""When a connection has to go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.realtime.liveness import SILENT_BEATS, Deadlines, Vitals, fate
from botctl.realtime.protocol import Close

DEADLINES = Deadlines(auth_s=10, stall_s=5, heartbeat_s=20)


def vitals(**values: object) -> Vitals:
    given: dict[str, object] = {"opened_s": 0.0, "heard_s": 0.0, "drained_s": 0.0, "authenticated": True}
    return Vitals(**(given | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of", "now_s", "why"),
    [
        (vitals(authenticated=False), 9.9, None),
        (vitals(authenticated=False, heard_s=9.9), 10, Close.NOT_AUTHENTICATED),
        (vitals(waiting=True, drained_s=100, heard_s=100), 104.9, None),
        (vitals(waiting=True, drained_s=100, heard_s=104), 105, Close.SLOW),
        (vitals(heard_s=100), 149, None),
        (vitals(heard_s=100), 150, Close.SILENT),
        (vitals(heard_s=100, drained_s=140), 150, None),
    ],
)
def test_fates(of: Vitals, now_s: float, why: Close | None) -> None:
    assert fate(of, now_s, DEADLINES) is why


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.booleans())
def test_who_takes_bytes_stays_whatever_it_says(heard_s: float, now_s: float, waiting: bool) -> None:
    assert fate(vitals(heard_s=heard_s, drained_s=now_s, waiting=waiting), now_s, DEADLINES) is None


def test_one_lost_answer_is_forgiven() -> None:
    """A ping goes out each heartbeat; the deadline lies beyond two of them."""
    assert SILENT_BEATS > 2
