"""What `botctl doctor` sees of real stores; it leaves nothing, and needs no rights that botctl does not need."""

import uuid

import pytest
from pymongo.errors import OperationFailure

from botctl.core.config.settings import MongoSettings, RedisSettings, Settings
from botctl.core.processes.runtime import Runtime
from botctl.doctor.finding import Mark
from botctl.doctor.store_probe import examine_mongo, examine_redis
from botctl.doctor.stores import assess_mongo, assess_redis
from botctl.stores import embedded_redis, mongo
from botctl.stores.redis import connect
from tests.support.stores import server
from tests.support.waiting import LIMIT_S, expires

MOST_S = expires(60.0)  # the setting allows no more
INDEXES = {"botctl_audit": [["at"], ["x.actor", "at"]]}


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory):
    """A server whose users and settings are changed."""
    with server(embedded_redis.PART, tmp_path_factory.mktemp("redis")) as running:
        yield running.url


@pytest.fixture
def look(tmp_path):
    """What is seen of the Redis at a URL."""

    async def look(url, *, limit_s=MOST_S):
        settings = Settings(redis=RedisSettings(url=url, timeout_s=limit_s))
        return await examine_redis(settings, Runtime(tmp_path, read_only=True))

    return look


async def test_redis_is_seen_and_nothing_is_left(look, own_redis):
    seen = await look(own_redis)
    assert (seen.product, seen.role, seen.error, seen.write_error) == ("Valkey", "master", "", "")
    assert seen.version
    assert seen.run_id
    assert seen.persists is True
    assert {finding.mark for finding in assess_redis(seen)} == {Mark.OK}
    async with connect(own_redis, timeout_s=LIMIT_S) as client:
        assert await client.dbsize() == 0


async def test_what_is_switched_off_is_seen(look, own_redis):
    async with connect(own_redis, timeout_s=LIMIT_S) as client:
        before = await client.config_get("appendonly", "save", "maxmemory", "maxmemory-policy", "min-replicas-to-write")
        changed = {"appendonly": "no", "save": "", "maxmemory": "500mb", "maxmemory-policy": "allkeys-lru"}
        try:
            for name, value in (changed | {"min-replicas-to-write": "1"}).items():
                await client.config_set(name, value)
            seen = await look(own_redis)
        finally:
            for name, value in before.items():
                await client.config_set(name, value)
    assert seen.persists is False
    assert (seen.policy, seen.max_bytes) == ("allkeys-lru", 500 * 1024 * 1024)
    assert "replicas" in seen.write_error
    assert [finding.mark for finding in assess_redis(seen)].count(Mark.FAULT) == 3


@pytest.mark.parametrize(
    ("setting", "said", "mend"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), "maxmemory", "raise maxmemory"),
        (("REPLICAOF", "127.0.0.1", "1"), "read only replica", "name the primary"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
async def test_refused_write_has_the_reason_of_the_server_and_its_mend(look, own_redis, setting, said, mend):
    back = {"CONFIG": ("CONFIG", "SET", "maxmemory", "0"), "REPLICAOF": ("REPLICAOF", "NO", "ONE")}
    async with connect(own_redis, timeout_s=LIMIT_S) as client:
        await client.execute_command(*setting)
        try:
            seen = await look(own_redis)
        finally:
            await client.execute_command(*back[setting[0]])
    assert said in seen.write_error
    assert "pipeline" not in seen.write_error
    (refused,) = [each for each in assess_redis(seen) if "takes no write" in each.sentence]
    assert mend in refused.mend


async def test_full_disk_of_mongodb_says_to_free_space(mongo_server, tmp_path, monkeypatch):
    async def refuse(database):
        raise OperationFailure("database or disk is full", 8)

    monkeypatch.setattr(mongo, "prove_write", refuse)
    settings = Settings(mongo=MongoSettings(url=mongo_server, timeout_s=MOST_S))
    seen = await examine_mongo(settings, Runtime(tmp_path, read_only=True), INDEXES)
    assert seen.write_error == "database or disk is full"
    assert seen.write_hint.startswith("Free space on the disk")


async def test_user_without_dangerous_commands_is_no_fault(look, own_redis):
    async with connect(own_redis, timeout_s=LIMIT_S) as client:
        await client.acl_setuser(
            "bot",
            True,
            passwords=["+pw"],
            keys=["botctl:*"],
            channels=["botctl:*"],
            categories=["+@all", "-@dangerous"],
        )
        seen = await look(own_redis.replace("unix://", "unix://bot:pw@"))
        await client.acl_deluser("bot")
    assert (seen.error, seen.persists, seen.policy) == ("", None, "")
    assert {finding.mark for finding in assess_redis(seen)} == {Mark.OK, Mark.UNKNOWN}


async def test_server_that_is_not_there_is_an_error_without_the_password(look):
    seen = await look("unix://bot:canary-secret@/nowhere/redis.sock", limit_s=expires(0.1))
    assert seen.error
    assert "canary-secret" not in str(seen)


async def test_mongodb_is_seen_and_nothing_is_left(mongo_server, tmp_path):
    name = f"botctl_probe_{uuid.uuid4().hex[:12]}"
    settings = Settings(mongo=MongoSettings(url=mongo_server, database=name, timeout_s=MOST_S))
    runtime = Runtime(tmp_path, read_only=True)
    seen = await examine_mongo(settings, runtime, INDEXES)
    assert (seen.product, seen.error, seen.write_error, seen.missing) == ("nx-27017", "", "", {})
    async with mongo.connect(mongo_server, timeout_s=LIMIT_S) as client:
        database = client[name]
        assert await database.list_collection_names() == []
        await database["botctl_audit"].insert_one({"at": 1})
        await database["botctl_audit"].create_index([("at", -1)])
        seen = await examine_mongo(settings, runtime, INDEXES)
        await client.drop_database(name)
    assert seen.missing == {"botctl_audit": [["x.actor", "at"]]}
    assert Mark.FAULT in {finding.mark for finding in assess_mongo(seen)}


async def test_embedded_store_that_does_not_run_is_idle(tmp_path):
    runtime = Runtime(tmp_path, read_only=True)
    assert (await examine_redis(Settings(), runtime)).idle
    assert (await examine_mongo(Settings(), runtime, INDEXES)).idle
    assert list(tmp_path.iterdir()) == []
