"""The sandbox's clock: real time plus an offset."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.errors import UsageError
from botctl.sandbox.model.clock import SandboxClock
from tests.support.clock import ManualClock
from tests.support.waiting import LIMIT_S, expires


@pytest.fixture
def clock() -> SandboxClock:
    return SandboxClock(ManualClock())


async def test_advance_moves_wall_and_monotonic_time(clock: SandboxClock) -> None:
    before, began_s = clock.now(), clock.monotonic()
    clock.advance(90)
    assert (clock.now() - before, clock.monotonic() - began_s) == (timedelta(seconds=90), 90)


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=12), st.lists(st.integers(0, 30), max_size=5))
def test_timers_run_in_order_at_their_own_time(timers: list[tuple[int, bool]], moves: list[int]) -> None:
    async def run() -> None:
        clock = SandboxClock(ManualClock())
        calls: list[tuple[float, int]] = []
        for number, (delay_s, stays) in enumerate(timers):
            timer = clock.call_later(delay_s, lambda number=number: calls.append((clock.monotonic(), number)))
            if not stays:
                timer.cancel()
        for seconds in moves:
            clock.advance(seconds)
        passed_s = sum(moves)
        due = [(at_s, number) for number, (at_s, stays) in enumerate(timers) if stays and at_s <= passed_s and moves]
        assert calls == sorted(due)
        assert clock.monotonic() == passed_s

    asyncio.run(run())


async def test_timer_started_by_a_timer_runs_in_the_same_advance(clock: SandboxClock) -> None:
    calls: list[float] = []

    def reschedule() -> None:
        calls.append(clock.monotonic())
        clock.call_later(10, reschedule)

    clock.call_later(10, reschedule)
    clock.advance(35)
    assert calls == [10, 20, 30]


async def test_timer_may_advance_the_clock(clock: SandboxClock) -> None:
    clock.call_later(10, lambda: clock.advance(100))
    clock.advance(20)
    assert clock.monotonic() == 110


async def test_timer_runs_in_real_time() -> None:
    clock, come = SandboxClock(), asyncio.Event()
    clock.call_later(60, lambda: None)
    clock.call_later(0.001, come.set)
    await asyncio.wait_for(come.wait(), LIMIT_S)


async def test_advance_wakes_sleep_and_timeout(clock: SandboxClock) -> None:
    async def waits() -> None:
        async with clock.timeout(3):
            await asyncio.Event().wait()

    asleep, waiting = asyncio.create_task(clock.sleep(600)), asyncio.create_task(waits())
    await asyncio.sleep(0)
    clock.advance(2.9)
    assert not (await asyncio.wait((asleep, waiting), timeout=expires(0)))[0]
    clock.advance(600)
    await asyncio.wait_for(asleep, LIMIT_S)
    with pytest.raises(TimeoutError):
        await waiting


async def test_block_that_ends_in_time_does_not_time_out(clock: SandboxClock) -> None:
    async with clock.timeout(3):
        clock.advance(1)
    clock.advance(60)
    await asyncio.sleep(0)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e12])
async def test_clock_moves_only_ahead(clock: SandboxClock, seconds: float) -> None:
    with pytest.raises(UsageError):
        clock.advance(seconds)
