"""When the server closes a connection."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock, patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.realtime.budgets import BEFORE_KEY, Refill
from botctl.realtime.connections import ConnectionRegistry
from botctl.realtime.liveness import MAX_MISSED_HEARTBEATS, ConnectionHealth, Deadlines, close_reason
from botctl.realtime.protocol import CloseReason
from botctl.realtime.socket import SocketLimits
from tests.support.clock import Standstill
from tests.support.waiting import until

DEADLINES = Deadlines(auth_s=10, stall_s=5, heartbeat_s=20)


def health(**values: object) -> ConnectionHealth:
    given: dict[str, object] = {"opened_s": 0.0, "last_received_s": 0.0, "last_drained_s": 0.0, "authenticated": True}
    return ConnectionHealth(**(given | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("connection", "now_s", "reason"),
    [
        (health(authenticated=False), 9.9, None),
        (health(authenticated=False, last_received_s=9.9), 10, CloseReason.NOT_AUTHENTICATED),
        (health(has_backlog=True, last_drained_s=100, last_received_s=100), 104.9, None),
        (health(has_backlog=True, last_drained_s=100, last_received_s=104), 105, CloseReason.SLOW),
        (health(last_received_s=100), 149, None),
        (health(last_received_s=100), 150, CloseReason.SILENT),
        (health(last_received_s=100, last_drained_s=140), 150, None),
    ],
)
def test_close_reason_follows_from_health_and_time(
    connection: ConnectionHealth, now_s: float, reason: CloseReason | None
) -> None:
    assert close_reason(connection, now_s, DEADLINES) is reason


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.booleans())
def test_client_that_drains_its_backlog_stays_connected(
    last_received_s: float, now_s: float, has_backlog: bool
) -> None:
    draining = health(last_received_s=last_received_s, last_drained_s=now_s, has_backlog=has_backlog)
    assert close_reason(draining, now_s, DEADLINES) is None


def test_standstill_moves_no_time_into_the_future() -> None:
    """One client sent in the same turn of the loop, another one before it stood still."""
    sent = health(opened_s=0, last_received_s=130, last_drained_s=20)
    sent.postpone(100, now_s=130)
    assert (sent.opened_s, sent.last_received_s, sent.last_drained_s) == (100, 130, 120)
    silent = health(last_received_s=30)
    silent.postpone(100, now_s=130)
    assert (silent.last_received_s, silent.last_drained_s) == (130, 100)


def test_one_lost_pong_does_not_close_the_connection() -> None:
    assert MAX_MISSED_HEARTBEATS > 2


@pytest.mark.parametrize("stood_still_s", [0, 100])
async def test_standstill_of_the_server_closes_no_connection(stood_still_s: float) -> None:
    """Clients that were silent for as long while the server ran are closed."""
    standstill = Standstill()
    now_s = asyncio.get_running_loop().time()
    limits = Mock(spec=SocketLimits)
    registry = ConnectionRegistry(
        Mock(), limits, DEADLINES, sockets=Refill(0, 0), work=BEFORE_KEY, auditor=Mock(), clock=Mock()
    )
    client = Mock(is_open=True, health=health(opened_s=now_s, last_received_s=now_s))
    client.check_health = lambda _now_s: client.health
    registry.clients.add(client)
    registry._heartbeat_due_s[client] = float("inf")
    sweep_s = 0.001
    with patch("botctl.realtime.connections.SWEEP_S", sweep_s):
        sweeping = asyncio.create_task(registry.sweep())
        await asyncio.sleep(0)
        if stood_still_s:
            standstill.stand_still(stood_still_s)
            await until(lambda: client.health.opened_s > now_s)
        else:
            client.health.last_received_s = client.health.last_drained_s = now_s - 100
            await until(lambda: client.disconnect.called)
        sweeping.cancel()
    assert client.disconnect.called is not bool(stood_still_s)
