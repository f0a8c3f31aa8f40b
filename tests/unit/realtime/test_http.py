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

from botctl.core.clock import SystemClock
from botctl.core.contracts.health import Diagnosis, Health
from botctl.core.contracts.service_state import ServiceHealth, ServiceState, ServiceStatus
from botctl.core.contracts.shards import ShardState, ShardStatus
from botctl.core.telemetry.metrics import Metrics
from botctl.realtime.http import StatusPages
from botctl.realtime.page_access import PageReader
from tests.support.health import DEAF, FakeHealth
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
    pages = StatusPages(status, metrics, FakeHealth(), SystemClock(), draining=lambda: False)
    assert "shards" not in await get_ready(pages)
    states = (ShardState.READY, ShardState.READY, ShardState.RESUMING)
    shards = [ShardStatus(id=number, state=state, since=at) for number, state in enumerate(states)]
    metrics.watch_bot(lambda: shards, lambda _: None, int)
    assert (await get_ready(pages))["shards"] == {"all": 3, "up": 2}


async def test_concurrent_readiness_requests_check_the_services_once() -> None:
    status = BlockingStatus()
    pages = StatusPages(status, Metrics(), FakeHealth(), SystemClock(), draining=lambda: False)
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
    pages = StatusPages(status, Metrics(), FakeHealth(), SystemClock(), draining=lambda: False)
    with pytest.raises(OSError, match="gone"):
        await get_ready(pages)
    status.fail = False
    assert "redis" in (await get_ready(pages))["not_ready"]


class EmptiedRedis:
    """Redis runs, and its ping says that it was emptied."""

    def statuses(self) -> list[ServiceStatus]:
        return [ServiceStatus("redis", ServiceState.READY, 0.1, "", 0)]

    async def health(self, timeout_s: float = 2.0) -> list[ServiceHealth]:
        well = ServiceHealth("mongo", True, 1.0, "")
        return [ServiceHealth("redis", False, 1.0, "the database was emptied", "Restart botctl."), well]


async def test_readiness_does_not_contradict_itself() -> None:
    """The page looks at the services itself, so it knows of a failure some seconds before the verdict."""
    pages = StatusPages(EmptiedRedis(), Metrics(), FakeHealth(), SystemClock(), draining=lambda: False)
    status, body = await get(pages, "/readyz")
    assert (status, body["ready"], body["verdict"]) == (503, False, "degraded")
    assert (body["why"], body["action"]) == ("redis: the database was emptied", "Restart botctl")
    assert body["not_ready"] == {"redis": {"state": "degraded", "detail": "the database was emptied"}}
    pages = StatusPages(EmptiedRedis(), Metrics(), FakeHealth(process=DEAF), SystemClock(), draining=lambda: False)
    assert (await get(pages, "/readyz"))[1]["verdict"] == "deaf"


class WellStatus:
    """Services that are all well."""

    def statuses(self) -> list[ServiceStatus]:
        return []

    async def health(self, timeout_s: float = 2.0) -> list[ServiceHealth]:
        return [ServiceHealth("redis", True, 1.0, "")]


async def get(pages: StatusPages, path: str) -> tuple[int, dict[str, Any]]:
    response = await pages.respond(Request(path, Headers(), "GET"), PageReader(Mock(), "127.0.0.1", is_local=True))
    return response.status_code, json.loads(bytes(response.body))


@pytest.mark.parametrize("verdict", list(Health))
async def test_pages_are_ok_only_for_a_verdict_that_works(verdict: Health) -> None:
    """Each goes by its own: `/readyz` by that on the process, `/verdict` by that on the bot."""
    found = Diagnosis(verdict=verdict, why="so it is", action="do this")
    health = FakeHealth(process=found)
    pages = StatusPages(WellStatus(), Metrics(), health, SystemClock(), draining=lambda: False)
    expected = 200 if verdict in ("healthy", "degraded") else 503
    status, body = await get(pages, "/readyz")
    assert (status, body["ready"], body["verdict"]) == (expected, expected == 200, verdict)
    assert (body["why"], body["action"]) == ("so it is", "do this")
    assert (await get(pages, "/verdict"))[0] == 200
    health.process, health.bot = health.bot, found
    assert (await get(pages, "/readyz"))[0] == 200
    status, body = await get(pages, "/verdict")
    assert (status, body["verdict"], body["why"]) == (expected, verdict, "so it is")


async def test_verdict_tells_the_process_and_the_shard() -> None:
    pages = StatusPages(WellStatus(), Metrics(), FakeHealth(bot=DEAF), SystemClock(), draining=lambda: False)
    _, body = await get(pages, "/verdict")
    assert (body["process"], body["shard"]) == ("vm:1", 3)
    assert datetime.fromisoformat(body["at"]).tzinfo is not None
