"""What every login of this process passes: the pause after crashes, the budget, and the turn of its shard.

A login is counted in Redis and in the project's file before it is sent. Each of the two decides by what it knows, and
both must allow it. While Redis is away, the file decides, which all processes of the project share; what it counted
then is told to Redis when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from botctl.core.clock import Clock, from_unix_ms, unix_ms
from botctl.core.contracts.logins import SPACING_S, LoginLimit, LoginWait
from botctl.core.errors import STORE_FAULTS, BotctlError
from botctl.core.ids import event_id
from botctl.logins.budget import DEFAULT_TOTAL, Budget, Login, LoginDecision, Observation, budget_of, decide, reserve_of
from botctl.logins.login_file import LoginFile, TokenLogins
from botctl.logins.pauses import Series, pause_s
from botctl.logins.shared import SharedLogins, SharedReply

RECHECK_S: Final = 300.0
"""How often a login that waits for the budget asks again: another process may have heard of more."""
NOTICE_S: Final = 10.0
"""Longer waits are told to people."""
_log = logging.getLogger(__name__)


class BudgetGate:
    """The `LoginGate` of a process.

    ``series``: the starts before this one, which decide its pause. ``override``: a person wants this start now; each
    shard's first login may spend the reserve, and there is no pause. ``tell``: called with the longest wait of all
    shards when it changes, and with None when no shard waits any more. ``on_login``: called when a login was counted.
    ``on_outage``: called with the error when Redis fails, and with None when it answers.
    """

    def __init__(
        self,
        file: LoginFile,
        shared: SharedLogins,
        clock: Clock,
        *,
        series: Series | None = None,
        override: bool = False,
        tell: Callable[[LoginWait | None], None] = lambda _: None,
        on_login: Callable[[], None] = lambda: None,
        on_outage: Callable[[BotctlError | None], None] = lambda _: None,
        spacing_s: float = SPACING_S,
    ) -> None:
        self._file = file
        self._shared = shared
        self._clock = clock
        self._series = None if override else series
        self._override = override
        self._tell = tell
        self._on_login = on_login
        self._on_outage = on_outage
        self._spacing_ms = round(spacing_s * 1000)
        self._max_concurrency = 1
        self._entered: set[int] = set()
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._queued: Counter[int] = Counter()
        self._waits: dict[int, LoginWait] = {}  # by shard
        self._told: LoginWait | None = None
        self._resume_at: datetime | None = None  # when the pause before this start is over; None: not known yet
        self._redis_knows = False  # all logins of the file
        self._lost: BotctlError | None = None
        self._overridden = asyncio.Event()  # replaced when it is set: it ends the waits of that moment
        self.budget: Budget | None = None  # as of the last login or look
        self.logins = 0  # of this process

    @property
    def waiting(self) -> LoginWait | None:
        if self._waits:
            return self._longest_wait()
        longest = max(self._queued.values(), default=0)
        wait_s = (longest - 1) * self._spacing_ms / 1000
        if wait_s < NOTICE_S:
            return None
        reason = f"{longest} shards log in one after the other, as Discord requires"
        return LoginWait(self._clock.now() + timedelta(seconds=wait_s), reason)

    @property
    def max_concurrency(self) -> int:
        return self._max_concurrency

    def override(self) -> None:
        """A person wants the logins that wait now: end the pause, and let each shard take one of the reserve."""
        self._override, self._series = True, None
        self._entered.clear()
        ended, self._overridden = self._overridden, asyncio.Event()
        ended.set()

    def close(self, error: BotctlError) -> None:
        """Let no more logins pass: each raises ``error``."""
        self._lost = error

    async def limits(self, limit: LoginLimit) -> None:
        """See `LoginGate`."""
        now_ms = unix_ms(self._clock.now())
        self._max_concurrency = max(1, limit.max_concurrency)
        resets_ms = max(now_ms, unix_ms(limit.resets_at))
        with self._file.changing(now_ms) as known:
            known.observation = Observation(limit.total, limit.remaining, resets_ms, self._max_concurrency, now_ms)
        try:
            await self._shared.observe(limit, resets_in_ms=resets_ms - now_ms)
        except STORE_FAULTS as error:
            self._redis_failed(error)
        await self.look()

    async def look(self, shards: int = 1) -> Budget:
        """The budget now, of the count that has less left."""
        now_ms = unix_ms(self._clock.now())
        known = self._file.read(now_ms)
        reserve = reserve_of(_total(known), shards)
        self.budget = budget_of(known.observation, known.logins, now_ms, reserve)
        reply = await self._ask(None, 0, reserve, known, now_ms)
        if reply is not None and reply.left < self.budget.left:
            self.budget = reply.budget(now_ms, reserve)
        return self.budget

    async def prepare(self, shard: int, shards: int) -> None:
        """See `LoginGate`."""
        try:
            await self._pause(shard, shards)
            while not self._may_take_reserve(shard) and not (budget := await self.look(shards)).spendable:
                self._raise_if_lost()
                wait_ms = budget.resets_ms - unix_ms(self._clock.now())
                await self._wait_for(shard, LoginDecision(max(1, wait_ms), short=True))
        finally:
            self._end_wait(shard)

    async def enter(self, shard: int, shards: int) -> None:
        """See `LoginGate`."""
        key = shard % self._max_concurrency
        self._queued[key] += 1
        try:
            async with self._turns[key]:
                await self._pause(shard, shards)
                while not (decision := await self._try(shard, shards)).allowed:
                    await self._wait_for(shard, decision)
        finally:
            self._queued[key] -= 1
            self._end_wait(shard)
        self._entered.add(shard)
        self.logins += 1
        self._on_login()

    async def _pause(self, shard: int, shards: int) -> None:
        """Wait until the pause that the series of starts before this one asks for is over."""
        if self._series is None or not self._series.starts:
            return
        if self._resume_at is None:
            self._resume_at = await self._pause_end(self._series, shards)
        wait_s = (self._resume_at - self._clock.now()).total_seconds()
        if wait_s > 0:
            self._begin_wait(shard, LoginWait(self._resume_at, describe_series(self._series)))
            await self._sleep(wait_s)
            self._end_wait(shard)

    async def _pause_end(self, series: Series, shards: int) -> datetime:
        now = self._clock.now()
        budget = await self.look(shards)
        left_s = (from_unix_ms(budget.resets_ms) - now).total_seconds()
        length_s = pause_s(series, affordable=budget.spendable / max(1, shards), left_s=left_s)
        passed_s = max(0.0, now.timestamp() - series.starts[0].seen_s)
        return now + timedelta(seconds=length_s - passed_s)

    async def _try(self, shard: int, shards: int) -> LoginDecision:
        """Count a login of ``shard``, if both counts allow it now."""
        self._raise_if_lost()
        now_ms = unix_ms(self._clock.now())
        known = self._file.read(now_ms)
        reserve = 0 if self._may_take_reserve(shard) else reserve_of(_total(known), shards)
        decision = self._decide(known, shard, now_ms, reserve)
        if not decision.allowed:
            return decision
        login = Login(now_ms, shard, event_id())
        reply = await self._ask(login, shard, reserve, known, now_ms)
        if reply is not None and not reply.decision.allowed:
            self.budget = reply.budget(now_ms, reserve)
            return reply.decision
        return await self._write(login, reserve, counted=reply is not None)

    def _may_take_reserve(self, shard: int) -> bool:
        return self._override and shard not in self._entered

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise self._lost

    async def _write(self, login: Login, reserve: int, *, counted: bool) -> LoginDecision:
        """Count ``login`` in the file as well, unless another process of the project came first."""
        now_ms = unix_ms(self._clock.now())
        login = login._replace(at_ms=now_ms)
        with self._file.changing(now_ms) as known:
            decision = self._decide(known, login.shard, now_ms, reserve)
            if decision.allowed:
                known.logins.append(login)
                self._remember(known, now_ms, reserve)
        if not decision.allowed and counted:
            try:
                await self._shared.forget(login)
            except STORE_FAULTS as error:  # it stays counted: one less to spend
                self._redis_failed(error)
        return decision

    async def _ask(
        self, login: Login | None, shard: int, reserve: int, known: TokenLogins, now_ms: int
    ) -> SharedReply | None:
        """What Redis says; None if it does not answer."""
        told = () if self._redis_knows else tuple(known.logins)
        try:
            reply = await self._shared.enter(
                login, shard=shard, reserve=reserve, spacing_ms=self._spacing_ms, known=told, now_ms=now_ms
            )
        except STORE_FAULTS as error:
            self._redis_failed(error)
            return None
        self._redis_knows = True
        self._on_outage(None)
        return reply

    def _redis_failed(self, error: BotctlError) -> None:
        self._redis_knows = False
        self._on_outage(error)

    def _decide(self, known: TokenLogins, shard: int, now_ms: int, reserve: int) -> LoginDecision:
        self._remember(known, now_ms, reserve)
        return decide(
            known.observation,
            known.logins,
            shard,
            now_ms,
            reserve=reserve,
            spacing_ms=self._spacing_ms,
            max_concurrency=self._max_concurrency,
        )

    def _remember(self, known: TokenLogins, now_ms: int, reserve: int) -> None:
        self.budget = budget_of(known.observation, known.logins, now_ms, reserve)

    async def _wait_for(self, shard: int, decision: LoginDecision) -> None:
        wait_s = decision.wait_ms / 1000
        if not decision.short:
            await asyncio.sleep(wait_s)
            return
        until = self._clock.now() + timedelta(seconds=wait_s)
        reason = describe_shortage(self.budget) if self.budget else "the budget is short"
        self._begin_wait(shard, LoginWait(until, reason))
        await self._sleep(min(wait_s, RECHECK_S))

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless a person ends that: `override`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._overridden.wait()

    def _begin_wait(self, shard: int, wait: LoginWait) -> None:
        self._waits[shard] = wait
        self._announce()

    def _end_wait(self, shard: int) -> None:
        self._waits.pop(shard, None)
        self._announce()

    def _longest_wait(self) -> LoginWait | None:
        return max(self._waits.values(), key=lambda wait: wait.until, default=None)

    def _announce(self) -> None:
        wait = self._longest_wait()
        if _differ(self._told, wait):
            self._told = wait
            self._tell(wait)


def _differ(old: LoginWait | None, new: LoginWait | None) -> bool:
    """Whether people must be told. The same end differs a little each time: two clocks take part in it."""
    if old is None or new is None:
        return old is not new
    return old.reason != new.reason or abs(new.until - old.until) >= timedelta(seconds=NOTICE_S)


def describe_shortage(budget: Budget) -> str:
    """Why a login waits for the budget."""
    return (
        f"{budget.left:,} of {budget.total:,} daily logins are left; automatic starts keep {budget.reserve:,} in "
        "reserve, which `botctl gateway login` uses"
    )


def describe_series(series: Series) -> str:
    """Why a start waits after those before it."""
    count = len(series.starts)
    times = f"the last {count} starts" if count > 1 else "the last start"
    cost = "1 login" if series.logins == 1 else f"{series.logins} logins"
    newest = next((start for start in series.starts if start.crashed), None)
    if newest is None:
        return f"{times} were followed by a restart soon after, at a cost of {cost}"
    return f"{times} crashed, at a cost of {cost}; the newest: {newest.why}"


def _total(known: TokenLogins) -> int:
    return known.observation.total if known.observation else DEFAULT_TOTAL
