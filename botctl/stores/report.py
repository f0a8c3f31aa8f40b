"""The report of `botctl stores`: the address and the state of each store. Starts none of them."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from botctl.core.config.settings import Settings
from botctl.core.errors import ConfigError
from botctl.core.escape import safe
from botctl.core.processes.runtime import FILE, Runtime
from botctl.core.redact import redact
from botctl.stores import embedded_mongo, embedded_redis, mongo, redis
from botctl.stores.address import display_url


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


async def report(settings: Settings, runtime: Runtime) -> tuple[StoreReport, StoreReport]:
    """Query Redis and MongoDB concurrently, each within its ``timeout_s``."""

    async def redis_version(url: str) -> str:
        async with redis.connect(url, timeout_s=settings.redis.timeout_s) as client:
            return await redis.server_version(client)

    async def mongo_version(url: str) -> str:
        async with mongo.connect(url, timeout_s=settings.mongo.timeout_s) as client:
            return await mongo.server_version(client)

    return await asyncio.gather(
        _report_store(embedded_redis.NAME, settings.redis.url, embedded_redis.folder(runtime), runtime, redis_version),
        _report_store(embedded_mongo.NAME, settings.mongo.url, embedded_mongo.folder(runtime), runtime, mongo_version),
    )


async def _report_store(
    name: str, url: SecretStr | None, folder: Path, runtime: Runtime, get_version: Callable[[str], Awaitable[str]]
) -> StoreReport:
    if url is not None:
        secret = url.get_secret_value()
        state, version, latency_ms, detail = await _probe(secret, get_version)
        return StoreReport(name, False, display_url(secret), state, version, latency_ms, detail=detail)
    size_bytes = await asyncio.to_thread(_size_bytes, folder)
    part = runtime.parts().get(name)
    if part is None or not part.owned:
        owner = runtime.holder(name)
        state = StoreState.IDLE if owner is None else StoreState.DOWN
        detail = "" if owner is None else f"process {owner} runs it, but {FILE} does not list it"
        return StoreReport(name, True, str(folder), state, size_bytes=size_bytes, owner_pid=owner, detail=detail)
    state, version, latency_ms, detail = await _probe(part.address, get_version)
    return StoreReport(
        name, True, display_url(part.address), state, version, latency_ms, size_bytes, part.pid, part.owner_pid, detail
    )


async def _probe(url: str, get_version: Callable[[str], Awaitable[str]]) -> tuple[StoreState, str, float | None, str]:
    """Connect once: the state, the version, the latency in milliseconds, and what is wrong."""
    began = time.perf_counter()
    try:
        version = await get_version(url)
    except (ConfigError, RedisError, PyMongoError, OSError) as error:  # not translated: the error is the result
        return StoreState.DOWN, "", None, safe(redact(str(error)))
    return StoreState.UP, version, round((time.perf_counter() - began) * 1000, 1), ""


def _size_bytes(folder: Path) -> int:
    """The total size of the files under ``folder``. A file that vanishes counts as 0."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
