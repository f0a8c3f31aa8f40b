"""`QuickGet` answers as Redis's GET does, whatever happens to its connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisDown
from redis.exceptions import ResponseError

from botctl.stores.quick_get import QuickGet


async def test_value_of_a_key_or_none(redis: Redis) -> None:
    values = {"a": b"one", "with space\r\nand line": b"two\r\n", "\u00e9": b"\xff", "empty": b""}
    for key, value in values.items():
        await redis.set(key, value)
    quick = QuickGet(redis)
    assert {key: await quick.get(key) for key in values} == values
    assert await quick.get("other") is None
    await redis.delete("a")
    assert await quick.get("a") is None


async def test_it_keeps_one_connection(redis: Redis) -> None:
    quick = QuickGet(redis)
    await quick.get("a")
    before = await redis.info("stats")
    for _ in range(5):
        await quick.get("a")
    after = await redis.info("stats")
    assert after["total_connections_received"] == before["total_connections_received"]
    assert after["total_commands_processed"] - before["total_commands_processed"] == 6, "with that of info itself"


async def test_answers_of_reads_at_once_are_not_mixed_up(redis: Redis) -> None:
    for number in range(40):
        await redis.set(f"key{number}", f"value{number}")
    quick = QuickGet(redis)
    answers = await asyncio.gather(*(quick.get(f"key{number}") for number in range(40)))
    assert answers == [f"value{number}".encode() for number in range(40)]


async def test_answer_of_a_cancelled_read_is_for_no_one_else(redis: Redis) -> None:
    await redis.set("a", "one")
    await redis.set("b", "two")
    quick = QuickGet(redis)
    for turns in range(8):  # wherever it is cancelled
        task = asyncio.create_task(quick.get("a"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await quick.get("b") == b"two"


async def test_connection_that_the_server_closed_is_replaced(redis: Redis) -> None:
    await redis.set("a", "one")
    quick = QuickGet(redis)
    for _ in range(2):
        assert await quick.get("a") == b"one"
        await redis.client_kill_filter(_type="normal", skipme=True)
    assert await quick.get("a") == b"one"


async def test_value_of_another_type_is_refused_as_by_redis(redis: Redis) -> None:
    await redis.rpush("list", "one")  # type: ignore[misc]
    quick = QuickGet(redis)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await quick.get("list")
    await redis.set("a", "one")
    assert await quick.get("a") == b"one"


async def test_server_that_is_away_is_an_error(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = QuickGet(redis)
    await redis.set("a", "one")
    assert await quick.get("a") == b"one"

    async def fail(*_: Any, **__: Any) -> Any:
        raise RedisDown("no")

    await redis.client_kill_filter(_type="normal", skipme=True)
    with monkeypatch.context() as away:
        away.setattr(redis.connection_pool, "ensure_connection", fail)
        with pytest.raises(RedisDown):
            await quick.get("a")
    assert await quick.get("a") == b"one"
