"""The copies of gateway sessions in Redis: they are as the file, and nothing that another wrote is taken for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from botctl.bot.gateway.resume_rules import SessionOrigin
from botctl.bot.gateway.session_file import SessionFile, encode_all, parse_head, read_guilds
from botctl.bot.gateway.session_mirror import MAX_BATCH, SessionMirror
from botctl.core.errors import Unreachable
from tests.unit.bot.gateway.test_session_file import message

ORIGIN = SessionOrigin(token="t", intents=("default",), shards=1, library="l")
READY = {"session_id": "s", "resume_gateway_url": "u", "user": {"id": "10"}, "guilds": []}


def new_file(path: Path) -> SessionFile:
    return SessionFile(path, SessionFile.content(1, 1000, encode_all(ORIGIN, [("READY", READY)])))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SessionFile]:
    made = new_file(tmp_path / "shard-0")
    yield made
    made.close()


def mirror(redis: Redis, key: bytes = b"key") -> SessionMirror:
    made = SessionMirror(redis)
    made.begin("mark", key)
    return made


async def test_copy_follows_the_file(redis: Redis, file: SessionFile) -> None:
    own = mirror(redis)
    assert await mirror(redis).read(0) is None
    for number in range(3):
        file.append(message("GUILD_CREATE", {"id": str(number), "unavailable": False}))
        file.mark(number + 5)
        await own.write({0: file})
        assert await mirror(redis).read(0) == file.path.read_bytes()
    file.replace_start(
        SessionFile.content(1, 1, encode_all(ORIGIN, read_guilds(file.read(0, file.size))[0].records())), file.size
    )
    await own.write({0: file})
    assert await mirror(redis).read(0) == file.path.read_bytes()
    assert 0 < await redis.pttl("botctl:{session:mark}:file:0") <= 3_600_000
    assert 0 < await redis.pttl("botctl:{session:mark}:mark:0") <= 3_600_000
    await own.forget(0)
    assert await mirror(redis).read(0) is None
    await own.write({0: file})
    assert await mirror(redis).read(0) == file.path.read_bytes()


async def test_all_shards_are_written_in_few_round_trips(redis: Redis, tmp_path: Path) -> None:
    own, calls = mirror(redis), 0
    files = {}
    for shard in range(MAX_BATCH + 1):
        records = encode_all(ORIGIN, [("READY", READY | {"session_id": f"s{shard}"})])
        files[shard] = SessionFile(tmp_path / f"shard-{shard}", SessionFile.content(shard, 1000, records))
    pipeline = redis.pipeline

    def count(**options: Any) -> Any:
        nonlocal calls
        calls += 1
        return pipeline(**options)

    redis.pipeline = count  # type: ignore[method-assign]
    await own.write(files)
    files[3].mark(99)
    await own.write(files)
    redis.pipeline = pipeline  # type: ignore[method-assign]
    assert calls == 3
    for shard, file in files.items():
        assert await mirror(redis).read(shard) == file.path.read_bytes()
        file.close()


async def test_mark_alone_is_written_too(redis: Redis, file: SessionFile) -> None:
    own = mirror(redis)
    await own.write({0: file})
    file.mark(9)
    await own.write({0: file})
    content = await mirror(redis).read(0)
    assert content is not None
    assert parse_head(content).sequence == 9


async def test_what_has_no_seal_of_this_token_is_not_read(redis: Redis, file: SessionFile) -> None:
    """Another token's, a changed guild, a changed number."""
    await mirror(redis).write({0: file})
    assert await mirror(redis, b"other").read(0) is None
    file_key, mark_key = "botctl:{session:mark}:file:0", "botctl:{session:mark}:mark:0"
    content, mark = await redis.get(file_key), await redis.get(mark_key)
    for key, changed in ((file_key, content + b"x"), (mark_key, b"\xff" + mark[1:]), (mark_key, b"")):
        await redis.set(key, changed)
        assert await mirror(redis).read(0) is None
        await redis.mset({file_key: content, mark_key: mark})
    assert await mirror(redis).read(0) == file.path.read_bytes()


async def test_lost_write_is_made_up_for(redis: Redis, file: SessionFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage, or when Redis has lost its data, the copy is whole again."""
    own = mirror(redis)
    await own.write({0: file})

    def away(**_: object) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(redis, "pipeline", away)
    file.append(message("GUILD_CREATE", {"id": "1", "unavailable": False}))
    with pytest.raises((Unreachable, ConnectionError)):
        await own.write({0: file})
    monkeypatch.undo()
    await redis.flushdb()
    await own.write({0: file})
    assert await mirror(redis).read(0) == file.path.read_bytes()
