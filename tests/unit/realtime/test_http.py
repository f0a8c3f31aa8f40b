"""The HTTP pages of the realtime server."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from botctl.core.contracts.service_state import ServiceHealth, ServiceStatus
from botctl.core.contracts.shards import ShardState, ShardStatus
from botctl.core.telemetry.metrics import Metrics
from botctl.realtime.http import StatusPages
from botctl.realtime.page_access import PageReader
from tests.support.waiting import until


class BlockingStatus:
    """Services whose health check waits for ``proceed``."""

    def __init__(self) -> None:
        self.calls = 0
        self.fail = False
        self.proceed = asyncio.Event()

    def statuses(self) -> list[ServiceStatus]:
        return []

    async def health(self, timeout_s: float = 2.0) -> list[ServiceHealth]:
        self.calls += 1
        await self.proceed.wait()
        if self.fail:
            raise OSError("gone")
        return [ServiceHealth("redis", False, 1.0, "it hurts")]


async def get_ready(pages: StatusPages) -> dict[str, Any]:
    response = await pages.respond(Request("/readyz", Headers(), "GET"), PageReader(Mock(), "127.0.0.1", is_local=True))
    body: dict[str, Any] = json.loads(bytes(response.body))
    return body


async def test_readiness_tells_how_many_shards_are_up() -> None:
    """If the bot is in this process."""
    status, metrics, at = BlockingStatus(), Metrics(), datetime(2026, 1, 2, tzinfo=UTC)
    status.proceed.set()
    pages = StatusPages(status, metrics, draining=lambda: False)
    assert "shards" not in await get_ready(pages)
    states = (ShardState.READY, ShardState.READY, ShardState.RESUMING)
    shards = [ShardStatus(id=number, state=state, since=at) for number, state in enumerate(states)]
    metrics.watch_bot(lambda: shards, lambda _: None, int)
    assert (await get_ready(pages))["shards"] == {"all": 3, "up": 2}


async def test_concurrent_readiness_requests_check_the_services_once() -> None:
    status = BlockingStatus()
    pages = StatusPages(status, Metrics(), draining=lambda: False)
    requests = [asyncio.create_task(get_ready(pages)) for _ in range(20)]
    await until(lambda: status.calls > 0)
    requests[0].cancel()
    late_request = asyncio.create_task(get_ready(pages))
    await asyncio.wait(requests[:1])
    status.proceed.set()
    bodies = await asyncio.gather(*requests[1:], late_request)
    assert all("redis" in body["not_ready"] for body in bodies)
    await get_ready(pages)
    assert status.calls == 1


async def test_failed_health_check_is_repeated() -> None:
    status = BlockingStatus()
    status.proceed.set()
    status.fail = True
    pages = StatusPages(status, Metrics(), draining=lambda: False)
    with pytest.raises(OSError, match="gone"):
        await get_ready(pages)
    status.fail = False
    assert "redis" in (await get_ready(pages))["not_ready"]
