"""The jobs that every bot has."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from botctl.core.clock import Clock, iso_ms
from botctl.core.config.settings import Settings
from botctl.core.contracts.api_keys import ApiKeys
from botctl.core.contracts.event_log import EventLog
from botctl.core.contracts.jobs import Jobs, get_declared_job, job

KEPT_EVENTS: Final = 10_000
SAMPLES: Final = 120  # the newest are kept: an hour
SAMPLE_TTL_S: Final = 2 * 3600
ENDED_KEY_TTL: Final = timedelta(days=30)  # how long a revoked or expired API key is kept


def samples_key(bot: str) -> str:
    """The Redis list with the latencies of the stores, newest first: JSON ``{at, redis_ms, mongo_ms}``."""
    return f"botctl:{{{bot}}}:stores:samples"


@job("every 1h", missed="skip")
async def trim_events(events: EventLog) -> None:
    """Keep about 10,000 events of each topic."""
    for topic in await events.topics():
        await events.trim(topic, keep=KEPT_EVENTS)


@job("every 30s", missed="skip", timeout_s=20)
async def sample_stores(
    redis: Redis, database: AsyncDatabase[dict[str, Any]], settings: Settings, clock: Clock
) -> None:
    """Measure how fast the stores answer. Redis keeps the last hour."""
    sample = {
        "at": iso_ms(clock.now()),
        "redis_ms": await _measure_ms(redis.ping()),
        "mongo_ms": await _measure_ms(database.command("ping")),
    }
    key = samples_key(settings.bot)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.lpush(key, json.dumps(sample))
        pipe.ltrim(key, 0, SAMPLES - 1)
        pipe.expire(key, SAMPLE_TTL_S)
        await pipe.execute()


@job("0 4 * * *")
async def expire_keys(keys: ApiKeys) -> None:
    """Delete API keys that were revoked or expired more than 30 days ago."""
    await keys.purge(ended_for=ENDED_KEY_TTL)


async def _measure_ms(call: Awaitable[Any]) -> float:
    started_s = time.perf_counter()
    await call
    return round((time.perf_counter() - started_s) * 1000, 3)


BUILTIN_JOBS: Final = Jobs(job for job in map(get_declared_job, (trim_events, sample_stores, expire_keys)) if job)
