"""The login budget in Redis: its scripts do what `botctl.logins.budget` says, and one process has a token."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from botctl.core.clock import SystemClock
from botctl.core.contracts.logins import LoginLimit
from botctl.core.errors import Held, Unreachable, UsageError
from botctl.logins import token_claim
from botctl.logins.budget import DAY_MS, Login, Observation, budget_of, decide
from botctl.logins.requests import RequestQueue
from botctl.logins.shared import RedisLogins, SharedReply
from botctl.logins.token_claim import Claimant, TokenLease, host_address, host_claim, this_process
from tests.support.waiting import LIMIT_S, expires, until

FINGERPRINT = "0123456789abcdef"
REQUESTS = f"botctl:{{login:{FINGERPRINT}}}:requests"
SPACING_MS = 5_500


def limit(remaining: int, *, total: int = 100, at_once: int = 1) -> LoginLimit:
    return LoginLimit(total, remaining, datetime.now(UTC), at_once)


def login(number: int, *, shard: int = 0, at_ms: int = 0) -> Login:
    return Login(at_ms, shard, f"id{number}")


class Budgets:
    """The script, with an answer for each call."""

    def __init__(self, redis: Redis) -> None:
        self.shared = RedisLogins(redis, FINGERPRINT, LIMIT_S)

    async def enter(
        self,
        number: int | None,
        *,
        shard: int = 0,
        reserve: int = 0,
        spacing_ms: int = 0,
        known: Any = (),
        now_ms: int = 0,
    ) -> SharedReply:
        own = None if number is None else login(number, shard=shard)
        return await self.shared.enter(
            own, shard=shard, reserve=reserve, spacing_ms=spacing_ms, known=known, now_ms=now_ms
        )


@pytest.fixture
def budgets(redis: Redis) -> Budgets:
    return Budgets(redis)


class TestBudget:
    async def test_without_discord_there_are_1000_a_day(self, budgets: Budgets) -> None:
        reply = await budgets.enter(1)
        assert reply.decision.allowed
        assert (reply.left, reply.used, reply.total) == (999, 1, 1000)

    async def test_reserve_is_kept(self, budgets: Budgets) -> None:
        await budgets.shared.observe(limit(12), resets_in_ms=600_000)
        replies = [await budgets.enter(number, reserve=10) for number in range(3)]
        assert [reply.decision.allowed for reply in replies] == [True, True, False]
        assert replies[2].decision.short
        assert 0 < replies[2].decision.wait_ms <= 600_000
        assert (await budgets.enter(4, reserve=0)).decision.allowed, "a person takes it"

    async def test_shards_of_one_key_are_apart(self, budgets: Budgets) -> None:
        await budgets.shared.observe(limit(90, at_once=16), resets_in_ms=600_000)
        replies = [await budgets.enter(shard, shard=shard, spacing_ms=SPACING_MS) for shard in (0, 1, 16)]
        assert [reply.decision.allowed for reply in replies] == [True, True, False]
        assert 0 < replies[2].decision.wait_ms <= SPACING_MS
        assert replies[2].max_concurrency == 16

    async def test_many_processes_at_once_get_one_turn(self, budgets: Budgets) -> None:
        replies = await asyncio.gather(*(budgets.enter(number, spacing_ms=60_000) for number in range(20)))
        assert sum(reply.decision.allowed for reply in replies) == 1

    async def test_older_word_of_discord_does_not_replace_a_newer_one(self, budgets: Budgets) -> None:
        await budgets.shared.observe(limit(50), resets_in_ms=600_000)
        await budgets.shared.observe(limit(99), resets_in_ms=600_000, age_ms=60_000)
        assert (await budgets.enter(None)).left == 50

    async def test_login_of_a_file_is_counted_once(self, budgets: Budgets) -> None:
        known = [login(1, at_ms=1_000), login(2, at_ms=0)]
        for _ in range(2):
            reply = await budgets.enter(None, known=known, now_ms=DAY_MS)
        assert reply.used == 1, "the other one is a day old"

    async def test_login_that_was_not_sent_is_taken_back(self, budgets: Budgets) -> None:
        await budgets.enter(1)
        await budgets.shared.forget(login(1))
        assert (await budgets.enter(None)).used == 0

    async def test_keys_expire(self, budgets: Budgets, redis: Redis) -> None:
        await budgets.shared.observe(limit(50), resets_in_ms=600_000)
        await budgets.enter(1)
        keys = await redis.keys(f"botctl:{{login:{FINGERPRINT}}}:*")
        assert len(keys) == 2
        assert all([0 < await redis.pttl(key) <= 2 * DAY_MS for key in keys])

    async def test_key_of_logins_that_a_file_told_expires(self, budgets: Budgets, redis: Redis) -> None:
        await budgets.enter(None, known=[login(1, at_ms=DAY_MS)], now_ms=DAY_MS)
        (key,) = await redis.keys("*")
        assert 0 < await redis.pttl(key) <= 2 * DAY_MS

    @pytest.mark.parametrize("seed", range(6))
    async def test_script_is_the_arithmetic(self, budgets: Budgets, seed: int) -> None:
        """The same logins and the same word of Discord; a second's play for the clock of Redis."""
        random = Random(seed)
        now_ms = 10 * DAY_MS
        known = [
            login(number, shard=random.randrange(8), at_ms=now_ms - random.randrange(2 * DAY_MS))
            for number in range(60)
        ] + [login(100, shard=random.randrange(4), at_ms=now_ms - 3_000)]
        asked_ms, resets_in_ms = random.choice([0, 5_000_000]), random.choice([0, 3_600_000])
        remaining, at_once, reserve = random.randrange(20, 100), random.choice([1, 4]), random.choice([0, 5, 60])
        said = None
        if seed % 3:
            said = Observation(100, remaining, now_ms - asked_ms + resets_in_ms, at_once, now_ms - asked_ms)
            await budgets.shared.observe(limit(remaining, at_once=at_once), resets_in_ms=resets_in_ms, age_ms=asked_ms)
        shard = random.randrange(8)
        reply = await budgets.enter(
            None, shard=shard, reserve=reserve, spacing_ms=SPACING_MS, known=known, now_ms=now_ms
        )
        budget = budget_of(said, known, now_ms, reserve)
        decision = decide(
            said,
            known,
            shard,
            now_ms,
            reserve=reserve,
            spacing_ms=SPACING_MS,
            max_concurrency=at_once if said else 1,
        )
        assert (reply.left, reply.used, reply.total) == (budget.left, budget.used, budget.total)
        assert reply.decision.short == decision.short
        assert abs(reply.resets_in_ms - (budget.resets_ms - now_ms)) < LIMIT_S * 1000
        assert reply.decision.allowed == decision.allowed

    async def test_redis_that_is_away_is_an_outage(self) -> None:
        async with Redis(port=1, retry=Retry(NoBackoff(), 0)) as nowhere:
            with pytest.raises(Unreachable, match="logins are counted in this project's file alone"):
                await Budgets(nowhere).enter(1)


def claimant(**changes: Any) -> Claimant:
    return replace(this_process(Path("my-bot"), SystemClock()), **changes)


class TestLease:
    def lease(self, redis: Redis, **changes: Any) -> TokenLease:
        return TokenLease(redis, FINGERPRINT, claimant(**changes))

    async def test_second_process_is_refused_by_name(self, redis: Redis) -> None:
        first, second = self.lease(redis, project="first"), self.lease(redis, project="second")
        await first.take()
        with pytest.raises(Held, match=rf"process {os.getpid()} on .* \(project first, since 20"):
            await second.take()
        await second.release()
        assert await second.holder() == first.me
        await first.release()
        await second.take()

    async def test_dead_process_of_this_host_is_replaced_at_once(self, redis: Redis) -> None:
        await self.lease(redis, pid_started="another boot:1").take()
        second = self.lease(redis)
        async with asyncio.timeout(LIMIT_S):
            await second.take()
        assert await second.holder() == second.me

    async def test_silent_process_of_another_host_is_replaced_when_its_lease_expires(
        self, redis: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(token_claim, "LEASE_S", expires(0.5))
        monkeypatch.setattr(token_claim, "_POLL_S", 0.05)
        await self.lease(redis, space="elsewhere").take()
        second = self.lease(redis)
        await second.take()
        assert await second.holder() == second.me

    async def test_live_process_of_another_host_is_not_replaced(
        self, redis: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(token_claim, "RENEW_S", 0.01)
        monkeypatch.setattr(token_claim, "_POLL_S", 0.05)
        first = self.lease(redis, space="elsewhere", host="web-2")
        await first.take()
        renewing = asyncio.create_task(first.renew())
        with pytest.raises(Held, match="on web-2"):
            await self.lease(redis).take()
        renewing.cancel()

    async def test_lost_lease_ends_its_holder(self, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        """Redis was away for longer than the lease, and another process took it."""
        monkeypatch.setattr(token_claim, "RENEW_S", 0.01)
        first = self.lease(redis)
        await first.take()
        await redis.flushdb()
        await self.lease(redis, project="other").take()
        with pytest.raises(Held, match="project other"):
            async with asyncio.timeout(LIMIT_S):
                await first.renew()

    async def test_lease_is_not_the_token(self, redis: Redis) -> None:
        await self.lease(redis).take()
        (key,) = await redis.keys("*")
        assert key == f"botctl:{{login:{FINGERPRINT}}}:holder".encode()
        assert 0 < await redis.pttl(key) <= token_claim.LEASE_S * 1000


class TestHostClaim:
    @pytest.fixture(params=["kernel", "file"])
    def address(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        """Where Linux has it, and where other systems do."""
        return host_address(f"test-{tmp_path}"[-80:]) if request.param == "kernel" else str(tmp_path / "claim.sock")

    async def test_second_one_is_refused_by_name(self, address: str) -> None:
        async with host_claim(address, claimant(project="first")):
            with pytest.raises(Held, match=rf"process {os.getpid()} on .* \(project first"):
                async with host_claim(address, claimant()):
                    pass
        async with host_claim(address, claimant()):
            pass

    async def test_process_that_died_frees_it(self, address: str) -> None:
        left = socket.socket(socket.AF_UNIX)
        left.bind(address)
        left.listen()
        left.close()
        async with host_claim(address, claimant()):
            pass

    async def test_process_that_does_not_answer_has_it_all_the_same(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(token_claim, "_ANSWER_S", expires(0.05))
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(address)
            silent.listen()
            with pytest.raises(Held, match="a process of this host that does not answer"):
                async with host_claim(address, claimant()):
                    pass


async def _exists(redis: Redis, key: str) -> bool:
    return bool(await redis.exists(key))


class FakeControl:
    shard_ids = (0, 1)

    def __init__(self) -> None:
        self.asked: list[tuple[int, bool]] = []

    async def reconnect(self, shard: int, *, fresh: bool) -> None:
        self.asked.append((shard, fresh))


class DeadNetwork(FakeControl):
    """No connection closes before all of them are closing."""

    def __init__(self) -> None:
        super().__init__()
        self.all_closing = asyncio.Barrier(len(self.shard_ids))

    async def reconnect(self, shard: int, *, fresh: bool) -> None:
        await super().reconnect(shard, fresh=fresh)
        await self.all_closing.wait()


class TestRequests:
    @pytest.fixture(autouse=True)
    def _fast(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("botctl.logins.requests.POLL_S", 0.01)

    async def with_control(
        self, redis: Redis, ask: Callable[[RequestQueue], Awaitable[object]], control: FakeControl | None = None
    ) -> FakeControl:
        control, queue = control or FakeControl(), RequestQueue(redis, FINGERPRINT)
        async with AsyncExitStack() as stack:
            serving = asyncio.create_task(queue.serve(control))
            stack.callback(serving.cancel)
            await ask(queue)
        with suppress(asyncio.CancelledError):
            await serving
        return control

    async def test_one_shard_or_all_reconnect(self, redis: Redis) -> None:
        async def ask(queue: RequestQueue) -> None:
            assert await queue.ask(1, fresh=True) == (1,)
            assert await queue.ask(None, fresh=False) == (0, 1)

        control = await self.with_control(redis, ask)
        assert control.asked == [(1, True), (0, False), (1, False)]
        assert await redis.keys("*") == []

    async def test_shards_are_closed_at_the_same_time(self, redis: Redis) -> None:
        """One after the other would take longer than the asker waits: each may take seconds on a dead network."""

        async def ask(queue: RequestQueue) -> None:
            assert await queue.ask(None, fresh=False, wait_s=LIMIT_S) == (0, 1)

        await self.with_control(redis, ask, DeadNetwork())

    async def test_shard_that_does_not_exist(self, redis: Redis) -> None:
        async def ask(queue: RequestQueue) -> None:
            with pytest.raises(UsageError, match="there is no shard 7; there are 0 to 1"):
                await queue.ask(7, fresh=False)

        assert (await self.with_control(redis, ask)).asked == []

    async def test_cancelled_request_is_not_done_later(self, redis: Redis) -> None:
        given_up = asyncio.create_task(RequestQueue(redis, FINGERPRINT).ask(0, fresh=True))
        await until(lambda: _exists(redis, REQUESTS))
        given_up.cancel()
        await asyncio.wait({given_up})
        assert given_up.cancelled()

        async def ask(queue: RequestQueue) -> None:
            assert await queue.ask(1, fresh=True) == (1,)

        assert (await self.with_control(redis, ask)).asked == [(1, True)]
        assert await redis.keys("*") == []

    async def test_later_requests_do_not_prolong_one_whose_caller_is_gone(self, redis: Redis) -> None:
        """It was killed, so it has not taken its request back."""
        await redis.rpush(REQUESTS, '{"id": "gone", "shard": 0, "fresh": true}')

        async def ask(queue: RequestQueue) -> None:
            assert await queue.ask(1, fresh=True) == (1,)

        assert (await self.with_control(redis, ask)).asked == [(1, True)]

    async def test_malformed_request_is_ignored(self, redis: Redis) -> None:
        await redis.rpush(REQUESTS, "nonsense", '{"id": 1}')

        async def ask(queue: RequestQueue) -> None:
            assert await queue.ask(0, fresh=False) == (0,)

        assert (await self.with_control(redis, ask)).asked == [(0, False)]

    async def test_gate_that_waits_is_told_to_log_in_now(self, redis: Redis) -> None:
        class Gate:
            waiting: object = None
            overridden = 0

            def override(self) -> None:
                self.overridden += 1

        gate, queue = Gate(), RequestQueue(redis, FINGERPRINT)
        serving = asyncio.create_task(queue.serve_overrides(gate))  # type: ignore[arg-type]
        with pytest.raises(Unreachable, match="No process took that"):
            await queue.override(wait_s=expires(0.05))
        gate.waiting = "logins"
        await queue.override()
        serving.cancel()
        assert gate.overridden == 1

    async def test_no_answer_is_said(self, redis: Redis) -> None:
        with pytest.raises(Unreachable, match="did not answer"):
            await RequestQueue(redis, FINGERPRINT).ask(0, fresh=False, wait_s=expires(0.05))
