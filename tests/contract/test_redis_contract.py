"""What botctl relies on of Redis. Each test is a promise of the server; botctl needs no more than these."""

import asyncio
from pathlib import Path

import pytest
from redis.exceptions import NoScriptError, ResponseError

import botctl
from botctl.stores.redis import CONNECTIONS, connect
from tests.support.clock import Standstill
from tests.support.waiting import LIMIT_S, until

COMPARE_AND_DELETE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
APPEND = """
local offset = redis.call('hincrby', KEYS[2], 'offset', 1)
redis.call('xadd', KEYS[1], 'MAXLEN', '~', ARGV[2], '0-' .. offset, 'event', ARGV[1])
return offset
"""


async def test_value_is_read_back_as_the_same_bytes(redis):
    value = bytes(range(256))
    await redis.set("k", value)
    assert await redis.get("k") == value
    assert await redis.get("none") is None


async def test_set_if_absent_has_one_winner(redis):
    """A lease: SET NX PX."""
    won = await asyncio.gather(*(redis.set("lease", n, nx=True, px=60_000) for n in range(20)))
    assert won.count(True) == 1
    assert int(await redis.get("lease")) == won.index(True)
    assert 0 < await redis.pttl("lease") <= 60_000


async def test_keys_expire_after_their_time_and_not_earlier(redis):
    await redis.set("short", 1, px=20)
    await redis.set("long", 1, px=60_000)
    await redis.set("ever", 1)
    await until(lambda: _is_gone(redis, "short"))
    assert await redis.exists("long", "ever") == 2
    assert await redis.pttl("ever") == -1
    await redis.pexpire("ever", 60_000)
    assert await redis.pttl("ever") > 0


async def _is_gone(redis, key):
    return not await redis.exists(key)


async def test_concurrent_increments_are_not_lost(redis):
    await asyncio.gather(*(redis.incr("n") for _ in range(200)))
    assert int(await redis.get("n")) == 200
    assert await redis.incrby("n", -50) == 150


async def test_burst_of_callers_waits_for_connections(redis):
    """The driver's own pool raises MaxConnectionsError for a burst."""
    assert CONNECTIONS < 1000
    await asyncio.gather(*(redis.incr("n") for _ in range(1000)))
    assert int(await redis.get("n")) == 1000


async def test_hash_fields_are_set_incremented_and_deleted(redis):
    await redis.hset("h", mapping={"a": 1, "b": "two"})
    assert await redis.hgetall("h") == {b"a": b"1", b"b": b"two"}
    assert await redis.hincrby("h", "a", 2) == 3
    assert await redis.hget("h", "none") is None
    assert await redis.hdel("h", "a", "b") == 2
    assert not await redis.exists("h")


async def test_script_is_atomic(redis):
    """It reads, decides and writes without WATCH. Only the holder of the lease deletes it."""
    script = redis.register_script(COMPARE_AND_DELETE)
    await redis.set("lease", "me")
    assert await script(keys=["lease"], args=["another process"]) == 0
    deleted = await asyncio.gather(*(script(keys=["lease"], args=["me"]) for _ in range(10)))
    assert sorted(deleted) == [0] * 9 + [1]


async def test_flushed_script_raises_no_script_error(redis):
    """After SCRIPT FLUSH or a restart: NOSCRIPT, nothing was done, and loading it again helps."""
    sha = await redis.script_load("return redis.call('incr', KEYS[1])")
    assert await redis.evalsha(sha, 1, "n") == 1
    await redis.script_flush()
    with pytest.raises(NoScriptError):
        await redis.evalsha(sha, 1, "n")
    assert await redis.script_load("return redis.call('incr', KEYS[1])") == sha
    assert await redis.evalsha(sha, 1, "n") == 2


async def test_script_can_read_the_time_and_write(redis):
    """No client's clock is compared with another's.

    The time does not go back between scripts. Within one it stands still only since Redis 7.2, so a script of botctl
    asks for it once (`test_scripts_of_botctl_ask_for_the_time_once`).
    """
    script = "local now = redis.call('time'); redis.call('set', KEYS[1], now[1] * 1000000 + now[2]); return now"
    first, second = [tuple(map(int, await redis.eval(script, 1, "t"))) for _ in range(2)]
    assert first <= second <= tuple(await redis.time())


def test_scripts_of_botctl_ask_for_the_time_once():
    """Two answers within one script may differ before Redis 7.2."""
    scripts = [
        path.read_text("utf-8").upper().count("CALL('TIME'") for path in Path(botctl.__file__).parent.rglob("*.py")
    ]
    assert max(scripts) == 1


async def test_failing_script_raises_its_reason(redis):
    with pytest.raises(ResponseError, match="refused on purpose"):
        await redis.eval("return redis.error_reply('ERR refused on purpose')", 0)


async def test_stream_accepts_increasing_ids_only(redis):
    assert await redis.xadd("s", {"event": "a"}, id="0-1") == b"0-1"
    assert await redis.xadd("s", {"event": "b"}, id="0-2") == b"0-2"
    for late in ("0-1", "0-2"):
        with pytest.raises(ResponseError, match="equal or smaller"):
            await redis.xadd("s", {"event": "c"}, id=late)
    assert await redis.xrange("s") == [(b"0-1", {b"event": b"a"}), (b"0-2", {b"event": b"b"})]


async def test_script_appends_with_contiguous_offsets(redis):
    """What the relay of events does: one script, many writers, contiguous offsets."""
    append = redis.register_script(APPEND)
    offsets = await asyncio.gather(*(append(keys=["s", "meta"], args=[n, 1000]) for n in range(100)))
    assert sorted(offsets) == list(range(1, 101))
    entries = await redis.xrange("s")
    assert [entry_id for entry_id, _ in entries] == [b"0-%d" % n for n in range(1, 101)]


async def test_reader_continues_at_its_position(redis):
    for n in range(1, 6):
        await redis.xadd("s", {"n": n}, id=f"0-{n}")
    [(_, entries)] = _streams(await redis.xread({"s": "0-2"}, count=2))
    assert [entry_id for entry_id, _ in entries] == [b"0-3", b"0-4"]
    assert not await redis.xread({"s": "0-5"})


async def test_waiting_reader_wakes_for_a_new_entry(redis):
    reading = asyncio.create_task(redis.xread({"s": "$"}, block=4000))
    await until(lambda: _a_client_waits(redis))
    await redis.xadd("s", {"n": 1}, id="0-1")
    [(name, entries)] = _streams(await reading)
    assert (name, entries) == (b"s", [(b"0-1", {b"n": b"1"})])


def _streams(reply):
    """XREAD answers with a list (RESP2) or a map (RESP3)."""
    if not isinstance(reply, dict):
        return reply
    return [(name, batches[0] if isinstance(batches[0], list) else batches) for name, batches in reply.items()]


async def _a_client_waits(redis):
    return (await redis.info("clients"))["blocked_clients"] == 1


async def test_trimmed_stream_keeps_newest_entries_and_its_last_id(redis):
    for n in range(1, 11):
        await redis.xadd("s", {"n": n}, id=f"0-{n}")
    assert await redis.xtrim("s", maxlen=3, approximate=False) == 7
    assert [entry_id for entry_id, _ in await redis.xrange("s")] == [b"0-8", b"0-9", b"0-10"]
    await redis.xtrim("s", maxlen=0, approximate=False)
    with pytest.raises(ResponseError, match="equal or smaller"):
        await redis.xadd("s", {"n": 10}, id="0-10")


async def test_subscriber_receives_in_order(redis):
    async with redis.pubsub() as subscriber:
        await subscriber.subscribe("news")
        assert (await subscriber.get_message(timeout=LIMIT_S))["type"] == "subscribe"
        for n in range(3):
            assert await redis.publish("news", n) == 1
        heard = [(await subscriber.get_message(timeout=LIMIT_S))["data"] for _ in range(3)]
    assert heard == [b"0", b"1", b"2"]


async def test_pipeline_runs_several_commands_at_once(redis):
    async with redis.pipeline(transaction=True) as pipe:
        pipe.set("a", 1).incr("a").get("a")
        assert await pipe.execute() == [True, 2, b"2"]


async def test_keys_of_one_bot_are_found_by_their_prefix(redis):
    await redis.mset({f"botctl:{{a}}:{n}": n for n in range(50)} | {"botctl:{b}:0": 0})
    found = {key async for key in redis.scan_iter(match=r"botctl:{a}:*", count=10)}
    assert len(found) == 50


async def test_two_clients_see_the_same_data(redis_url):
    """Two clients of two processes see the same data at once."""
    async with connect(redis_url, timeout_s=LIMIT_S) as one, connect(redis_url, timeout_s=LIMIT_S) as other:
        await one.set("k", 1)
        assert await other.get("k") == b"1"


async def test_reply_counts_though_the_loop_was_blocked(redis):
    """The timeout is over when the loop goes on, but it was not Redis that was late."""
    await redis.set("k", 1)
    standstill = Standstill()
    asyncio.get_running_loop().call_later(0, standstill.stand_still, 60)
    assert await asyncio.gather(*(redis.get("k") for _ in range(20))) == [b"1"] * 20
