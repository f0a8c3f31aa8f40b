"""What a gateway connection does with what it is to send, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from botctl.sandbox.gateway import Connection


@pytest.mark.looptime
async def test_what_is_sent_later_waits_its_time_and_is_dropped_when_the_connection_closes_first() -> None:
    nothing: Any = None  # neither socket nor transport is touched
    connection = Connection(nothing, nothing, None)
    connection.send("later", after_s=0.02)
    connection.send("now")
    assert connection.queue.get_nowait() == "now"
    assert connection.queue.empty()
    await asyncio.sleep(0.021)
    assert connection.queue.get_nowait() == "later"
    connection.send("too late", after_s=0.02)
    connection.close(1000, "")
    await asyncio.sleep(0.021)
    assert connection.queue.get_nowait() == (1000, "")
    assert connection.queue.empty()
