"""The pings of the stores: a write, and whether the database is still the one of the process's start."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from pymongo.errors import NotPrimaryError, OperationFailure
from redis.asyncio import Redis

from botctl.core.errors import StoreDamaged, Unreachable
from botctl.core.processes.embedded import PartSpec
from botctl.core.services.registry import Registry, RunningServices, ServiceHealth
from botctl.stores import embedded_mongo, embedded_redis, mongo
from botctl.stores import redis as redis_clients
from botctl.stores.mongo import Database
from botctl.stores.mongo_ping import COLLECTION, MongoPing
from botctl.stores.redis_ping import RedisPing, identity_key
from tests.support.stores import Server, server
from tests.support.waiting import LIMIT_S, expires, until

PING_S = 5.0
MIN_REPLICAS = ("CONFIG", "SET", "min-replicas-to-write")


@dataclass
class SteppingClock:
    """Each ping is `PING_S` after the one before."""

    at: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    elapsed_s: float = 0.0

    def now(self) -> datetime:
        return self.at + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        self.elapsed_s += PING_S
        return self.elapsed_s


def redis_ping() -> RedisPing:
    """That of a new process."""
    return RedisPing("dice", SteppingClock())


def mongo_ping() -> MongoPing:
    return MongoPing(SteppingClock())


async def settled(ping: Any, client: Any) -> Any:
    """``ping`` after its first calls: it trusts the identity."""
    for _ in range(2):
        await ping(client)
    return ping


class TestRedis:
    @pytest.mark.parametrize(
        ("before", "after", "told"),
        [
            (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "read only replica"),
            (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "maxmemory"),
            ((*MIN_REPLICAS, "1"), (*MIN_REPLICAS, "0"), "enough"),
        ],
        ids=["replica", "full", "few replicas"],
    )
    async def test_server_that_takes_no_write_fails(
        self, own_redis: Redis, before: tuple[str, ...], after: tuple[str, ...], told: str
    ) -> None:
        ping = await settled(redis_ping(), own_redis)
        await own_redis.execute_command(*before)
        try:
            with pytest.raises(Unreachable, match=f"^takes no write: .*{told}"):
                await ping(own_redis)
            with pytest.raises(Unreachable, match=r"^takes no write: "):  # a process that starts now
                await redis_ping()(own_redis)
        finally:
            await own_redis.execute_command(*after)
        assert "ms" in await ping(own_redis)

    async def test_full_server_says_what_to_do(self, own_redis: Redis) -> None:
        await own_redis.config_set("maxmemory", 1)
        try:
            with pytest.raises(Unreachable) as caught:
                await redis_ping()(own_redis)
        finally:
            await own_redis.config_set("maxmemory", 0)
        assert "raise maxmemory" in caught.value.hint

    async def test_emptied_database_is_noticed_until_a_restart(self, redis: Redis) -> None:
        one, two = await settled(redis_ping(), redis), await settled(redis_ping(), redis)
        await redis.flushdb()
        for ping in (one, two, one):
            with pytest.raises(StoreDamaged, match="the database was emptied"):
                await ping(redis)
        assert await redis.get(identity_key("dice")) is None
        await settled(redis_ping(), redis)  # a process that starts
        with pytest.raises(StoreDamaged, match="the database was emptied"):
            await one(redis)

    async def test_other_database_is_noticed_and_the_first_one_is_well_again(self, redis: Redis) -> None:
        ping = await settled(redis_ping(), redis)
        first = await redis.getset(identity_key("dice"), "another")
        with pytest.raises(StoreDamaged, match=r"another database answers at this address since \d\d:\d\d:\d\d UTC$"):
            await ping(redis)
        await redis.set(identity_key("dice"), first)
        assert "ms" in await ping(redis)

    async def test_processes_that_start_together_agree(self, redis: Redis) -> None:
        pings = [redis_ping() for _ in range(5)]
        for _ in range(3):
            await asyncio.gather(*(ping(redis) for ping in pings))

    async def test_ping_leaves_the_identity_and_a_key_that_expires(self, redis: Redis) -> None:
        await settled(redis_ping(), redis)
        kept = {key.decode(): await redis.pttl(key) for key in await redis.keys("*")}
        assert kept.keys() == {"botctl:{dice}:identity", "botctl:{dice}:write-check"}
        assert kept["botctl:{dice}:identity"] == -1
        assert 0 < kept["botctl:{dice}:write-check"] <= 60_000

    async def test_ping_is_one_round_trip(self, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        await redis.ping()
        connection = redis.connection_pool._available_connections[0]  # type: ignore[attr-defined]
        sent = mock.AsyncMock(wraps=connection.send_packed_command)
        monkeypatch.setattr(connection, "send_packed_command", sent)
        await redis_ping()(redis)
        assert sent.await_count == 1


class TestMongo:
    async def test_emptied_database_is_noticed_until_a_restart(self, mongo_db: Database) -> None:
        one, two = await settled(mongo_ping(), mongo_db), await settled(mongo_ping(), mongo_db)
        await mongo_db.client.drop_database(mongo_db.name)
        for ping in (one, two, one):
            with pytest.raises(StoreDamaged, match="the database was emptied"):
                await ping(mongo_db)
        assert await mongo_db[COLLECTION].find_one({}) is None
        await settled(mongo_ping(), mongo_db)
        with pytest.raises(StoreDamaged, match="the database was emptied"):
            await one(mongo_db)

    async def test_other_database_is_noticed_and_the_first_one_is_well_again(self, mongo_db: Database) -> None:
        ping = await settled(mongo_ping(), mongo_db)
        first = (await mongo_db[COLLECTION].find_one({}) or {})["identity"]
        await mongo_db[COLLECTION].update_one({}, {"$set": {"identity": "another"}})
        with pytest.raises(StoreDamaged, match=r"another database answers at this address since \d\d:\d\d:\d\d UTC$"):
            await ping(mongo_db)
        await mongo_db[COLLECTION].update_one({}, {"$set": {"identity": first}})
        assert "ms" in await ping(mongo_db)

    async def test_processes_that_start_together_agree_and_leave_one_document(self, mongo_db: Database) -> None:
        pings = [mongo_ping() for _ in range(5)]
        for _ in range(3):
            await asyncio.gather(*(ping(mongo_db) for ping in pings))
        assert await mongo_db[COLLECTION].count_documents({}) == 1
        assert await mongo_db.list_collection_names() == [COLLECTION]

    @pytest.mark.parametrize(
        ("error", "told", "hint"),
        [
            (OperationFailure("database or disk is full", 8), "disk is full", "Free space"),
            (OperationFailure("not authorized on dice to execute command", 13), "not authorized", "readWrite"),
            (NotPrimaryError("not primary", {"code": 10107, "errmsg": "not primary"}), "not primary", ""),
        ],
        ids=["full", "rights", "secondary"],
    )
    async def test_server_that_takes_no_write_fails(
        self, mongo_db: Database, error: Exception, told: str, hint: str
    ) -> None:
        refusing = mock.MagicMock(client=mongo_db.client)
        refusing[COLLECTION].with_options().update_one = mock.AsyncMock(side_effect=error)
        with pytest.raises(Unreachable, match=f"^takes no write: .*{told}") as caught:
            await mongo_ping()(refusing)
        assert hint in caught.value.hint


@pytest.fixture
async def own_redis(redis_of_module: Server) -> AsyncIterator[Redis]:
    """A server whose settings are changed."""
    async with redis_clients.connect(redis_of_module.url, timeout_s=LIMIT_S) as client:
        yield client


@pytest.fixture(scope="module")
def redis_of_module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with server(embedded_redis.PART, tmp_path_factory.mktemp("redis")) as running:
        yield running


@asynccontextmanager
async def redis_at(url: str) -> AsyncIterator[Any]:
    async with redis_clients.connect(url, timeout_s=LIMIT_S) as client:
        yield client


@asynccontextmanager
async def mongo_at(url: str) -> AsyncIterator[Any]:
    async with mongo.connect(url, timeout_s=LIMIT_S) as client:
        yield client["botctl_dice"]


class Store:
    """The type of the service in the test's registry."""


@dataclass
class Process:
    """What a process of botctl finds of a store."""

    running: RunningServices

    async def health(self, timeout_s: float = LIMIT_S) -> ServiceHealth:
        (found,) = await self.running.health(timeout_s)
        return found

    async def is_well(self) -> bool:
        return (await self.health()).ok


@asynccontextmanager
async def process(client: Any, ping: Any) -> AsyncIterator[Process]:
    registry = Registry()
    registry.add(lambda: client, key=Store, name="store", ping=ping)
    async with registry.open() as running:
        yield Process(running)


@pytest.mark.parametrize(
    ("part", "connect", "ping"),
    [(embedded_redis.PART, redis_at, redis_ping), (embedded_mongo.PART, mongo_at, mongo_ping)],
    ids=["redis", "mongo"],
)
async def test_embedded_store_that_is_killed_frozen_or_swapped(
    tmp_path: Path, part: PartSpec, connect: Callable[[str], Any], ping: Callable[[], Any]
) -> None:
    """A kill -9 keeps the identity, from the first ping on; another data folder has another one."""
    with server(part, tmp_path) as store:
        async with process(connect(store.url), ping()) as botctl:
            assert await botctl.is_well()
            store.kill()
            store.start()
            await until(botctl.is_well, what="the connection")
            for _ in range(2):
                assert await botctl.is_well()

            assert store.process is not None
            store.process.send_signal(signal.SIGSTOP)
            frozen = await botctl.health(expires(0.1))
            store.process.send_signal(signal.SIGCONT)
            assert (frozen.ok, frozen.detail) == (False, "no answer in 0.1 s")
            await until(botctl.is_well, what="the answer")

            replace_data(store, tmp_path / "newer", keep=tmp_path / "first")
            await until(partial(tells, botctl, "the database was emptied"), what="the empty database")
            assert "restart botctl" in (await botctl.health()).hint
            async with process(connect(store.url), ping()) as next_process:
                assert await next_process.is_well()
            assert await tells(botctl, "the database was emptied")

            replace_data(store, tmp_path / "first", keep=tmp_path / "newer")
            await until(botctl.is_well, what="the first database")


async def tells(botctl: Process, sentence: str) -> bool:
    return (await botctl.health()).detail.startswith(sentence)


def replace_data(store: Server, data: Path, *, keep: Path) -> None:
    """Kill the server, put its data into ``keep``, and start it with the ``data``, or none."""
    folder = store.launch.folder
    store.kill()
    folder.rename(keep)
    data.rename(folder) if data.exists() else folder.mkdir(mode=0o700)
    store.start()
