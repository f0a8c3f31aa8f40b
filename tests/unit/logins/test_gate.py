"""The gate that every login passes, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botctl.core.clock import unix_ms
from botctl.core.contracts.logins import SPACING_S, LoginLimit, LoginWait
from botctl.core.errors import ExitCode, Held, Unreachable
from botctl.logins.budget import Budget, Login, Observation, budget_of, decide, reserve_of
from botctl.logins.gate import RECHECK_S, BudgetGate
from botctl.logins.history import StartHistory
from botctl.logins.login_file import LoginFile
from botctl.logins.pauses import Series, StartRecord
from botctl.logins.shared import SharedReply

DAY_S = 86_400.0
START = datetime(2026, 1, 1, tzinfo=UTC)


class LoopClock:
    """The time of the running loop."""

    def now(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass
class FakeShared:
    """What `lua_script` does, in memory; tests/contract/test_shared_logins.py holds both to the same."""

    clock: Any
    down: Callable[[], bool] = lambda: False
    logins: dict[str, Login] = field(default_factory=dict)
    observation: Observation | None = None

    def now_ms(self) -> int:
        if self.down():
            raise Unreachable("Redis is down")
        return unix_ms(self.clock.now())

    async def observe(self, limit: LoginLimit, *, resets_in_ms: int, age_ms: int = 0) -> None:
        now = self.now_ms() - age_ms
        self.observation = Observation(limit.total, limit.remaining, now + resets_in_ms, limit.max_concurrency, now)

    async def enter(
        self, login: Login | None, *, shard: int, reserve: int, spacing_ms: int, known: Iterable[Login], now_ms: int
    ) -> SharedReply:
        now = self.now_ms()
        for each in known:
            self.logins.setdefault(each.id, each._replace(at_ms=now - (now_ms - each.at_ms)))
        at_once = self.observation.max_concurrency if self.observation else 1
        counted = list(self.logins.values())
        decision = decide(
            self.observation, counted, shard, now, reserve=reserve, spacing_ms=spacing_ms, max_concurrency=at_once
        )
        if login and decision.allowed:
            self.logins[login.id] = login._replace(at_ms=now)
        budget: Budget = budget_of(self.observation, list(self.logins.values()), now, reserve)
        return SharedReply(decision, budget.left, budget.used, budget.total, budget.resets_ms - now, at_once)

    async def forget(self, login: Login) -> None:
        self.now_ms()
        self.logins.pop(login.id, None)


@dataclass
class FakeDiscord:
    """Counts IDENTIFYs in windows of a day, and the distance of those of one key."""

    clock: Any
    total: int
    at_once: int
    opened_s: float | None = None
    used: int = 0
    most_used: int = 0
    last_s: dict[int, float] = field(default_factory=dict)
    too_soon: int = 0

    def limit(self) -> LoginLimit:
        self._roll()
        resets_s = DAY_S - (self.clock.monotonic() - self.opened_s) if self.opened_s is not None else 0.0
        resets_at = self.clock.now() + timedelta(seconds=resets_s)
        return LoginLimit(self.total, self.total - self.used, resets_at, self.at_once)

    def identify(self, shard: int) -> None:
        self._roll()
        now_s = self.clock.monotonic()
        if self.opened_s is None:
            self.opened_s = now_s
        self.used += 1
        self.most_used = max(self.most_used, self.used)
        key = shard % self.at_once
        self.too_soon += now_s - self.last_s.get(key, -DAY_S) < 5.0
        self.last_s[key] = now_s

    def _roll(self) -> None:
        if self.opened_s is not None and self.clock.monotonic() >= self.opened_s + DAY_S:
            self.opened_s, self.used = None, 0


def run_virtually(main: Callable[[], Any]) -> Any:
    """Run ``main()`` in a loop whose clock jumps to the next timer."""
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(main())


@pytest.mark.looptime
class TestGate:
    def gate(self, tmp_path: Path, shared: FakeShared | None = None, **more: Any) -> BudgetGate:
        clock = LoopClock()
        return BudgetGate(LoginFile(tmp_path, "f"), shared or FakeShared(clock), clock, **more)

    def limit(self, remaining: int = 900, at_once: int = 1) -> LoginLimit:
        return LoginLimit(1000, remaining, LoopClock().now() + timedelta(hours=1), at_once)

    async def test_max_concurrency_by_key(self, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        await gate.limits(self.limit(at_once=2))
        entered: list[tuple[int, float]] = []

        async def enter(shard: int) -> None:
            await gate.enter(shard, 4)
            entered.append((shard, round(LoopClock().monotonic(), 1)))

        await asyncio.gather(*map(enter, range(4)))
        assert sorted(entered) == [(0, 0.0), (1, 0.0), (2, SPACING_S), (3, SPACING_S)]

    async def test_gate_is_shared_through_redis_and_through_the_file(self, tmp_path: Path) -> None:
        for one, two in ((tmp_path / "a", tmp_path / "b"), (tmp_path / "c", tmp_path / "c")):
            down = one == two
            shared = FakeShared(LoopClock(), down=lambda down=down: down)
            gates = [self.gate(one, shared), self.gate(two, shared)]
            began_s = LoopClock().monotonic()
            await asyncio.gather(*(gate.enter(0, 1) for gate in gates))
            assert LoopClock().monotonic() - began_s == pytest.approx(SPACING_S, abs=0.1)

    async def test_login_is_counted_before_it_is_sent(self, tmp_path: Path) -> None:
        shared = FakeShared(LoopClock())
        counted: list[int] = []
        gate = self.gate(tmp_path, shared, on_login=lambda: counted.append(len(shared.logins)))
        await gate.enter(7, 8)
        (login,) = LoginFile(tmp_path, "f").read(unix_ms(LoopClock().now())).logins
        assert (login.shard, counted, set(shared.logins)) == (7, [1], {login.id})

    async def test_short_budget_waits_and_says_until_when(self, tmp_path: Path) -> None:
        told: list[LoginWait | None] = []
        gate = self.gate(tmp_path, tell=told.append)
        limit = self.limit(remaining=50)
        await gate.limits(limit)
        entering = asyncio.create_task(gate.enter(0, 1))
        await asyncio.sleep(1)
        assert gate.waiting is not None
        assert gate.waiting.until == limit.resets_at
        assert gate.waiting.reason == (
            "50 of 1,000 daily logins are left; automatic starts keep 50 in reserve, which `botctl gateway login` uses"
        )
        await entering
        assert LoopClock().now() >= limit.resets_at
        assert (gate.waiting, len(told), told[-1]) == (None, 2, None)

    async def test_connection_is_not_opened_before_the_budget_allows_a_login(self, tmp_path: Path) -> None:
        gate = self.gate(tmp_path, series=crash_series(4))
        limit = self.limit(remaining=50)
        await gate.limits(limit)
        preparing = asyncio.create_task(gate.prepare(0, 1))
        await asyncio.sleep(1)
        assert gate.waiting is not None
        await preparing
        assert (gate.waiting, gate.logins) == (None, 0)
        assert LoopClock().now() >= limit.resets_at
        await self.gate(tmp_path, override=True).prepare(0, 1)

    async def test_override_takes_the_reserve_once_for_each_shard(self, tmp_path: Path) -> None:
        gate = self.gate(tmp_path, override=True, series=crash_series(5))
        await gate.limits(self.limit(remaining=50, at_once=16))
        for shard in range(2):
            await gate.enter(shard, 2)
        assert LoopClock().monotonic() < 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await gate.enter(0, 2)

    async def test_person_ends_a_wait_and_takes_the_reserve_once(self, tmp_path: Path) -> None:
        gate = self.gate(tmp_path, series=crash_series(6))
        await gate.limits(self.limit(remaining=50))
        entering = asyncio.create_task(gate.enter(0, 1))
        await asyncio.sleep(1)
        gate.override()
        await entering
        assert LoopClock().monotonic() == pytest.approx(1, abs=0.1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(600):
                await gate.enter(0, 1)

    async def test_redis_that_comes_back_is_told(self, tmp_path: Path) -> None:
        is_down = [True]
        shared = FakeShared(LoopClock(), down=lambda: is_down[0])
        outages: list[bool] = []
        gate = self.gate(tmp_path, shared, on_outage=lambda error: outages.append(error is not None))
        await gate.enter(0, 1)
        is_down[0] = False
        await gate.enter(0, 1)
        assert len(shared.logins) == 2
        assert outages == [True, False]

    async def test_larger_count_holds(self, tmp_path: Path) -> None:
        """Redis has lost its data: what the file knows is told to it. The file was lost: Redis knows."""
        shared = FakeShared(LoopClock())
        await self.gate(tmp_path, shared).enter(0, 1)
        shared.logins.clear()
        await self.gate(tmp_path, shared).enter(0, 1)
        assert len(shared.logins) == 2
        budget = await self.gate(tmp_path / "new", shared).look()
        assert (budget.used, budget.left) == (2, 998)

    async def test_pause_comes_before_the_first_login(self, tmp_path: Path) -> None:
        told: list[LoginWait | None] = []
        gate = self.gate(tmp_path, series=crash_series(4), tell=told.append)
        await gate.enter(0, 1)
        assert LoopClock().monotonic() == pytest.approx(20, abs=0.1)
        assert told[0] is not None
        assert "the last 4 starts crashed, at a cost of 4 logins; the newest: boom" in told[0].reason

    async def test_wait_lasts_until_no_shard_waits(self, tmp_path: Path) -> None:
        told: list[LoginWait | None] = []
        gate = self.gate(tmp_path, tell=told.append)
        limit = self.limit(remaining=50, at_once=2)
        await gate.limits(limit)
        preparing, entering = asyncio.create_task(gate.prepare(0, 2)), asyncio.create_task(gate.enter(1, 2))
        await asyncio.sleep(1)
        preparing.cancel()
        await asyncio.wait({preparing})
        assert gate.waiting is not None
        assert gate.waiting.until == limit.resets_at
        assert None not in told
        await entering
        assert (gate.waiting, told.count(None), told[-1]) == (None, 1, None)

    async def test_longest_wait_is_shown(self, tmp_path: Path) -> None:
        told: list[LoginWait | None] = []
        gate = self.gate(tmp_path, tell=told.append)
        soon, late = self.limit(remaining=50), replace(self.limit(remaining=50), resets_at=START + timedelta(hours=2))
        await gate.limits(soon)
        entering = asyncio.create_task(gate.enter(0, 1))
        await asyncio.sleep(1)
        await gate.limits(late)
        await asyncio.sleep(RECHECK_S)
        assert gate.waiting is not None
        assert gate.waiting.until == late.resets_at
        assert [wait and wait.until for wait in told] == [soon.resets_at, late.resets_at]
        await entering
        assert told[2:] == [None]

    async def test_lost_token_lets_no_login_pass(self, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        gate.close(Held("another has the token"))
        with pytest.raises(Held, match="another has the token"):
            await gate.enter(0, 1)


def crash_series(count: int) -> Series:
    now_s = START.timestamp()
    start = StartRecord(at_s=now_s - 1, seen_s=now_s, logins=1, exit_code=1, reason="boom")
    return Series((start,) * count)


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("redis", ["up", "down", "flaps"])
@settings(max_examples=2, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    total=st.integers(20, 80),
    shards=st.integers(1, 3),
    at_once=st.sampled_from([1, 2, 16]),
    ordered=st.booleans(),
)
def test_day_of_crash_loops_never_spends_the_reserve_nor_breaks_the_gate(
    *,
    tmp_path_factory: pytest.TempPathFactory,
    processes: int,
    redis: str,
    seed: int,
    total: int,
    shards: int,
    at_once: int,
    ordered: bool,
) -> None:
    folder = tmp_path_factory.mktemp("day")
    check_day(folder, Random(seed), processes, redis, total=total, shards=shards, at_once=at_once, ordered=ordered)


@pytest.mark.soak
@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("redis", ["up", "down", "flaps"])
@pytest.mark.parametrize("ordered", [False, True])
def test_day_of_crash_loops_with_1000_logins(tmp_path: Path, processes: int, redis: str, ordered: bool) -> None:
    check_day(tmp_path, Random(1), processes, redis, total=1000, shards=1, at_once=1, ordered=ordered)


def check_day(
    folder: Path,
    random: Random,
    processes: int,
    redis: str,
    *,
    total: int,
    shards: int,
    at_once: int,
    ordered: bool,
) -> None:
    """``ordered``: each run ends as under a memory limit, not by a crash. Processes share a folder, as on one host."""

    async def main() -> FakeDiscord:
        clock = LoopClock()
        discord = FakeDiscord(clock, total, at_once)

        def is_down() -> bool:
            return redis == "down" or (redis == "flaps" and random.random() < 0.3)

        shared = FakeShared(clock, down=is_down)

        async def run_once(role: str) -> None:
            history = StartHistory(folder, [role], clock, boot="b")
            series = history.begin()
            gate = BudgetGate(LoginFile(folder, "f"), shared, clock, series=series, on_login=history.count_login)
            await gate.limits(discord.limit())

            async def log_in(shard: int) -> None:
                await gate.enter(shard, shards)
                await asyncio.sleep(random.random() * 0.4)  # the network
                discord.identify(shard)

            await asyncio.gather(*map(log_in, range(shards)))
            await asyncio.sleep(random.random() * 20)
            if random.random() < 0.5:
                history.end(ExitCode.INTERRUPTED if ordered else ExitCode.FAILED, f"error {random.random()}")

        async def supervise(role: str) -> None:
            while True:
                await run_once(role)
                await asyncio.sleep(1)

        loops = [asyncio.create_task(supervise(f"bot{n}")) for n in range(processes)]
        await asyncio.sleep(DAY_S)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        return discord

    discord = run_virtually(main)
    assert discord.most_used <= total - reserve_of(total, shards)
    assert discord.too_soon == 0
    assert discord.used > 0
