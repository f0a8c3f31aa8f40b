"""What the handlers of the realtime server may raise."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from botctl.realtime.server import RealtimeServer, _raising_exceptions
from tests.support.raised import NO_EXCEPTIONS


@pytest.mark.parametrize("error", [*NO_EXCEPTIONS, asyncio.CancelledError()], ids=repr)
async def test_handler_raises_what_websockets_handles(error: BaseException) -> None:
    """Websockets handles an Exception, and answers the client."""

    async def handle() -> None:
        raise error

    with pytest.raises((RuntimeError, ValueError)) as caught:
        await _raising_exceptions(handle)()
    assert caught.value.__cause__ is error


async def test_cancelled_handler_is_cancelled() -> None:
    task = asyncio.create_task(_raising_exceptions(asyncio.Event().wait)())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


@pytest.mark.parametrize(
    ("clients", "subscriptions", "said"),
    [(1, 2, "1 connection, 2 subscriptions"), (0, 1, "0 connections, 1 subscription")],
)
async def test_state_counts_in_singular_and_plural(clients: int, subscriptions: int, said: str) -> None:
    connections, hub = SimpleNamespace(clients=range(clients)), SimpleNamespace(subscriptions=subscriptions)
    server = RealtimeServer("ws://x", cast(Any, connections), cast(Any, hub), cast(Any, None))
    assert await server.ping() == f"ws://x, {said}"
