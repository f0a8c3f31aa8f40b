"""Interactions that were taken, known after a restart and to other processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from botctl.bot.interactions.claims import RedisClaims
from botctl.core.contracts.discord_access import TOKEN_LIFE_S
from botctl.stores import embedded_redis
from botctl.stores import redis as redis_clients
from tests.support.clock import Standstill
from tests.support.stores import Server, server, tasks_for
from tests.support.waiting import LIMIT_S, expires, until


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Server]:
    with server(embedded_redis.PART, tmp_path) as running:
        yield running


@asynccontextmanager
async def process(client: Redis, *, deadline_s: float = LIMIT_S) -> AsyncIterator[RedisClaims]:
    async with (
        tasks_for("interactions") as (tasks, _),
        RedisClaims(client, "bot", tasks, deadline_s).running() as claims,
    ):
        yield claims


async def test_interaction_is_claimed_once_by_all_processes(redis: Redis):
    async with process(redis) as one, process(redis) as two:
        both = await asyncio.gather(*(claims.claim(n) for n in range(200) for claims in (one, two)))
    assert [sum(both[n : n + 2]) for n in range(0, 400, 2)] == [1] * 200


async def test_claims_are_known_after_a_restart_and_expire(redis: Redis):
    async with process(redis) as before:
        assert await before.claim(1)
    async with process(redis) as after:
        assert not await after.claim(1)
        assert await after.claim(2)
    (key, *_) = await redis.keys("botctl:{bot}:interaction:1")
    assert TOKEN_LIFE_S - 60 < await redis.ttl(key) <= TOKEN_LIFE_S


async def test_outage_neither_slows_nor_loses_claims(own_redis: Server):
    """Decided alone during it; what was claimed then is known when Redis is back."""
    async with redis_clients.connect(own_redis.url, timeout_s=LIMIT_S) as client:
        async with process(client, deadline_s=expires(0.2)) as claims:
            assert own_redis.process is not None
            own_redis.process.send_signal(signal.SIGSTOP)
            try:
                assert await claims.claim(1)  # waits for its deadline once
                began_s = asyncio.get_running_loop().time()
                assert all([await claims.claim(n) for n in range(2, 2000)])
                assert asyncio.get_running_loop().time() - began_s < 200, "a deadline each would be 400 s"
                assert "may be handled twice" in claims.tasks.detail
            finally:
                own_redis.process.send_signal(signal.SIGCONT)
            await until(lambda: not claims._batcher.is_alone)
        async with process(client) as again:
            assert not any([await again.claim(n) for n in (1, 2, 1999)])


async def test_own_standstill_is_not_blamed_on_redis(redis: Redis):
    async with process(redis, deadline_s=expires(0.1)) as claims:
        await claims.claim(0)  # the script is known from here on
        standstill = Standstill()
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, loop.call_soon, standstill.stand_still, 60)  # when the batch is under way
        assert await asyncio.gather(*(claims.claim(n) for n in range(1, 20))) == [True] * 19
        assert not claims._batcher.is_alone
    async with process(redis) as again:
        assert not any([await again.claim(n) for n in range(20)])


async def test_claim_during_the_stop_is_answered(redis: Redis):
    async with process(redis) as claims:
        waiting = asyncio.create_task(claims.claim(1))
        await asyncio.sleep(0)
    assert await waiting
