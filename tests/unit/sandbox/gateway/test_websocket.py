"""What a gateway connection does with what it is to send, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest

from botctl.sandbox.gateway.websocket import WebsocketTransport
from botctl.sandbox.model.faults import Faults


def connection(trouble: Faults | None = None) -> WebsocketTransport:
    nothing: Any = None  # neither socket nor transport is touched
    return WebsocketTransport(nothing, nothing, None, trouble or Faults())


@pytest.mark.looptime
async def test_delayed_frame_is_dropped_when_the_connection_closes_first() -> None:
    line = connection()
    line.send("later", after_s=0.02)
    line.send("now")
    assert line.queue.get_nowait() == (0.0, "now")
    assert line.queue.empty()
    await asyncio.sleep(0.021)
    assert line.queue.get_nowait() == (0.0, "later")
    line.send("too late", after_s=0.02)
    line.close(1000, "")
    await asyncio.sleep(0.021)
    assert line.queue.get_nowait() == (0.0, (1000, ""))
    assert line.queue.empty()


@pytest.mark.looptime
async def test_latency_delays_each_frame() -> None:
    line = connection(Faults(delay_s=0.5))
    line.send("late")
    due_s, text = line.queue.get_nowait()
    assert (due_s - asyncio.get_running_loop().time(), text) == (0.5, "late")


async def test_muted_connection_sends_nothing_and_stays_open() -> None:
    line = connection()
    line.tcp = mock.Mock(is_closing=lambda: False)
    line.mute()
    line.send("unheard")
    line.close(4000, "")
    line.tcp.pause_reading.assert_called_once_with()
    assert line.queue.empty()
    assert not line.closing
