"""The send queue of a gateway connection, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest

from botctl.sandbox.gateway.websocket import WebsocketTransport
from botctl.sandbox.model.faults import Faults


def make_transport(faults: Faults | None = None) -> WebsocketTransport:
    nothing: Any = None  # socket and TCP transport are not used
    return WebsocketTransport(nothing, nothing, None, faults or Faults())


@pytest.mark.looptime
async def test_delayed_frame_is_dropped_when_the_connection_closes_first() -> None:
    transport = make_transport()
    transport.send("later", after_s=0.02)
    transport.send("now")
    assert transport.queue.get_nowait() == (0.0, "now")
    assert transport.queue.empty()
    await asyncio.sleep(0.021)
    assert transport.queue.get_nowait() == (0.0, "later")
    transport.send("too late", after_s=0.02)
    transport.close(1000, "")
    await asyncio.sleep(0.021)
    assert transport.queue.get_nowait() == (0.0, (1000, ""))
    assert transport.queue.empty()


@pytest.mark.looptime
async def test_latency_delays_each_frame() -> None:
    transport = make_transport(Faults(delay_s=0.5))
    transport.send("late")
    due_s, text = transport.queue.get_nowait()
    assert (due_s - asyncio.get_running_loop().time(), text) == (0.5, "late")


async def test_muted_connection_sends_nothing_and_stays_open() -> None:
    transport = make_transport()
    transport.tcp = mock.Mock(is_closing=lambda: False)
    transport.mute()
    transport.send("unheard")
    transport.close(4000, "")
    transport.tcp.pause_reading.assert_called_once_with()
    assert transport.queue.empty()
    assert not transport.closing
