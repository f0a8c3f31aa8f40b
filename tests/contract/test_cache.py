"""The cache: two of them with a client each are two processes; a dict is the database."""

import asyncio
import itertools
import signal
import uuid
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botctl.stores import embedded_redis
from botctl.stores.cache import Cache
from botctl.stores.redis import connect
from tests.support.stores import server, tasks_for
from tests.support.waiting import LIMIT_S, expires, until


@pytest.fixture
def own(tmp_path):
    """A server of the test's own, to be frozen and killed."""
    with server(embedded_redis.PART, tmp_path) as running:
        yield running


class Truth(dict[str, int]):
    """The database: what a load reads, it may bring home much later (``slow``)."""

    def __init__(self):
        super().__init__()
        self.loads = 0
        self.slow = False
        self.arrive = asyncio.Event()

    async def load(self, key):
        self.loads += 1
        value, slow, arrive = self.get(key), self.slow, self.arrive
        await (arrive.wait() if slow else asyncio.sleep(0))
        return value

    def let_arrive(self):
        self.arrive.set()
        self.arrive = asyncio.Event()


def encode(value):
    return b"%d" % value


@asynccontextmanager
async def process(url, truth, bot, **options):
    """A cache as one process has it."""
    async with connect(url, timeout_s=LIMIT_S) as redis, tasks_for("cache") as (tasks, _):
        cache = Cache(redis, bot, "numbers", tasks, truth.load, encode, int, **options)
        async with cache.running():
            await until(lambda: cache.trusted)
            yield cache


@asynccontextmanager
async def processes(url, truth, count=2, **options):
    bot = uuid.uuid4().hex
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(process(url, truth, bot, **options)) for _ in range(count)]


async def change(cache, truth, key, value):
    truth[key] = value
    await cache.invalidate(key)


# --- the layers ----------------------------------------------------------------------------------------------------


async def test_loaded_value_is_shared_then_near(redis_server):
    truth = Truth()
    truth["a"] = 1
    async with processes(redis_server, truth) as (one, two):
        assert [await one.get("a"), await two.get("a"), await two.get("a")] == [1, 1, 1]
        assert truth.loads == 1
        assert (one.counts.loads, two.counts.shared, two.counts.near) == (1, 1, 1)


async def test_shared_value_from_a_clock_ahead_is_loaded_again(redis_server):
    """It would be shared for a day."""
    truth = Truth()
    truth["k"] = 1
    async with processes(redis_server, truth) as (one, two):
        assert await one.get("k") == 1
        (shared, *_) = one._keys("k")
        await one.redis.pexpire(shared, 86_400_000)
        assert await two.get("k") == 1
        assert truth.loads == 2
        assert await one.redis.pttl(shared) <= one.ttl_s * 1000


async def test_missing_value_is_cached(redis_server):
    truth = Truth()
    async with processes(redis_server, truth) as (one, two):
        assert [await one.get("a"), await two.get("a"), await one.get("a")] == [None, None, None]
        assert truth.loads == 1


async def test_concurrent_reads_cause_one_load(redis_server):
    truth = Truth()
    truth["a"] = 1
    async with processes(redis_server, truth, 1) as (cache,):
        assert await asyncio.gather(*(cache.get("a") for _ in range(100))) == [1] * 100
        assert truth.loads == 1


async def test_cancelled_fetch_is_taken_over(redis_server):
    truth = Truth()
    truth["a"], truth.slow = 1, True
    async with processes(redis_server, truth, 1) as (cache,):
        tasks = [asyncio.create_task(cache.get("a")) for _ in range(3)]
        await until(lambda: truth.loads == 1)
        tasks[0].cancel()
        await until(lambda: truth.loads == 2)
        truth.let_arrive()
        assert await asyncio.gather(*tasks[1:]) == [1, 1]


async def test_loader_error_reaches_all_waiters_and_is_not_cached(redis_server):
    truth = Truth()
    failing = True

    async def load(key):
        if failing:
            raise LookupError(key)
        return await truth.load(key)

    async with processes(redis_server, truth, 1) as (cache,):
        cache.load = load
        found = await asyncio.gather(*(cache.get("a") for _ in range(3)), return_exceptions=True)
        assert all(isinstance(error, LookupError) for error in found)
        failing, truth["a"] = False, 7
        assert await cache.get("a") == 7


async def test_expired_value_is_returned_when_the_loader_fails(redis_server):
    truth = Truth()
    truth["a"] = 1

    async def fail(key):
        raise LookupError(key)

    async with processes(redis_server, truth, 1, ttl_s=0.001) as (cache,):
        assert await cache.get("a") == 1
        loads = truth.loads
        while truth.loads == loads:
            await cache.get("a")
        cache.load = fail
        assert await cache.get("a") == 1
        await cache.invalidate("a")
        with pytest.raises(LookupError):
            await cache.get("a")


async def test_bytes_of_another_version_are_loaded_again(redis_server):
    truth = Truth()
    truth["a"] = 1
    async with processes(redis_server, truth, 1) as (cache,):
        await cache.redis.set(f"botctl:{{{cache.bot}}}:cache:numbers:a", b"\nnot a number")
        assert await cache.get("a") == 1


# --- invalidation --------------------------------------------------------------------------------------------------


async def test_change_is_visible_locally_first_then_everywhere(redis_server):
    truth = Truth()
    truth["a"] = 1
    async with processes(redis_server, truth, 3) as caches:
        for cache in caches:
            assert await cache.get("a") == 1
        await change(caches[0], truth, "a", 2)
        assert await caches[0].get("a") == 2
        await until(lambda: all(cache.counts.invalidations for cache in caches))
        assert [await cache.get("a") for cache in caches] == [2, 2, 2]


async def test_slow_reader_does_not_cache_an_old_value(redis_server):
    """It reads before the change and returns after it. Only its own caller may get the old value."""
    truth = Truth()
    truth["a"], truth.slow = 1, True
    async with processes(redis_server, truth) as (one, two):
        reader = asyncio.create_task(one.get("a"))
        await until(lambda: truth.loads == 1)
        await change(two, truth, "a", 2)
        await until(lambda: one.counts.invalidations == 1)
        truth.slow = False
        assert await one.get("a") == 2  # it does not wait for the slow one
        truth.let_arrive()
        assert await reader == 1
        assert one.counts.rejected == 1
        assert [await one.get("a"), await two.get("a")] == [2, 2]


_STEPS = st.one_of(
    st.tuples(st.just("get"), st.integers(0, 1), st.sampled_from("ab")),
    st.tuples(st.just("get"), st.integers(0, 1), st.sampled_from("ab")),
    st.tuples(st.just("set"), st.integers(0, 1), st.sampled_from("ab")),
    st.tuples(st.just("slow get"), st.integers(0, 1), st.sampled_from("ab")),
    st.tuples(st.just("arrive"), st.just(0), st.just("a")),
    st.tuples(st.just("hear"), st.just(0), st.just("a")),
)


@settings(max_examples=40)
@given(st.lists(_STEPS, max_size=30))
def test_reader_never_sees_older_than_invalidated_value(redis_server, steps):
    """After any steps: a process sees its own acknowledged changes, and those of others that it has heard of.

    Values only grow, so "not older" is "not less". A slow reader may bring what held when it began, and no less.
    """
    asyncio.run(_walk(redis_server, steps))


async def _walk(url, steps):
    truth, known, pending, changes = Truth(), [{}, {}], [], 0
    async with processes(url, truth, timeout_s=LIMIT_S) as caches:

        def all_received():
            return all(cache.counts.invalidations == changes for cache in caches)

        for what, n, key in steps:
            if what == "set":
                changes += 1
                await change(caches[n], truth, key, changes)
                known[n][key] = changes
            elif what == "hear":
                await until(all_received)
                known = [dict(truth), dict(truth)]
            elif what == "slow get":
                pending.append(await _begin(caches[n], truth, key, known[n].get(key, 0)))
            elif what == "get":
                truth.slow = False
                found = asyncio.create_task(caches[n].get(key))
                await _arrive(truth, [*pending, (found, known[n].get(key, 0))])
                pending = []
        await _arrive(truth, pending)
        await until(all_received)
        for cache in caches:
            assert {key: await cache.get(key) for key in "ab"} == {key: truth.get(key) for key in "ab"}


async def _begin(cache, truth, key, at_least):
    """Begin to get ``key``, so that it is loaded now and comes home later."""
    truth.slow = True
    joins, loads = key in cache._pending, truth.loads
    task = asyncio.create_task(cache.get(key))
    await until(lambda: joins or task.done() or truth.loads > loads)
    return task, at_least


async def _arrive(truth, pending):
    truth.slow = False
    while not all(task.done() for task, _ in pending):
        truth.let_arrive()
        await asyncio.sleep(0)
    for task, at_least in pending:
        assert (task.result() or 0) >= at_least


# --- faults --------------------------------------------------------------------------------------------------------


async def test_after_an_outage_earlier_shared_values_are_void(own):
    """The killed server keeps its data, so the old value is there again. No process may use it.

    The process that changed the value during the outage may have ended.
    """
    truth = Truth()
    truth["a"] = 1
    async with processes(own.url, truth) as (one, two):
        assert [await one.get("a"), await two.get("a")] == [1, 1]
        own.kill()
        await until(lambda: not one.trusted and not two.trusted)
        truth["a"] = 2
        assert [await one.get("a"), await two.get("a")] == [2, 2]
        assert two.tasks.detail.startswith("the cache of numbers is not used")
        own.start()
        assert await two.redis.get(f"botctl:{{{two.bot}}}:cache:numbers:a") == b"\n1"
        await until(lambda: one.trusted and two.trusted)
        assert [await one.get("a"), await two.get("a")] == [2, 2]
        assert two.tasks.detail == ""
        await change(two, truth, "a", 3)
        await until(lambda: one.counts.invalidations == 1)
        assert await one.get("a") == 3


async def test_failed_invalidation_is_sent_when_redis_is_back(own):
    """One process loses its way to Redis for a moment, and the other one does not notice anything."""
    truth = Truth()
    truth["a"] = 1
    async with processes(own.url, truth) as (one, two):
        assert [await one.get("a"), await two.get("a")] == [1, 1]
        tell = one._send_invalidation

        async def fail(key):
            raise ConnectionError(key)

        one._send_invalidation = fail
        await change(one, truth, "a", 2)
        one._send_invalidation = tell
        assert await one.get("a") == 2
        await until(lambda: two.counts.invalidations == 1)
        assert await two.get("a") == 2


async def test_failed_invalidation_before_start_is_sent_at_start(redis_server, monkeypatch):
    truth = Truth()
    truth["a"] = 1
    async with processes(redis_server, truth, 1) as (other,), connect(redis_server, timeout_s=LIMIT_S) as redis:
        assert await other.get("a") == 1
        async with tasks_for("cache") as (tasks, _):
            cache = Cache(redis, other.bot, "numbers", tasks, truth.load, encode, int)
            with monkeypatch.context() as patch:
                patch.setattr(cache, "_invalidate", _refuse)
                await change(cache, truth, "a", 2)
            assert await other.get("a") == 1
            async with cache.running():
                await until(lambda: other.counts.invalidations == 1)
                assert await other.get("a") == 2


async def _refuse(**_):
    raise ConnectionError


async def test_frozen_redis_costs_one_timeout(own):
    truth = Truth()
    truth["a"] = 1
    async with processes(own.url, truth, 1, timeout_s=expires(0.05)) as (cache,):
        own.process.send_signal(signal.SIGSTOP)
        try:
            began = asyncio.get_running_loop().time()
            for _ in range(2000):
                assert await cache.get("a") == 1
            assert asyncio.get_running_loop().time() - began < 50, "a timeout each would be 100 s"
            assert not cache.trusted
        finally:
            own.process.send_signal(signal.SIGCONT)
        await until(lambda: cache.trusted)


@pytest.mark.looptime
async def test_processes_reconnect_at_different_times():
    """Their pauses grow to two seconds, and are shortened by chance."""
    loop = asyncio.get_running_loop()

    class Away:
        def __init__(self):
            self.tries = []

        def register_script(self, _script):
            return None

        def pubsub(self):
            self.tries.append(loop.time())
            raise ConnectionError

    servers = [Away(), Away()]
    async with AsyncExitStack() as stack:
        for server_ in servers:
            tasks, _ = await stack.enter_async_context(tasks_for("cache"))
            cache = Cache(server_, "bot", "numbers", tasks, Truth().load, encode, int)
            await stack.enter_async_context(cache.running())
        await asyncio.sleep(20)
    one, two = (server_.tries for server_ in servers)
    assert one != two
    assert len(one) > 10
    assert max(later - earlier for earlier, later in itertools.pairwise(one)) <= 2.0


async def test_silent_subscription_is_detected(own):
    """Nothing is read, nothing is written, and still: what is near is not believed for long."""
    truth = Truth()
    async with processes(own.url, truth, 1) as (cache,):
        await cache.get("a")
        own.process.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: not cache.trusted)
        finally:
            own.process.send_signal(signal.SIGCONT)
        assert cache._near == {}
