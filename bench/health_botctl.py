"""botctl as it is, or without its health checks: ``python -m bench.health_botctl CHECKS BACKGROUND run …``.

CHECKS: ``checks``, or ``none``, which replaces them by what there was before or by nothing. The writer of snapshots
stays. BACKGROUND: ``on``, or ``off``, which leaves nothing that is repeated, so that only commands cost something.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from redis.asyncio import Redis

from botctl.bot.gateway import hearing, shard
from botctl.bot.requests.outcomes import RequestOutcomes
from botctl.core.contracts.health import ALL_IS_WELL, NO_REQUESTS, Diagnosis, HealthSource
from botctl.monitor import health_watch, own_health, writer
from botctl.run import lifecycle, roles
from botctl.stores.mongo import Database
from botctl.stores.mongo import server_version as mongo_version
from botctl.stores.mongo_ping import MongoPing
from botctl.stores.redis import server_version as redis_version
from botctl.stores.redis_ping import RedisPing

NEVER_S = 1e6


class NoHealth:
    """A `HealthSource` that looks at nothing."""

    def of_process(self) -> Diagnosis:
        return ALL_IS_WELL

    def of_bot(self) -> Diagnosis:
        return ALL_IS_WELL


@asynccontextmanager
async def no_health() -> AsyncIterator[HealthSource]:
    yield NoHealth()


async def never(*_: Any) -> None:
    await asyncio.Event().wait()


async def old_redis_ping(_: RedisPing, client: Redis) -> str:
    began = time.perf_counter()
    return f"{await redis_version(client)}, {(time.perf_counter() - began) * 1000:.1f} ms"


async def old_mongo_ping(_: MongoPing, database: Database) -> str:
    began = time.perf_counter()
    return f"{await mongo_version(database.client)}, {(time.perf_counter() - began) * 1000:.1f} ms"


def returning(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def remove_checks() -> None:
    hearing.HearingProbe.hear = returning(None)
    shard.GatewayShard._probe_hearing = never  # noqa: SLF001
    shard.GatewayShard._hearing = returning(None)  # noqa: SLF001
    RequestOutcomes.record = returning(None)
    RequestOutcomes.seen = returning(NO_REQUESTS)
    own_health.OwnHealth.beat = never
    own_health.OwnHealth.post = returning(None)
    lifecycle.health_socket = returning(nullcontext())
    roles.health_watch = no_health
    writer.ExpectedRole = ()
    RedisPing.__call__ = old_redis_ping
    MongoPing.__call__ = old_mongo_ping


def stop_background() -> None:
    writer.EVERY_S = writer.HEALTH_EVERY_S = NEVER_S
    health_watch.EVERY_S = own_health.BEAT_S = NEVER_S


if __name__ == "__main__":
    from botctl.cli.main import main

    checks, background = sys.argv[1:3]
    del sys.argv[1:3]
    if checks == "none":
        remove_checks()
    if background == "off":
        stop_background()
    main()
