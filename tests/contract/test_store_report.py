"""`botctl stores` says that a store is up if it takes a write, and asks for no rights that botctl does not need."""

import os

import pytest
from redis.exceptions import ReadOnlyError

from botctl.cli.stores.command import _describe_store
from botctl.core.config.settings import MongoSettings, RedisSettings, Settings
from botctl.core.processes.runtime import Runtime
from botctl.monitor.reader import read_reports
from botctl.monitor.snapshot import set_key
from botctl.stores import embedded_redis
from botctl.stores import report as module
from botctl.stores.redis import connect, prove_write
from botctl.stores.redis_ping import RedisPing
from botctl.stores.report import StoreReport, StoreState, report
from tests.support.stores import server
from tests.support.waiting import LIMIT_S

RIGHTS = {"keys": ["botctl:*"], "channels": ["botctl:*"], "categories": ["+@all", "-@dangerous"]}


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory):
    """A server whose users and settings are changed."""
    with server(embedded_redis.PART, tmp_path_factory.mktemp("redis")) as running:
        yield running.url


@pytest.fixture
def report_of(mongo_server, tmp_path):
    """The reports of the Redis at a URL, and of the document store."""

    async def reports(redis_url):
        redis, mongo = RedisSettings(url=redis_url, timeout_s=60.0), MongoSettings(url=mongo_server, timeout_s=60)
        return await report(Settings(redis=redis, mongo=mongo), Runtime(tmp_path))

    return reports


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "read only replica"),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "OOM|maxmemory"),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0"), "replicas"),
    ],
    ids=lambda value: value[-2] if isinstance(value, tuple) else "",
)
async def test_redis_that_takes_no_write_is_down(own_redis, report_of, before, after, told):
    async with connect(own_redis, timeout_s=LIMIT_S) as client:
        await client.execute_command(*before)
        try:
            redis, _ = await report_of(own_redis)
        finally:
            await client.execute_command(*after)
    assert (redis.state, redis.version[:6]) == (StoreState.DOWN, "Valkey")
    assert redis.detail.startswith("It answers, but takes no write: ")
    assert "pipeline" not in redis.detail
    assert any(part in redis.detail for part in told.split("|"))


async def test_user_without_info_is_no_fault(own_redis, report_of):
    async with connect(own_redis, timeout_s=LIMIT_S) as client:
        await client.execute_command(
            *["ACL", "SETUSER", "ann", "on", ">secret", "~botctl:*", "&botctl:*", "+@all", "-@dangerous"]
        )
        await client.sadd(set_key("dice"), "host:1")
    url = own_redis.replace("unix://", "unix://ann:secret@")
    redis, _ = await report_of(url)
    assert (redis.state, redis.version, redis.detail) == (StoreState.UP, "Redis", "")
    async with connect(url, timeout_s=LIMIT_S) as client:
        assert (await RedisPing("dice")(client)).startswith("Redis, ")
        assert await read_reports(client, "dice") == []


async def test_proof_of_a_write_leaves_nothing(redis_server, report_of):
    async with connect(redis_server, timeout_s=LIMIT_S) as client:
        await client.flushdb()
        redis, mongo = await report_of(redis_server)
        assert (redis.state, mongo.state) == (StoreState.UP, StoreState.UP)
        assert await client.keys("*") == []


async def test_replica_refuses_the_proof(own_redis):
    async with connect(own_redis, timeout_s=LIMIT_S) as client:
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(ReadOnlyError):
                await prove_write(client, "dice")
        finally:
            await client.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("full", [True, False])
async def test_embedded_store_that_is_down_names_the_full_disk(tmp_path, monkeypatch, full):
    runtime = Runtime(tmp_path)
    runtime.publish("redis", pid=os.getpid(), address=f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr(module, "full_disk", lambda folder: f"the disk of {folder} is full" if full else "")
    redis, mongo = await report(Settings(), runtime)
    assert redis.state is StoreState.DOWN
    assert ("; the disk of" in redis.detail) is full
    assert (mongo.state, mongo.detail) == (StoreState.IDLE, "")


def test_store_that_takes_no_write_shows_why():
    text = _describe_store(StoreReport("mongo", True, "here", StoreState.DOWN, "nx 1", 4.0, detail="its disk is full"))
    assert text.plain.startswith("mongo  down  nx 1 · its disk is full · 4.0 ms")
