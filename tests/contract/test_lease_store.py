"""Leases on every document store: the four steps, races, a holder that was killed, a server that comes back."""

import asyncio
from datetime import datetime, timedelta

import pytest

from botctl.core.errors import Held
from botctl.stores import embedded_mongo
from botctl.stores.leases import COLLECTION, MongoLeases, acquire, read_lease, release, renew, server_time
from tests.support.stores import new_database, server


async def test_lease_is_acquired_renewed_and_released(documents):
    """All that a lease needs of a store: a whole number is compared and changed in one step."""
    leases = documents[COLLECTION]
    first = await read_lease(leases, "a")
    assert (first.fence, first.free) == (0, True)
    assert await acquire(leases, "a", first, holder="h:1:x", ttl_s=9.5)
    assert not await acquire(leases, "a", first, holder="h:2:y", ttl_s=9.5)
    held = await read_lease(leases, "a")
    assert (held.fence, held.beats, held.free, held.ttl_s, held.holder) == (1, 0, False, 9.5, "h:1:x")
    assert await renew(leases, "a", 1)
    assert not await acquire(leases, "a", held, holder="h:2:y", ttl_s=9.5), "it was renewed since it was seen"
    assert isinstance((await leases.find_one({"_id": "a"}))["renewed"], datetime)
    renewed = await read_lease(leases, "a")
    assert renewed.beats == 1
    assert await acquire(leases, "a", renewed, holder="h:2:y", ttl_s=9.5)
    assert not await renew(leases, "a", 1), "a holder that was succeeded"
    await release(leases, "a", 1)
    assert not (await read_lease(leases, "a")).free
    await release(leases, "a", 2)
    assert (await read_lease(leases, "a")).free
    assert (await read_lease(leases, "a")).fence == 2


async def test_each_of_many_holders_gets_its_own_fence(mongo_db):
    leases = MongoLeases(mongo_db[COLLECTION])
    fences, inside = [], 0

    async def work() -> None:
        nonlocal inside
        async with leases.lease("a", ttl_s=30) as lease:
            inside += 1
            assert inside == 1
            fences.append(lease.fence)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(4)))
    assert fences == sorted(set(fences))
    assert len(fences) == 4


async def test_error_names_the_holder_and_dead_holder_is_replaced(mongo_db):
    leases = MongoLeases(mongo_db[COLLECTION])
    assert await acquire(
        mongo_db[COLLECTION], "a", await read_lease(mongo_db[COLLECTION], "a"), holder="vps:7:x", ttl_s=0.5
    )
    with pytest.raises(Held, match="a is held by process 7 on vps"):
        async with leases.lease("a", wait_s=0):
            pass
    async with leases.lease("a", ttl_s=5, wait_s=10) as lease:
        assert lease.fence == 2


async def test_lease_survives_a_server_restart(tmp_path):
    with server(embedded_mongo.PART, tmp_path) as own:
        async with new_database(own.url) as database:
            leases = MongoLeases(database[COLLECTION])
            async with leases.lease("a", ttl_s=30) as lease:
                own.kill()
                own.start()
                beats = (await read_lease(database[COLLECTION], "a")).beats
                assert await renew(database[COLLECTION], "a", lease.fence)
                assert (await read_lease(database[COLLECTION], "a")).beats == beats + 1
                assert lease.held
            async with leases.lease("a", ttl_s=30, wait_s=0) as next_one:
                assert next_one.fence == lease.fence + 1


async def test_silence_of_holder_is_measured_by_the_server_clock(documents, monkeypatch):
    collection = documents[COLLECTION]
    leases = MongoLeases(collection)
    assert await leases.holder("a") is None
    assert await collection.find_one({"_id": "a"}) is None, "who only looks writes nothing"
    assert await acquire(collection, "a", await read_lease(collection, "a"), holder="vps:7:x", ttl_s=9)
    holder = await leases.holder("a")
    assert (holder.process, holder.ttl_s, holder.overdue) == ("vps:7", 9, False)
    assert 0 <= holder.silent_s < 3
    later = (await server_time(collection)) + timedelta(seconds=20)

    async def in_a_while(_: object) -> datetime:
        return later

    monkeypatch.setattr("botctl.stores.leases.server_time", in_a_while)
    holder = await leases.holder("a")
    assert 20 <= holder.silent_s < 23
    assert holder.expired
    await release(collection, "a", 1)
    assert await leases.holder("a") is None
