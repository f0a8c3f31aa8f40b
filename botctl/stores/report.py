"""The report of `botctl stores`: the address and the state of each store. Starts none of them."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import SecretStr
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from botctl.core.config.settings import Settings
from botctl.core.errors import ConfigError
from botctl.core.escape import safe
from botctl.core.files.disk import full_disk
from botctl.core.processes.runtime import FILE, Runtime
from botctl.core.redact import redact
from botctl.stores import embedded_mongo, embedded_redis, mongo, redis
from botctl.stores.address import display_url

_FAULTS: Final = (ConfigError, RedisError, PyMongoError, OSError)


class StoreState(enum.StrEnum):
    """``IDLE``: embedded, and not running. The next command that needs it starts it."""

    UP = "up"
    DOWN = "down"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class StoreReport:
    """One store. The size and the process ids are those of an embedded store, else None."""

    name: str
    embedded: bool
    address: str  # without secrets
    state: StoreState
    version: str = ""
    latency_ms: float | None = None  # of a new connection and one command
    size_bytes: int | None = None
    pid: int | None = None  # of the store
    owner_pid: int | None = None  # of the process that restarts it when it dies
    detail: str = ""  # what is wrong


class _Answer(NamedTuple):
    """What a store answered. ``detail``: what is wrong; empty if nothing is."""

    state: StoreState
    version: str = ""
    latency_ms: float | None = None
    detail: str = ""


async def report(settings: Settings, runtime: Runtime) -> tuple[StoreReport, StoreReport]:
    """Query Redis and MongoDB concurrently, each within its ``timeout_s``. A store that takes no write is down."""

    async def ask_redis(url: str) -> _Answer:
        async with redis.connect(url, timeout_s=settings.redis.timeout_s) as client:
            return await _ask(lambda: redis.server_version(client), lambda: redis.prove_write(client, settings.bot))

    async def ask_mongo(url: str) -> _Answer:
        async with mongo.connect(url, timeout_s=settings.mongo.timeout_s) as client:
            database = client[settings.database]
            return await _ask(lambda: mongo.server_version(client), lambda: mongo.prove_write(database))

    return await asyncio.gather(
        _report_store(embedded_redis.NAME, settings.redis.url, embedded_redis.folder(runtime), runtime, ask_redis),
        _report_store(embedded_mongo.NAME, settings.mongo.url, embedded_mongo.folder(runtime), runtime, ask_mongo),
    )


async def _report_store(
    name: str, url: SecretStr | None, folder: Path, runtime: Runtime, ask: Callable[[str], Awaitable[_Answer]]
) -> StoreReport:
    if url is not None:
        secret = url.get_secret_value()
        state, version, latency_ms, detail = await _probe(secret, ask)
        return StoreReport(name, False, display_url(secret), state, version, latency_ms, detail=detail)
    size_bytes = await asyncio.to_thread(_size_bytes, folder)
    part = runtime.parts().get(name)
    if part is None or not part.owned:
        owner = runtime.holder(name)
        state = StoreState.IDLE if owner is None else StoreState.DOWN
        detail = "" if owner is None else f"process {owner} runs it, but {FILE} does not list it"
        return StoreReport(name, True, str(folder), state, size_bytes=size_bytes, owner_pid=owner, detail=detail)
    state, version, latency_ms, detail = await _probe(part.address, ask)
    if state is StoreState.DOWN:
        detail = "; ".join(filter(None, (detail.removesuffix("."), full_disk(folder))))
    return StoreReport(
        name, True, display_url(part.address), state, version, latency_ms, size_bytes, part.pid, part.owner_pid, detail
    )


async def _probe(url: str, ask: Callable[[str], Awaitable[_Answer]]) -> _Answer:
    try:
        return await ask(url)
    except _FAULTS as error:  # not translated: the error is the result
        return _Answer(StoreState.DOWN, detail=_text(error))


async def _ask(get_version: Callable[[], Awaitable[str]], prove_write: Callable[[], Awaitable[None]]) -> _Answer:
    """Get the version, which is timed with the new connection, then write. Raises what ``get_version`` raises."""
    began = time.perf_counter()
    name = await get_version()
    latency_ms = round((time.perf_counter() - began) * 1000, 1)
    try:
        await prove_write()
    except _FAULTS as error:
        return _Answer(StoreState.DOWN, name, latency_ms, f"It answers, but takes no write: {_text(error)}")
    return _Answer(StoreState.UP, name, latency_ms)


def _text(error: Exception) -> str:
    return safe(redact(str(error)))


def _size_bytes(folder: Path) -> int:
    """The total size of the files under ``folder``. A file that vanishes counts as 0."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
