"""Damaged files of the embedded stores, as a power loss or a bad disk leaves them, and the real servers on them.

What can be recreated is set aside and blocks no start. What cannot ends with exit code 4 and the way back.
"""

import shutil
import signal
import sqlite3
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from pymongo import MongoClient

from botctl.core.errors import ExitCode, ServiceFailed, StoreDamaged
from botctl.core.processes.child import Child
from botctl.core.processes.runtime import Runtime
from botctl.stores import embedded_mongo, embedded_redis, redis_repair
from botctl.stores.redis import connect
from botctl.stores.sqlite_check import find_damage
from tests.support.stores import server
from tests.support.waiting import LIMIT_S, until

KEYS = 60


@pytest.fixture(scope="module")
def redis_data(tmp_path_factory):
    """The data of a stopped Redis: half of them in its base file, half in its log."""
    root = tmp_path_factory.mktemp("redis")
    with server(embedded_redis.PART, root) as running:
        import redis

        with redis.Redis(unix_socket_path=running.url.removeprefix("unix://")) as client:
            for number in range(KEYS):
                if number == KEYS // 2:
                    client.bgrewriteaof()
                    while client.info("persistence")["aof_rewrite_in_progress"]:
                        pass
                client.set(f"k{number}", "v" * 40)
    return root / ".botctl" / "valkey"


@pytest.fixture(scope="module")
def mongo_data(tmp_path_factory):
    """The data of a document store that was killed: its last writes are in the write-ahead log."""
    root = tmp_path_factory.mktemp("mongo")
    with server(embedded_mongo.PART, root) as running, MongoClient(running.url, w="majority", journal=True) as client:
        for number in range(40):
            client.bot.botctl_audit.insert_one({"_id": number, "x": "y" * 500})
    return root / ".botctl" / "mongo"


@pytest.fixture
def runtime(tmp_path):
    return Runtime(tmp_path)


async def start_redis(runtime, *missing):
    """Start the real server on the data of ``runtime``; returns the number of keys it has, none of them ``missing``."""
    address = embedded_redis.PART.new_address(runtime)
    async with (
        Child(embedded_redis.PART.launch(runtime, address)),
        connect(address, timeout_s=LIMIT_S) as client,
    ):
        assert not missing or not await client.exists(*missing)
        return await client.dbsize()


async def start_mongo(runtime):
    async with Child(embedded_mongo.PART.launch(runtime, embedded_mongo.PART.new_address(runtime))):
        pass


def damage(folder, pattern, change):
    """Replace the bytes of the one file that ``pattern`` names."""
    [path] = folder.rglob(pattern)
    path.write_bytes(change(path.read_bytes()))


def put(data, runtime):
    folder = runtime.folder / data.name
    shutil.copytree(data, folder)
    return folder


def kept(runtime):
    return sorted(path for path in runtime.folder.iterdir() if ".damaged-" in path.name)


def zeros(data, count):
    """A zeroed tail."""
    return data[:-count] + bytes(count)


SAVED = {
    "zeroed tail": lambda data: zeros(data, 300),
    "zeros behind the end": lambda data: data + bytes(4096),
    "garbage behind the end": lambda data: data + Random(0).randbytes(500),
}


@pytest.mark.parametrize("change", SAVED.values(), ids=SAVED)
async def test_redis_keeps_what_comes_before_damage(redis_data, runtime, change, caplog):
    damage(put(redis_data, runtime), "*.incr.aof", change)
    assert KEYS - 10 <= await start_redis(runtime) <= KEYS
    [folder] = kept(runtime)
    assert str(folder) in caplog.text
    assert await start_redis(runtime) >= KEYS - 10
    assert kept(runtime) == [folder]


LOST = {
    "base cut": ("*.base.rdb", lambda data: data[:-20]),
    "base zeroed": ("*.base.rdb", lambda data: zeros(data, len(data) - 50)),
    "manifest zeroed": ("*.manifest", lambda data: bytes(len(data))),
    "manifest empty": ("*.manifest", lambda _: b""),
    "unknown command": ("*.incr.aof", lambda data: data.replace(b"SET\r\n$3\r\nk50", b"SXT\r\n$3\r\nk50")),
}


@pytest.mark.parametrize(("pattern", "change"), LOST.values(), ids=LOST)
async def test_redis_starts_without_data_that_cannot_be_read(redis_data, runtime, pattern, change, caplog):
    before = damage_and_read(put(redis_data, runtime), pattern, change)
    assert await start_redis(runtime) == 0
    [folder] = kept(runtime)
    assert {path.name: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before
    assert str(folder) in caplog.text


def damage_and_read(folder, pattern, change):
    damage(folder, pattern, change)
    return {path.name: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


async def test_running_redis_survives_damage_at_its_restart(redis_data, runtime):
    folder = put(redis_data, runtime)
    address = embedded_redis.PART.new_address(runtime)
    async with Child(embedded_redis.PART.launch(runtime, address)) as child:
        first = child.pid
        damage(folder, "*.incr.aof", lambda data: zeros(data, 300))
        import asyncio

        supervisor = asyncio.create_task(child.supervise())
        import os

        os.kill(first, signal.SIGKILL)
        await until(lambda: child.pid not in (None, first) and bool(kept(runtime)), what="the repair")
        supervisor.cancel()


async def test_data_are_put_back_when_they_are_not_the_cause(redis_data, runtime, tmp_path):
    data = put(redis_data, runtime)
    address = embedded_redis.PART.new_address(runtime)
    launch = embedded_redis.PART.launch(runtime, address)
    program = tool(tmp_path, "echo no memory for that\nexit 1")
    repair = redis_repair.RedisRepair(data, program)

    with pytest.raises(ServiceFailed, match="no memory for that"):
        await Child(replace(launch, command=(str(program),), repair=repair)).start()
    assert kept(runtime) == []
    assert await start_redis(runtime) == KEYS


def test_killed_or_forbidden_redis_is_not_damaged(redis_data, runtime):
    repair = redis_repair.RedisRepair(put(redis_data, runtime), Path("/bin/false"))
    assert repair(-signal.SIGKILL, "", 0) is None
    assert redis_repair.RedisRepair(runtime.folder / "nothing", Path("/bin/false"))(1, "", 0) is None
    assert kept(runtime) == []


NO_VERDICT = {
    "killed": "kill -9 $$",
    "aborted": "kill -ABRT $$",
    "not loaded": "exit 127",
    "no memory": "echo rdbGenericLoadStringObject failed allocating 30000000 bytes; exit 1",
}


@pytest.mark.parametrize("says", NO_VERDICT.values(), ids=NO_VERDICT)
def test_check_without_memory_is_no_verdict_of_damage(redis_data, runtime, tmp_path, says):
    folder = put(redis_data, runtime)
    assert redis_repair.RedisRepair(folder, tool(tmp_path, says))(1, "no memory", 0) is None
    assert (kept(runtime), folder.is_dir()) == ([], True)


def test_repair_that_is_killed_puts_the_data_back(redis_data, runtime, tmp_path, caplog):
    """It is no verdict that nothing can be saved."""
    folder = put(redis_data, runtime)
    damaged = damage_and_read(folder, "*.incr.aof", lambda data: zeros(data, 300))
    program = tool(tmp_path, 'case "$1" in --fix) kill -9 $$;; *.incr.aof) exit 1;; esac')
    assert redis_repair.RedisRepair(folder, program)(1, "", 0) is None
    assert kept(runtime) == []
    assert {path.name: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == damaged
    assert "cannot be repaired now" in caplog.text


def tool(folder, says):
    program = folder / "valkey-server"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o700)
    return program


FIRST_LOG = {"cut": lambda data: data[:-300], "zeroed tail": lambda data: zeros(data, 300), "missing": None}


@pytest.mark.parametrize("change", FIRST_LOG.values(), ids=FIRST_LOG)
async def test_log_behind_a_damaged_one_is_not_replayed(redis_data, runtime, change):
    """Its writes go on from data that are lost."""
    folder = put(redis_data, runtime)
    first = second_log(folder)
    if change is None:
        first.unlink()
    else:
        first.write_bytes(change(first.read_bytes()))
    keys = await start_redis(runtime, "second")
    assert KEYS // 2 <= keys < KEYS
    assert len(kept(runtime)) == 1
    assert await start_redis(runtime, "second") == keys


async def test_whole_logs_are_all_replayed(redis_data, runtime):
    second_log(put(redis_data, runtime))
    assert await start_redis(runtime) == KEYS + 1
    assert kept(runtime) == []


def second_log(folder):
    """Add a log with one key, as a rewrite that fails leaves it. Returns the path of the first one."""
    [first] = folder.rglob("*.incr.aof")
    [manifest] = folder.rglob("*.manifest")
    name = first.name.replace(".2.", ".3.")
    first.with_name(name).write_bytes(
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$6\r\nsecond\r\n$1\r\n1\r\n"
    )
    manifest.write_text(manifest.read_text() + f"file {name} seq 3 type i\n")
    return first


def checkpoint(folder):
    """Move the write-ahead log into the database, as a normal end does."""
    connection = sqlite3.connect(folder / "bot.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def scramble(data, start, count, seed=0):
    return data[:start] + Random(seed).randbytes(count) + data[start + count :]


DATABASE = {
    "header": lambda data: scramble(data, 0, 100),
    "schema": lambda data: scramble(data, 100, 3000),
    "middle": lambda data: scramble(data, len(data) // 3, len(data) // 3),
    "cut": lambda data: data[: len(data) // 2],
    "zeroed tail": lambda data: zeros(data, 10_000),
    "zeros": lambda data: bytes(len(data)),
}
WAL = {
    "header": lambda data: scramble(data, 0, 32),
    "zeros": lambda data: bytes(len(data)),
    "early frame": lambda data: scramble(data, 32 + 24 + 100, 500),
    "middle": lambda data: scramble(data, len(data) // 2, 50),
}


@pytest.mark.parametrize("change", DATABASE.values(), ids=DATABASE)
async def test_damaged_database_ends_with_integrity_and_names_the_file(mongo_data, runtime, change):
    folder = put(mongo_data, runtime)
    checkpoint(folder)
    damage(folder, "bot.db", change)
    await refused(runtime, folder)


@pytest.mark.parametrize("change", WAL.values(), ids=WAL)
async def test_damaged_log_of_a_database_ends_with_integrity(mongo_data, runtime, change):
    folder = put(mongo_data, runtime)
    damage(folder, "bot.db-wal", change)
    await refused(runtime, folder)


async def test_emptied_database_with_a_log_ends_with_integrity(mongo_data, runtime):
    folder = put(mongo_data, runtime)
    damage(folder, "bot.db", lambda _: b"")
    await refused(runtime, folder)


async def refused(runtime, folder):
    """The start ends with 4, tells what to do, and leaves every file as it is."""
    before = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
    with pytest.raises(StoreDamaged, match="is damaged: ") as told:
        await start_mongo(runtime)
    assert told.value.exit_code == ExitCode.INTEGRITY
    assert str(folder / "bot.db") in str(told.value)
    assert "backup" in told.value.hint
    assert str(folder) in told.value.hint
    after = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
    assert {name: after[name] for name in before} == before


HARMLESS = {
    "untouched": lambda data: data,
    "a cut last transaction": lambda data: data[:-1000],
    "a zeroed last transaction": lambda data: zeros(data, 3000),
    "an empty log": lambda _: b"",
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_log_as_a_power_loss_leaves_it_is_no_damage(mongo_data, runtime, change):
    folder = put(mongo_data, runtime)
    damage(folder, "bot.db-wal", change)
    assert find_damage(folder / "bot.db") is None


async def test_store_starts_after_a_kill(mongo_data, runtime):
    put(mongo_data, runtime)
    await start_mongo(runtime)


def test_new_empty_database_is_no_damage(tmp_path):
    (tmp_path / "new.db").touch()
    assert find_damage(tmp_path / "new.db") is None
    assert find_damage(tmp_path / "missing.db") is None


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("pattern", ["*.incr.aof", "*.base.rdb", "*.manifest"])
async def test_redis_starts_after_damage_anywhere(redis_data, runtime, pattern, seed):
    damage(put(redis_data, runtime), pattern, lambda data: damage_somewhere(data, seed))
    assert 0 <= await start_redis(runtime) <= KEYS + 1


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("name", ["bot.db", "bot.db-wal"])
async def test_database_is_whole_or_refused_after_damage_anywhere(mongo_data, runtime, name, seed):
    folder = put(mongo_data, runtime)
    if name == "bot.db":
        checkpoint(folder)
    damage(folder, name, lambda data: damage_somewhere(data, seed))
    if (problem := find_damage(folder / "bot.db")) is not None:
        with pytest.raises(StoreDamaged) as told:
            await start_mongo(runtime)
        assert problem in str(told.value)
        return
    await start_mongo(runtime)
    connection = sqlite3.connect(folder / "bot.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def damage_somewhere(data, seed):
    """Cut, zero or scramble a part of ``data``."""
    random = Random(seed)
    start = random.randrange(len(data))
    count = random.randint(1, len(data) - start)
    match seed % 3:
        case 0:
            return data[:start]
        case 1:
            return data[:start] + bytes(count) + data[start + count :]
        case _:
            return scramble(data, start, count, seed)
