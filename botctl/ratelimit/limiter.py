"""The limiter: many calls, few round trips, and an answer whether or not Redis gives one.

Checks of one turn of the event loop travel together, as one EVALSHA. A batch that is not answered within the deadline
is decided by this process alone (`LocalCounts`), as are all checks after it, at once, until a probe in the background
finds Redis well again: no check ever waits for a Redis that is known to be down, and no caller ever sees an exception.
While each process counts alone, each subject starts with a full allowance and N processes together let in up to N
times the limit: the choice between "nobody" and "a little too much" is made for the latter.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from botctl.core.clock import Clock, SystemClock
from botctl.core.config.settings import Settings
from botctl.core.contracts.invocation import Invocation
from botctl.core.contracts.protocols import Limiter
from botctl.core.contracts.throttle import GLOBAL_SUBJECT, Limit, Scope, Verdict, subject
from botctl.core.errors import type_name
from botctl.core.services.outage import Outage
from botctl.core.services.tasks import Backoff, Tasks
from botctl.core.telemetry.metrics import Metrics
from botctl.ratelimit import keys, lua_script
from botctl.ratelimit.gcra import US_PER_S, GcraRate, rate
from botctl.ratelimit.local_fallback import LocalCounts
from botctl.ratelimit.lua_script import ScriptResult
from botctl.ratelimit.statistics import EVERY_S, PolicyCounter, PolicyStats

MAX_BATCH = 64
"""Checks in one EVALSHA: keeps Redis from serving others for about half a millisecond at most."""
MAX_FLIGHTS = 2
"""Batches under way at once: one is answered while the next is gathered."""
_MAX_POLICIES = 4096  # compiled; names of components may hold anything
_PROBES: Final = Backoff(first_s=0.1, limit_s=2.0)
_BOOKS_S = 0.5

_log = logging.getLogger(__name__)
_ALLOWED = {source: Verdict(allowed=True, source=source) for source in ("none", "redis", "local")}
_Whose = Callable[[Scope], str | None]


class _Line(NamedTuple):
    limit: Limit
    rate: GcraRate
    prefix: str


class _Policy(NamedTuple):
    limits: tuple[Limit, ...]
    lines: tuple[_Line, ...]
    tally: PolicyCounter


class _Waiting(NamedTuple):
    check: list[tuple[str, GcraRate]]
    answer: asyncio.Future[tuple[ScriptResult, str]]


@dataclass(slots=True)
class LimiterCounts:
    """What the limiter did so far. ``local`` checks were decided without Redis; ``failures`` are batches it failed."""

    checks: int = 0
    denied: int = 0
    batches: int = 0
    local: int = 0
    failures: int = 0


@dataclass(eq=False)
class RedisLimiter:
    """Counts invocations in Redis, per command and subject, under ``botctl:{<bot>}:rl:<policy>:<scope>:<subject>``.

    The policy is the invocation's name: each command counts for itself. ``deadline_s``: how long a batch may take.
    """

    redis: Redis
    bot: str
    tasks: Tasks
    deadline_s: float = 0.1
    clock: Clock = field(default_factory=SystemClock)
    counts: LimiterCounts = field(default_factory=LimiterCounts, init=False)

    def __post_init__(self) -> None:
        self._local = LocalCounts(self.clock)
        self._books = PolicyStats(self.redis, self.bot, self.clock)
        self._policies: dict[str, _Policy] = {}
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._declared = asyncio.Event()
        self._writing = asyncio.Lock()  # two writes of the books at once would count the same twice
        self._runs = False
        self._outage = Outage(self.tasks, _log, _PROBES)

    @property
    def alone(self) -> bool:
        """Whether this process counts alone, because Redis did not answer."""
        return self._outage.active or not self._runs

    async def check(self, invocation: Invocation, limits: Sequence[Limit]) -> Verdict:
        """Count ``invocation`` against all of ``limits``, or none of them when one is used up. Never raises."""
        return await self._check(invocation.name, limits, lambda scope: subject(scope, invocation))

    async def check_subjects(self, policy: str, subjects: Mapping[Scope, str], limits: Sequence[Limit]) -> Verdict:
        """Count one use of ``policy`` by ``subjects``, in the same way; ``GLOBAL`` needs no subject. Never raises."""
        return await self._check(policy, limits, {Scope.GLOBAL: GLOBAL_SUBJECT, **subjects}.get)

    def declare(self, owner: str, policies: Mapping[str, Sequence[Limit]]) -> None:
        """Tell operators that ``owner`` (a part of botctl) has ``policies``, and no others. Never waits."""
        self._books.declare(owner, policies)
        self._declared.set()
        self._policies.clear()  # each has a tally of its own from now on

    async def _check(self, name: str, limits: Sequence[Limit], whose: _Whose) -> Verdict:
        policy = self._policy(name, tuple(limits))
        lines = [(line, who) for line in policy.lines if (who := whose(line.limit.scope)) is not None]
        if not lines:
            return _ALLOWED["none"]
        self.counts.checks += 1
        policy.tally.checks += 1
        answer, source = await self._answer([(line.prefix + who, line.rate) for line, who in lines])
        if source == "local":
            self.counts.local += 1
        if answer.refused_by < 0:
            return _ALLOWED[source]
        self.counts.denied += 1
        policy.tally.denied += 1
        return Verdict(False, answer.retry_after_us / US_PER_S, lines[answer.refused_by][0].limit, source)

    async def _answer(self, check: list[tuple[str, GcraRate]]) -> tuple[ScriptResult, str]:
        if self.alone:
            return self._local.check(check), "local"
        waiting = _Waiting(check, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wake.set()
        return await waiting.answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RedisLimiter]:
        """Ask Redis, for as long as the block lasts; outside of it, this process counts alone."""
        for n in range(MAX_FLIGHTS):
            self.tasks.spawn(self._fly, name=f"flight-{n}")
        self.tasks.spawn(self._probe, name="probe")
        self.tasks.spawn(self._keep_books, name="books")
        self._runs = True
        try:
            yield self
        finally:
            try:
                if not self.alone:
                    await self._write_books()
            finally:
                self._runs = False
                self._answer_locally(self._take(len(self._waiting)))
                await self.tasks.cancel()

    def _policy(self, name: str, limits: tuple[Limit, ...]) -> _Policy:
        known = self._policies.get(name)
        if known is not None and known.limits == limits:
            return known
        if len(self._policies) >= _MAX_POLICIES:
            self._policies.clear()
        lines = tuple(
            _Line(limit, rate(limit), keys.prefix(self.bot, name, part)) for part, limit in keys.named(limits)
        )
        compiled = self._policies[name] = _Policy(limits, lines, self._books.tally(name))
        return compiled

    async def _fly(self) -> None:
        """Send what has gathered, batch after batch."""
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            batch = self._take(MAX_BATCH)
            try:
                answers = await self._ask([waiting.check for waiting in batch])
            except Exception as error:  # noqa: BLE001  whatever Redis or the way to it does, the callers get an answer
                self._fail(error)
                self._answer_locally(batch + self._take(len(self._waiting)))
            except asyncio.CancelledError:
                self._answer_locally(batch)
                raise
            else:
                for waiting, answer in zip(batch, answers, strict=True):
                    _resolve(waiting, answer, "redis")

    def _take(self, most: int) -> list[_Waiting]:
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    async def _keep_books(self) -> None:
        while True:
            self._declared.clear()
            if not self.alone:
                await self._write_books()
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._declared.wait()

    async def _write_books(self) -> None:
        try:
            async with self._writing, asyncio.timeout(_BOOKS_S):
                if await self._books.write():
                    self._local.clear()  # whoever was reset must not be refused by what only this process remembers
        except (RedisError, OSError, TimeoutError) as error:
            _log.debug("the counts of rate limits were not written: %s", type(error).__name__)

    async def _ask(self, checks: list[list[tuple[str, GcraRate]]]) -> list[ScriptResult]:
        names, plan = lua_script.arguments(checks)
        arguments: list[Any] = [*names, plan]
        async with asyncio.timeout(self.deadline_s):
            try:
                reply = await self.redis.evalsha(lua_script.SHA, len(names), *arguments)
            except NoScriptError:
                await self.redis.script_load(lua_script.SCRIPT)
                reply = await self.redis.evalsha(lua_script.SHA, len(names), *arguments)
        self.counts.batches += 1
        return lua_script.answers(reply)

    def _answer_locally(self, batch: list[_Waiting]) -> None:
        for waiting in batch:
            _resolve(waiting, self._local.check(waiting.check), "local")

    def _fail(self, error: Exception) -> None:
        self.counts.failures += 1
        if self._runs:
            self._outage.begin(f"rate limits are counted by this process alone: Redis failed ({type_name(error)})")

    async def _probe(self) -> None:
        """While this process counts alone, try an empty batch now and then."""
        while True:
            await self._outage.wait_begun()
            await self._outage.pause()
            try:
                await self._ask([])
            except Exception as error:  # noqa: BLE001  still down; any reason will do
                self._fail(error)
            else:
                self._outage.end()


@asynccontextmanager
async def rate_limiter(
    redis: Redis, settings: Settings, tasks: Tasks, metrics: Metrics | None = None
) -> AsyncIterator[Limiter]:
    """Factory of the service."""
    async with RedisLimiter(redis, settings.bot, tasks).running() as limiter:
        if metrics is not None:
            metrics.watch("botctl_limiter_total", "What the limiter did.", lambda: asdict(limiter.counts), label="what")
        yield limiter


def _resolve(waiting: _Waiting, answer: ScriptResult, source: str) -> None:
    if not waiting.answer.done():  # the caller may have been cancelled
        waiting.answer.set_result((answer, source))
