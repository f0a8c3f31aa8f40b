"""When a connection has to go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.realtime.liveness import SILENT_BEATS, ConnectionHealth, Deadlines, close_reason
from botctl.realtime.protocol import CloseReason

DEADLINES = Deadlines(auth_s=10, stall_s=5, heartbeat_s=20)


def health(**values: object) -> ConnectionHealth:
    given: dict[str, object] = {"opened_s": 0.0, "heard_s": 0.0, "drained_s": 0.0, "authenticated": True}
    return ConnectionHealth(**(given | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of", "now_s", "why"),
    [
        (health(authenticated=False), 9.9, None),
        (health(authenticated=False, heard_s=9.9), 10, CloseReason.NOT_AUTHENTICATED),
        (health(waiting=True, drained_s=100, heard_s=100), 104.9, None),
        (health(waiting=True, drained_s=100, heard_s=104), 105, CloseReason.SLOW),
        (health(heard_s=100), 149, None),
        (health(heard_s=100), 150, CloseReason.SILENT),
        (health(heard_s=100, drained_s=140), 150, None),
    ],
)
def test_close_reasons(of: ConnectionHealth, now_s: float, why: CloseReason | None) -> None:
    assert close_reason(of, now_s, DEADLINES) is why


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.booleans())
def test_who_takes_bytes_stays_whatever_it_says(heard_s: float, now_s: float, waiting: bool) -> None:
    assert close_reason(health(heard_s=heard_s, drained_s=now_s, waiting=waiting), now_s, DEADLINES) is None


def test_one_lost_answer_is_forgiven() -> None:
    """A ping goes out each heartbeat; the deadline lies beyond two of them."""
    assert SILENT_BEATS > 2
