"""The rate limiter. It sends many checks in one EVALSHA to Redis (`core.services.batching`).

While Redis does not answer, this process decides alone (`LocalCounts`). Then each subject starts with no calls used, so
N processes admit up to N times the limit. That is better than denying every call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from botctl.core.clock import Clock, SystemClock
from botctl.core.config.settings import Settings
from botctl.core.contracts.invocation import Invocation
from botctl.core.contracts.protocols import Limiter
from botctl.core.contracts.throttle import GLOBAL_SUBJECT, Limit, Scope, Verdict, subject
from botctl.core.event_loop.timeout import LoopTimeout
from botctl.core.services.batching import Batcher
from botctl.core.services.tasks import Tasks
from botctl.core.telemetry.metrics import Metrics
from botctl.ratelimit import keys, lua_script
from botctl.ratelimit.gcra import US_PER_S, GcraRate, rate
from botctl.ratelimit.local_fallback import LocalCounts
from botctl.ratelimit.lua_script import Check, ScriptResult
from botctl.ratelimit.statistics import EVERY_S, PolicyCounter, PolicyStats

_MAX_POLICIES = 4096  # compiled policies in memory
_WRITE_LIMIT_S = 0.5

_log = logging.getLogger(__name__)
_ALLOWED = {source: Verdict(allowed=True, source=source) for source in ("none", "redis", "local")}
_SubjectOf = Callable[[Scope], str | None]  # the subject of a scope: the id of the user, guild, ...


class _CompiledLimit(NamedTuple):
    limit: Limit
    rate: GcraRate
    prefix: str  # of its keys, see `keys.state_prefix`


class _Policy(NamedTuple):
    limits: tuple[Limit, ...]
    compiled: tuple[_CompiledLimit, ...]
    counter: PolicyCounter


@dataclass(slots=True)
class LimiterCounts:
    """Counts so far. ``local`` checks were decided without Redis; ``failures`` are failed batches."""

    checks: int = 0
    denied: int = 0
    batches: int = 0
    local: int = 0
    failures: int = 0


@dataclass(eq=False)
class RedisLimiter:
    """Counts invocations in Redis, per command and subject (user, member, channel, guild, API client, or all).

    A *policy* is the limits of a command, and has the name that `invocation.policy_name` gives. ``deadline_s``: how
    long a batch may take.
    """

    redis: Redis
    bot: str
    tasks: Tasks
    deadline_s: float = 0.1
    clock: Clock = field(default_factory=SystemClock)
    counts: LimiterCounts = field(default_factory=LimiterCounts, init=False)

    def __post_init__(self) -> None:
        self._local = LocalCounts(self.clock)
        self._statistics = PolicyStats(self.redis, self.bot, self.clock)
        self._policies: dict[str, _Policy] = {}
        self._declared = asyncio.Event()
        self._writing = asyncio.Lock()  # two writes at once would count the same twice
        self._batcher = Batcher[Check, ScriptResult](
            self.tasks,
            _log,
            "rate limits are counted by this process alone: Redis failed ({error})",
            send=self._evaluate,
            answer_alone=self._local.check,
            probe=lambda: self._evaluate([]),
            on_failure=self._count_failure,
        )

    @property
    def is_local(self) -> bool:
        """Whether this process counts alone, because Redis did not answer."""
        return self._batcher.is_alone

    async def check(self, invocation: Invocation, limits: Sequence[Limit]) -> Verdict:
        """Count ``invocation`` against all of ``limits``. If one is used up, deny and count nothing. Never raises."""
        return await self._check(invocation.policy, limits, lambda scope: subject(scope, invocation))

    async def check_subjects(self, policy: str, subjects: Mapping[Scope, str], limits: Sequence[Limit]) -> Verdict:
        """As `check`, for one use of ``policy`` by ``subjects``. A limit of the scope ``GLOBAL`` needs no subject."""
        return await self._check(policy, limits, {Scope.GLOBAL: GLOBAL_SUBJECT, **subjects}.get)

    def declare(self, owner: str, policies: Mapping[str, Sequence[Limit]]) -> None:
        """Tell `botctl ratelimit` that ``owner`` (a part of botctl) has exactly ``policies``. Never waits."""
        self._statistics.declare(owner, policies)
        self._declared.set()
        self._policies.clear()  # each gets its own counter from now on

    async def _check(self, name: str, limits: Sequence[Limit], subject_of: _SubjectOf) -> Verdict:
        policy = self._policy(name, tuple(limits))
        keyed = [
            (compiled, key) for compiled in policy.compiled if (key := subject_of(compiled.limit.scope)) is not None
        ]
        if not keyed:
            return _ALLOWED["none"]
        self.counts.checks += 1
        policy.counter.checks += 1
        reply = await self._batcher.ask([(compiled.prefix + key, compiled.rate) for compiled, key in keyed])
        result, source = reply.answer, "redis" if reply.from_store else "local"
        if source == "local":
            self.counts.local += 1
        if result.denied_by < 0:
            return _ALLOWED[source]
        self.counts.denied += 1
        policy.counter.denied += 1
        return Verdict(False, result.retry_after_us / US_PER_S, keyed[result.denied_by][0].limit, source)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RedisLimiter]:
        """Use Redis while the block runs. Before and after that, this process counts alone."""
        self.tasks.spawn(self._write_statistics_often, name="statistics")
        try:
            with self._batcher.running():
                try:
                    yield self
                finally:
                    if not self.is_local:
                        await self._write_statistics()
        finally:
            await self.tasks.cancel()

    def _policy(self, name: str, limits: tuple[Limit, ...]) -> _Policy:
        """The policy ``name``, compiled once."""
        known = self._policies.get(name)
        if known is not None and known.limits == limits:
            return known
        if len(self._policies) >= _MAX_POLICIES:
            self._policies.clear()
        compiled_limits = tuple(
            _CompiledLimit(limit, rate(limit), keys.state_prefix(self.bot, name, part))
            for part, limit in keys.name_limits(limits)
        )
        compiled = self._policies[name] = _Policy(limits, compiled_limits, self._statistics.counter(name))
        return compiled

    async def _write_statistics_often(self) -> None:
        while True:
            self._declared.clear()
            if not self.is_local:
                await self._write_statistics()
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._declared.wait()

    async def _write_statistics(self) -> None:
        try:
            async with self._writing, LoopTimeout(_WRITE_LIMIT_S):
                if await self._statistics.write():
                    self._local.clear()  # a reset subject must not be denied by local counts
        except (RedisError, OSError, TimeoutError) as error:
            _log.debug("the counts of rate limits were not written: %s", type(error).__name__)

    async def _evaluate(self, checks: Sequence[Check]) -> list[ScriptResult]:
        names, plan = lua_script.build_arguments(checks)
        arguments: list[Any] = [*names, plan]
        async with LoopTimeout(self.deadline_s):
            try:
                reply = await self.redis.evalsha(lua_script.SHA, len(names), *arguments)
            except NoScriptError:
                await self.redis.script_load(lua_script.SCRIPT)
                reply = await self.redis.evalsha(lua_script.SHA, len(names), *arguments)
        self.counts.batches += 1
        return lua_script.parse_reply(reply)

    def _count_failure(self) -> None:
        self.counts.failures += 1


@asynccontextmanager
async def rate_limiter(
    redis: Redis, settings: Settings, tasks: Tasks, metrics: Metrics | None = None
) -> AsyncIterator[Limiter]:
    async with RedisLimiter(redis, settings.bot, tasks).running() as limiter:
        if metrics is not None:
            metrics.watch("botctl_limiter_total", "What the limiter did.", lambda: asdict(limiter.counts), label="what")
        yield limiter
