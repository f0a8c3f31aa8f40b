"""kill -9 of a store while many write: an independent ledger holds what was acknowledged, and all of it is there."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from random import Random

import pytest
from pymongo.errors import DuplicateKeyError, PyMongoError
from redis.exceptions import RedisError

from botctl.core.config.settings import Settings
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.events import StoreRestarted
from botctl.core.processes.runtime import Runtime
from botctl.stores.mongo import mongo_store
from botctl.stores.redis import redis_store
from tests.support.stores import tasks_for
from tests.support.waiting import until

WRITERS = 4
ROUNDS = 3


class Store:
    """A store as a bot has it, and the means to kill it."""

    def __init__(self, name, runtime, client, restarts):
        self.name, self.runtime, self.client, self.restarts = name, runtime, client, restarts

    @property
    def address(self):
        return self.runtime.parts()[self.name].address

    async def kill(self):
        """kill -9, and wait until it is back."""
        before = len(self.restarts)
        os.kill(self.runtime.live()[self.name].pid, signal.SIGKILL)
        await until(lambda: len(self.restarts) > before, what="the restart")


@pytest.fixture
def opened(tmp_path):
    """Opens a store by its factory, as the registry does."""

    @asynccontextmanager
    async def open_store(name, factory):
        runtime, bus, restarts = Runtime(tmp_path, long_lived=True), Bus(), []
        with bus.listen(restarts.append, StoreRestarted):
            async with (
                tasks_for(name) as (tasks, watcher),
                factory(Settings(), runtime, bus, tasks) as client,
            ):
                yield Store(name, runtime, client, restarts)
                assert not watcher.failures

    return open_store


async def kills_while(store, write, stop, ledger):
    """Run ``WRITERS`` tasks of ``write(number)``, kill the store ``ROUNDS`` times, then set ``stop``.

    Each kill comes after a random number of further acknowledged writes (seeded), while other writes are under way.
    """
    random = Random(27017)
    address = store.address
    tasks = [asyncio.create_task(write(n)) for n in range(WRITERS)]
    try:
        for _ in range(ROUNDS):
            seen = len(ledger)
            more = random.randint(20, 60)
            await until(lambda: len(ledger) >= seen + more, what="more writes")  # noqa: B023
            await store.kill()
        seen = len(ledger)
        await until(lambda: len(ledger) >= seen + 20, what="writes after the last restart")
    finally:
        stop.set()
        await asyncio.wait(tasks)
    assert store.address == address
    assert [event.exit_status for event in store.restarts] == [-signal.SIGKILL] * ROUNDS
    assert {event.store for event in store.restarts} == {store.name}


async def test_killed_redis_keeps_acknowledged_writes_and_repeats_none(opened):
    """A command is never sent twice, so a counter is between what was acknowledged and what was tried."""
    ledger, tried, stop = [], [0] * WRITERS, asyncio.Event()

    async def write(writer):
        while not stop.is_set():
            tried[writer] += 1
            try:
                ledger.append((writer, await store.client.incr(f"n:{writer}")))
            except RedisError:
                await asyncio.sleep(0)

    async with opened("redis", redis_store) as store:
        await kills_while(store, write, stop, ledger)
        assert len(set(ledger)) == len(ledger)
        for writer in range(WRITERS):
            count = int(await store.client.get(f"n:{writer}"))
            acknowledged = [n for who, n in ledger if who == writer]
            assert acknowledged[-1] <= count <= tried[writer]
            assert sorted(acknowledged) == acknowledged


async def test_killed_mongo_keeps_each_acknowledged_write_once(opened):
    """Writers compete for the next block number; the unique ``_id`` decides. What became of an insert that the kill
    interrupted is read back from the block itself.
    """
    ledger, stop = [], asyncio.Event()

    async def claim(number, token):
        """Whether the block ``number`` is ours; asks until the store says so."""
        blocks = store.client.blocks
        while True:
            try:
                await blocks.insert_one({"_id": f"{number:012}", "n": number, "token": token})
            except DuplicateKeyError:
                return (await reading(blocks.find_one, {"_id": f"{number:012}"}))["token"] == token
            except PyMongoError:
                await asyncio.sleep(0)
            else:
                return True

    async def reading(read, *args):
        while True:
            try:
                return await read(*args)
            except PyMongoError:
                await asyncio.sleep(0)

    async def write(writer):
        number = mine = 0
        while not stop.is_set():
            token = f"{writer}:{mine}"
            if await claim(number, token):
                ledger.append(token)
                mine += 1
            number += 1

    async with opened("mongo", mongo_store) as store:
        await kills_while(store, write, stop, ledger)
        found = await store.client.blocks.find().sort("n", 1).to_list()
        tokens = [block["token"] for block in found]
        assert [block["n"] for block in found] == list(range(len(found)))
        assert len(set(tokens)) == len(tokens)
        assert set(ledger) == set(tokens)
