"""The limiter on a real Redis: the script agrees with `gcra`, and no fault of Redis reaches a caller."""

import asyncio
import signal
import uuid
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botctl.core.contracts.invocation import Actor, Invocation, Kind
from botctl.core.contracts.throttle import Scope, address_subject, parse
from botctl.ratelimit import lua_script
from botctl.ratelimit.gcra import GcraRate, decide
from botctl.ratelimit.limiter import RedisLimiter
from botctl.ratelimit.local_fallback import LocalCounts
from botctl.ratelimit.lua_script import ScriptResult
from botctl.stores import embedded_redis
from botctl.stores.redis import connect
from tests.support.clock import ManualClock
from tests.support.stores import server, tasks_for
from tests.support.waiting import LIMIT_S, expires, until


@pytest.fixture
def own_redis(tmp_path):
    """A server for this test only, to be frozen and killed."""
    with server(embedded_redis.PART, tmp_path) as running:
        yield running


@contextmanager
def frozen(running):
    """The server accepts connections and sends nothing, as a swapping host does."""
    running.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        running.process.send_signal(signal.SIGCONT)


def invocation(user="9", guild="7", name="roll"):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Invocation("1", Kind.SLASH, name, Actor(user, user), at, 0.0, guild=guild, channel="8")


@asynccontextmanager
async def running_limiter(url, bot=None, *, deadline_s=LIMIT_S):
    """A limiter with a long deadline, so that a busy machine does not look like a slow Redis."""
    async with connect(url, timeout_s=LIMIT_S) as redis, tasks_for("limiter") as (tasks, _):
        limiter = RedisLimiter(redis, bot or uuid.uuid4().hex, tasks, deadline_s=deadline_s)
        async with limiter.running():
            yield limiter


# --- the script ----------------------------------------------------------------------------------------------------

_RATES = st.builds(
    lambda interval_us, burst: GcraRate(interval_us, interval_us * burst),
    st.integers(1, 400) | st.integers(10**9, 3 * 10**13 // 4),
    st.integers(1, 4),
)


def model(tats, now_us, checks):
    """The replies that the script should give, and the states it should leave: each check sees the calls before it."""
    replies = []
    for check in checks:
        decisions = [decide(tats.get(key, 0), now_us, rate) for key, rate in check]
        longest = max((d.retry_after_us for d in decisions), default=0)
        for key, rate in check:
            if key in tats:  # not believed if it is too far ahead
                tats[key] = min(tats[key], now_us + rate.capacity_us)
        if longest:
            replies.append(ScriptResult([d.retry_after_us for d in decisions].index(longest), longest))
        else:
            replies.append(ScriptResult(-1, 0))
            tats |= {key: d.tat_us for (key, _), d in zip(check, decisions, strict=True)}
    return replies


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.lists(st.tuples(st.sampled_from("abcd"), _RATES), max_size=4, unique_by=lambda line: line[0])),
        min_size=1,
        max_size=6,
    )
)
def test_script_agrees_with_python(redis_url, batches):
    """Same answers and states, to the microsecond, over random batches, by the server's clock."""

    async def compare():
        prefix = f"{{{uuid.uuid4().hex}}}:"
        probe = lua_script.SCRIPT.replace("return reply", "reply[#reply + 1] = now return reply")
        async with connect(redis_url, timeout_s=LIMIT_S) as redis:
            tats = {}
            for batch in batches:
                checks = [[(prefix + key, rate) for key, rate in check] for check in batch]
                keys, plan = lua_script.build_arguments(checks)
                *reply, now_us = await redis.eval(probe, len(keys), *keys, plan)
                assert lua_script.parse_reply(reply) == model(tats, now_us, checks)
                for key, tat_us in tats.items():
                    left = await redis.get(key)
                    assert left is None or int(left) == tat_us
                    assert left is not None or tat_us < now_us + 1_000_000  # it may expire, once it is full again

    asyncio.run(compare())


async def test_key_expires_when_allowance_is_full(redis_url):
    async with running_limiter(redis_url, "ttl") as limiter:
        await limiter.check(invocation(), parse("5/10s per user, 50/1h per guild"))
        found = limiter.redis.scan_iter("botctl:{ttl}:rl:roll*")
        keys = {key.decode(): await limiter.redis.pttl(key) async for key in found}
    assert set(keys) == {"botctl:{ttl}:rl:roll:user:9", "botctl:{ttl}:rl:roll:guild:7"}
    assert 0 < keys["botctl:{ttl}:rl:roll:user:9"] <= 2000
    assert 70_000 < keys["botctl:{ttl}:rl:roll:guild:7"] <= 72_000


async def test_key_of_other_type_is_overwritten(redis_url):
    async with running_limiter(redis_url, "kind") as limiter:
        await limiter.redis.lpush("botctl:{kind}:rl:roll:user:9", "x")
        assert (await limiter.check(invocation(), parse("1/1h per user"))).source == "redis"
        assert not (await limiter.check(invocation(), parse("1/1h per user"))).allowed


# --- the limiter ---------------------------------------------------------------------------------------------------


async def test_call_after_burst_is_denied_with_retry_time(redis_url):
    limits = parse("3/1h per user")
    async with running_limiter(redis_url) as limiter:
        verdicts = [await limiter.check(invocation(), limits) for _ in range(4)]
        assert [verdict.allowed for verdict in verdicts] == [True, True, True, False]
        assert verdicts[3].limit == limits[0]
        assert 1100 < verdicts[3].retry_after_s <= 1200
        assert {verdict.source for verdict in verdicts} == {"redis"}
        assert (await limiter.check(invocation(user="other"), limits)).allowed
        assert (await limiter.check(invocation(name="poll"), limits)).allowed


async def test_denied_call_is_counted_by_no_limit(redis_url):
    """A call that the guild's limit denies does not use up the user's limit."""
    limits = parse("2/1h per user, 1/1h per guild")
    async with running_limiter(redis_url) as limiter:
        assert (await limiter.check(invocation("ann"), limits)).allowed
        for _ in range(5):
            assert (await limiter.check(invocation("bob"), limits)).limit == limits[1]
        verdicts = [await limiter.check(invocation("bob", guild=f"{n}"), limits) for n in range(3)]
        assert [verdict.allowed for verdict in verdicts] == [True, True, False]


async def test_two_limits_of_one_scope_count_separately(redis_url):
    limits = parse("2/1s per user, 3/1h per user")
    async with running_limiter(redis_url, "apart") as limiter:
        assert (await limiter.check(invocation(), limits)).allowed
        assert await limiter.redis.exists("botctl:{apart}:rl:roll:user:9", "botctl:{apart}:rl:roll:user-2:9") == 2


async def test_changed_limit_acts_at_once_on_existing_counts(redis_url):
    async with running_limiter(redis_url) as limiter:
        assert (await limiter.check(invocation(), parse("1/1h per user"))).allowed
        assert not (await limiter.check(invocation(), parse("1/1h per user"))).allowed
        assert (await limiter.check(invocation(), parse("2/1h burst 4 per user"))).allowed


async def test_api_callers_are_counted_by_address_and_key(redis_url):
    """A limit whose subject is not known is not counted."""
    limits = parse("3/1h per address, 2/1h per key, 100/1h global", scopes=frozenset(Scope))
    async with running_limiter(redis_url, "api") as limiter:

        async def call(address, key=None):
            subjects = {Scope.ADDRESS: address_subject(address)} | ({Scope.KEY: key} if key else {})
            return await limiter.check_subjects("realtime.connect", subjects, limits)

        assert [(await call("192.0.2.1")).allowed for _ in range(4)] == [True, True, True, False]
        assert [(await call(f"2001:db8::{n}", "k1")).allowed for n in range(3)] == [True, True, False]
        keys = {key.decode() async for key in limiter.redis.scan_iter("botctl:{api}:rl:realtime*")}
        prefix = "botctl:{api}:rl:realtime.connect"
        assert keys == {
            f"{prefix}:address:192.0.2.1", f"{prefix}:address:2001:db8::/64", f"{prefix}:key:k1", f"{prefix}:global:all"
        }  # fmt: skip


async def test_check_without_limits_sends_nothing(redis_url):
    async with running_limiter(redis_url) as limiter:
        assert await limiter.check(invocation(), ()) == await limiter.check(invocation(), parse(""))
        assert limiter.counts.batches == 0


@pytest.mark.parametrize("processes", [1, 3])
async def test_concurrent_calls_never_exceed_the_burst(redis_url, processes):
    """1,000 calls at the same moment travel in few batches, and exactly the burst is allowed."""
    bot = uuid.uuid4().hex
    limits = parse("100/1h per guild")
    async with (
        running_limiter(redis_url, bot) as a,
        running_limiter(redis_url, bot) as b,
        running_limiter(redis_url, bot) as c,
    ):
        limiters = [a, b, c][:processes]
        calls = [limiters[n % processes].check(invocation(f"{n}"), limits) for n in range(1000)]
        verdicts = await asyncio.gather(*calls)
        assert sum(verdict.allowed for verdict in verdicts) == 100
        assert {verdict.source for verdict in verdicts} == {"redis"}
        assert sum(limiter.counts.batches for limiter in limiters) <= 1000 // 64 + 2 * processes


async def test_flushed_script_is_loaded_again(redis_url):
    async with running_limiter(redis_url) as limiter:
        await limiter.check(invocation(), parse("5/10s per user"))
        await limiter.redis.script_flush()
        assert (await limiter.check(invocation(), parse("5/10s per user"))).source == "redis"
        assert limiter.counts.failures == 0


# --- faults --------------------------------------------------------------------------------------------------------


async def test_frozen_redis_costs_only_one_deadline(own_redis):
    """Pending checks are decided locally after the deadline, later ones at once, until Redis answers again."""
    limits = parse("3/1h per user")
    async with running_limiter(own_redis.url) as limiter:
        await limiter.check(invocation("warm"), limits)
        loop = asyncio.get_running_loop()
        with frozen(own_redis):
            limiter.deadline_s = expires(0.05)
            started_s = loop.time()
            verdicts = await asyncio.gather(*(limiter.check(invocation(), limits) for _ in range(2000)))
            assert loop.time() - started_s < 50, "a deadline each would be 100 s"
            assert sum(verdict.allowed for verdict in verdicts) == 3
            assert {verdict.source for verdict in verdicts} == {"local"}
            assert limiter.is_local
            started_s = loop.time()
            for n in range(2000):
                assert (await limiter.check(invocation(f"u{n}"), limits)).allowed
            assert loop.time() - started_s < 50, "a deadline each would be 100 s"
            limiter.deadline_s = LIMIT_S
        await until(lambda: not limiter.is_local)
        assert (await limiter.check(invocation(), limits)).source == "redis"


async def test_killed_redis_raises_nothing_and_is_used_again(own_redis):
    limits = parse("3/1h per user")
    async with running_limiter(own_redis.url) as limiter:
        assert (await limiter.check(invocation(), limits)).source == "redis"
        own_redis.kill()
        limiter.deadline_s = expires(0.1)
        verdicts = [await limiter.check(invocation(), limits) for _ in range(5)]
        assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
        assert {verdict.source for verdict in verdicts} == {"local"}
        assert limiter.tasks.detail.startswith("rate limits are counted by this process alone")
        limiter.deadline_s = LIMIT_S
        own_redis.start()
        await until(lambda: not limiter.is_local)
        assert (await limiter.check(invocation(), limits)).source == "redis"
        assert limiter.tasks.detail == ""


async def test_check_during_stop_is_answered(own_redis):
    """Checks that are queued at the stop, or come later, are decided locally."""
    limits = parse("3/1h per user")
    with frozen(own_redis):
        async with running_limiter(own_redis.url, deadline_s=expires(0.3)) as limiter:
            early = [asyncio.create_task(limiter.check(invocation(), limits)) for _ in range(200)]
            await until(lambda: limiter.counts.checks == 200)
        assert {verdict.source for verdict in await asyncio.gather(*early)} == {"local"}
        assert (await limiter.check(invocation(), limits)).source == "local"


async def test_limiter_counts_locally_after_its_stop(redis_url):
    async with connect(redis_url, timeout_s=LIMIT_S) as redis, tasks_for("limiter") as (tasks, _):
        limiter = RedisLimiter(redis, uuid.uuid4().hex, tasks, deadline_s=LIMIT_S)
        async with limiter.running():
            assert (await limiter.check(invocation(), parse("2/1m per user"))).source == "redis"
        assert (tasks.alive, limiter.is_local) == ([], True)
        assert (await limiter.check(invocation(), parse("2/1m per user"))).source == "local"


async def test_statistics_are_not_written_twice_at_stop(redis_url, monkeypatch):
    inside, most, release = 0, 0, asyncio.Event()

    async def write():
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            await release.wait()
        finally:
            inside -= 1

    async with running_limiter(redis_url) as limiter:
        monkeypatch.setattr(limiter._statistics, "write", write)
        limiter.declare("test", {})
        await until(lambda: inside == 1)
        asyncio.get_running_loop().call_soon(release.set)  # when it has begun to stop
    assert most == 1


async def test_cancelled_caller_does_not_affect_others(redis_url):
    limits = parse("3/1h per user")
    async with running_limiter(redis_url) as limiter:
        impatient = asyncio.create_task(limiter.check(invocation(), limits))
        patient = asyncio.create_task(limiter.check(invocation("bob"), limits))
        await until(lambda: limiter.counts.checks == 2)
        impatient.cancel()
        assert (await patient).source == "redis"


# --- local counts ---------------------------------------------------------------------------------------------------


def test_local_counts_are_bounded_and_drop_the_oldest():
    local = LocalCounts(ManualClock(), max_subjects=2)
    rate = GcraRate(10**6, 10**6)
    assert [local.check([(key, rate)]).denied_by for key in "abcb"] == [-1, -1, -1, 0]
    assert len(local) == 2
    assert local.check([("a", rate)]).denied_by == -1


def test_local_counts_follow_the_clock():
    clock = ManualClock()
    local = LocalCounts(clock)
    check = [("a", GcraRate(2 * 10**6, 2 * 10**6)), ("b", GcraRate(1, 10))]
    assert local.check(check) == ScriptResult(-1, 0)
    clock.advance(0.5)
    assert local.check(check) == ScriptResult(0, 1_500_000)
    clock.advance(1.5)
    assert local.check(check) == ScriptResult(-1, 0)
