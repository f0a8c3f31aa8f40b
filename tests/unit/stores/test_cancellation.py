"""A cancellation ends what waits, in whatever moment it comes."""

import asyncio

import pytest
from pymongo import lock

from botctl.sandbox.testing.handlers import _is_waiting
from botctl.stores.cancellation import keep_cancellations, wait_for
from botctl.stores.mongo import connect


@pytest.mark.parametrize("result", [7, OSError("it fails")])
async def test_cancellation_that_arrives_with_the_result_is_kept(result):
    keep_cancellations()
    work = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(asyncio.wait_for(work, 60))
    await asyncio.sleep(0)
    work.set_exception(result) if isinstance(result, Exception) else work.set_result(result)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()


async def test_pymongo_uses_the_replacement():
    await connect("mongodb://127.0.0.1:1", timeout_s=1).close()
    assert lock.wait_for is asyncio.wait_for


async def test_wait_for_times_out():
    asleep = asyncio.create_task(asyncio.sleep(60))
    with pytest.raises(TimeoutError):
        await wait_for(asleep, 0.001)
    assert asleep.cancelled()


async def test_zero_timeout_returns_only_a_finished_result():
    done = asyncio.get_running_loop().create_future()
    done.set_result(7)
    assert await wait_for(done, 0) == 7
    with pytest.raises(TimeoutError):
        await wait_for(asyncio.sleep(0), 0)


async def test_pytest_plugin_sees_that_a_handler_waits():
    keep_cancellations()
    waiting = asyncio.create_task(asyncio.wait_for(fut=asyncio.get_running_loop().create_future(), timeout=60))
    await asyncio.sleep(0)
    assert _is_waiting(waiting)
    waiting.cancel()
