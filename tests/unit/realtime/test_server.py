"""What the handlers of the realtime server may raise."""

from __future__ import annotations

import asyncio

import pytest

from botctl.realtime.server import _raising_exceptions
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
