"""Gather the evidence about Redis and MongoDB. Starts none. The only writes are those that prove it, and are undone."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pymongo.errors import OperationFailure, PyMongoError
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from botctl.core.config.settings import Settings
from botctl.core.driver_errors.mongo import sort as sort_mongo
from botctl.core.driver_errors.redis import sort as sort_redis
from botctl.core.errors import ConfigError
from botctl.core.escape import safe
from botctl.core.processes.embedded import PartSpec
from botctl.core.processes.runtime import Runtime
from botctl.core.redact import redact
from botctl.doctor.stores import MongoEvidence, RedisEvidence
from botctl.stores import embedded_mongo, embedded_redis, mongo, redis
from botctl.stores.address import display_url
from botctl.stores.mongo import Database

_CALLS: Final = 5
_FAULTS: Final = (ConfigError, RedisError, PyMongoError, OSError)
Indexes = Mapping[str, Sequence[Sequence[str]]]
"""By collection: the fields of each index that botctl needs."""


async def examine_redis(settings: Settings, runtime: Runtime) -> RedisEvidence:
    url, embedded = _address(settings.redis.url, embedded_redis.PART, runtime)
    if url is None:
        return RedisEvidence(embedded=True, idle=True)
    seen = RedisEvidence(address=display_url(url), embedded=embedded)
    try:
        async with redis.connect(url, timeout_s=settings.redis.timeout_s) as client:
            await client.ping()
            latency_ms = await _timed(client.ping)
            info = await _info(client)
            persists = await _persists(client)
            refused = await _error_of(lambda: redis.prove_write(client, settings.bot))
    except _FAULTS as error:
        return replace(seen, error=_text(error))
    is_valkey = "valkey_version" in info
    return replace(
        seen,
        product="Valkey" if is_valkey else "Redis",
        version=safe(str(info.get("valkey_version") or info.get("redis_version") or "")),
        latency_ms=latency_ms,
        write_error=_text(refused) if refused else "",
        write_hint=sort_redis(refused).hint if refused else "",
        run_id=safe(str(info.get("run_id", ""))),
        role=str(info.get("role", "")),
        persists=persists,
        save_error="err" in (info.get("rdb_last_bgsave_status"), info.get("aof_last_write_status")),
        policy=str(info.get("maxmemory_policy", "")),
        max_bytes=int(info.get("maxmemory", 0)),
        used_bytes=int(info.get("used_memory", 0)),
    )


async def _info(client: Redis) -> dict[str, Any]:
    """INFO, or nothing: it is one of the commands that are often taken away."""
    try:
        info: dict[str, Any] = await client.info()
    except NoPermissionError:
        return {}
    return info


async def _persists(client: Redis) -> bool | None:
    try:
        options: dict[Any, Any] = await client.config_get("appendonly", "save")
    except (NoPermissionError, ResponseError):  # a hosted Redis has no CONFIG
        return None
    return options.get("appendonly") == "yes" or bool(options.get("save"))


async def examine_mongo(settings: Settings, runtime: Runtime, needed: Indexes) -> MongoEvidence:
    url, embedded = _address(settings.mongo.url, embedded_mongo.PART, runtime)
    if url is None:
        return MongoEvidence(embedded=True, idle=True, missing={})
    seen = MongoEvidence(address=display_url(url), embedded=embedded, missing={})
    try:
        async with mongo.connect(url, timeout_s=settings.mongo.timeout_s) as client:
            hello: dict[str, Any] = await client.admin.command("hello")
            latency_ms = await _timed(lambda: client.admin.command("ping"))
            product, _, version = (await mongo.server_version(client)).partition(" ")
            database = client[settings.database]
            refused = await _error_of(lambda: mongo.prove_write(database))
            missing = {name: gaps for name, fields in needed.items() if (gaps := await _gaps(database, name, fields))}
    except _FAULTS as error:
        return replace(seen, error=_text(error))
    return replace(
        seen,
        product=product,
        version=version,
        latency_ms=latency_ms,
        write_error=_text(refused) if refused else "",
        write_hint=sort_mongo(refused).hint if refused else "",
        replica_set=hello.get("setName"),
        is_primary=bool(hello.get("isWritablePrimary", hello.get("ismaster", True))),
        missing=missing,
    )


async def _gaps(database: Database, name: str, needed: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The indexes of ``needed`` that the collection lacks. One that is not there yet lacks none."""
    try:
        if name not in await database.list_collection_names():  # the embedded store has an index of every name
            return []
        existing = await database[name].index_information()
    except OperationFailure:  # no right to list them; nothing is said of them then
        return []
    there = {tuple(field for field, *_ in index["key"]) for index in existing.values()}
    return [fields for fields in needed if tuple(fields) not in there]


def _address(url: Any, part: PartSpec, runtime: Runtime) -> tuple[str | None, bool]:
    """The address, and whether it is the embedded store's. None: that one does not run."""
    if url is not None:
        return url.get_secret_value(), False
    running = runtime.parts().get(part.name)
    return (running.address if running is not None and running.owned else None), True


async def _timed(call: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds of the fastest of some calls: a slow one may be the fault of this process, which loads commands."""
    times_s = []
    for _ in range(_CALLS):
        began = time.perf_counter()
        await call()
        times_s.append(time.perf_counter() - began)
    return min(times_s) * 1000


async def _error_of(call: Callable[[], Awaitable[None]]) -> Exception | None:
    try:
        await call()
    except _FAULTS as error:
        return error
    return None


def _text(error: Exception) -> str:
    """The driver's words in one line, without its list of servers."""
    return safe(redact(str(error)).split(" (configured timeouts", 1)[0].split(", Timeout:", 1)[0])
