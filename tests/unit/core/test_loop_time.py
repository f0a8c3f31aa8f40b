"""The delays of this process's own loop are told from those of others."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest
from pymongo.errors import NetworkTimeout, WriteError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from botctl.core.errors import Unreachable, translated, type_name
from botctl.core.loop_lag import LAG, LoopLag, own_lag_s
from botctl.core.loop_timeout import LoopTimeout
from tests.support.clock import Standstill


@pytest.mark.looptime
@pytest.mark.parametrize("limit_s", [0.05, 2.0])
async def test_silence_ends_at_the_limit(limit_s: float):
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    with pytest.raises(TimeoutError):
        async with LoopTimeout(limit_s):
            await loop.create_future()
    assert loop.time() - began_s == pytest.approx(limit_s, abs=1e-6)


async def test_answer_that_came_during_a_standstill_is_taken():
    """An ordinary timeout cancels the wait, though the answer is there."""
    loop, standstill = asyncio.get_running_loop(), Standstill()
    for timeout, taken in ((asyncio.timeout, False), (LoopTimeout, True)):
        answer = loop.create_future()

        def block(answer: asyncio.Future[str] = answer) -> None:
            standstill.stand_still(20)
            loop.call_soon(answer.set_result, "PONG")

        loop.call_soon(block)
        try:
            async with timeout(5):
                got = await answer == "PONG"
        except TimeoutError:
            got = False
        assert got is taken


async def test_loop_that_is_always_late_ends_the_wait():
    Standstill().every_look_s = 10.0
    with pytest.raises(TimeoutError):
        async with LoopTimeout(1):
            await asyncio.get_running_loop().create_future()


@pytest.mark.looptime
async def test_limit_can_be_moved_and_taken_away():
    """redis-py does both while it waits for a reply."""
    loop = asyncio.get_running_loop()

    async def wait() -> None:
        async with LoopTimeout(None) as limit:
            limit.reschedule(loop.time() + 3)
            await loop.create_future()

    with pytest.raises(TimeoutError):
        await wait()
    assert loop.time() == pytest.approx(3, abs=1e-6)
    async with LoopTimeout(1) as limit:
        limit.reschedule(None)
        await asyncio.sleep(5)


def test_lag_is_summed_and_forgotten():
    """It includes the delay of a record that is overdue now; normal jitter is not counted."""
    clock = Mock(return_value=100.0)
    lag = LoopLag(clock)
    assert lag.late_s() == 0
    lag.record(0.003, next_in_s=0.25)
    assert lag.late_s() == 0
    clock.return_value = 102.25
    assert lag.late_s() == pytest.approx(2.0)
    lag.record(2.0, next_in_s=0.25)
    lag.record(1.0, next_in_s=0.25)
    assert lag.late_s() == pytest.approx(3.0)
    lag.clear()
    clock.return_value = 200.0
    assert lag.late_s() == 0


def caused_by(cause: Exception) -> Exception:
    error = Unreachable("Redis does not answer.")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "explained"),
    [
        (TimeoutError(), True),
        (RedisTimeoutError(), True),
        (NetworkTimeout(), True),
        (caused_by(RedisTimeoutError()), True),
        (RedisConnectionError(), False),
        (WriteError("E11000"), False),
    ],
)
def test_only_timeouts_are_explained_by_own_lag(own_lag: None, error: Exception, explained: bool):
    assert (own_lag_s(error) > 0) is explained
    note = f"{type(error).__name__}, but the event loop of this process was itself 20.0 s late"
    assert type_name(error) == (note if explained else type(error).__name__)
    LAG.clear()
    assert own_lag_s(error) == 0


def test_sentence_on_a_store_names_own_lag(own_lag: None):
    with (
        pytest.raises(Unreachable, match=r"^Redis does not answer \(TimeoutError, but the event loop of this process"),
        translated(RedisTimeoutError, sentence="Redis does not answer ({error})."),
    ):
        raise RedisTimeoutError
