"""The pages of the realtime server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from botctl.core.contracts.service_state import ServiceHealth, ServiceStatus
from botctl.core.telemetry.metrics import Metrics
from botctl.realtime.http import Pages
from tests.support.waiting import until


class Stores:
    """Services whose answer takes until it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.fail = False
        self.go = asyncio.Event()

    def statuses(self) -> list[ServiceStatus]:
        return []

    async def health(self, timeout_s: float = 2.0) -> list[ServiceHealth]:
        self.asked += 1
        await self.go.wait()
        if self.fail:
            raise OSError("gone")
        return [ServiceHealth("redis", False, 1.0, "it hurts")]


async def ready(pages: Pages) -> dict[str, Any]:
    response = await pages.answer(Request("/readyz", Headers(), "GET"))
    assert response is not None
    told: dict[str, Any] = json.loads(bytes(response.body))
    return told


async def test_however_many_ask_at_once_the_stores_are_asked_once() -> None:
    """And whoever goes away meanwhile does not take the answer from the others."""
    stores = Stores()
    pages = Pages(stores, Metrics(), draining=lambda: False)
    asking = [asyncio.create_task(ready(pages)) for _ in range(20)]
    await until(lambda: stores.asked > 0)
    asking[0].cancel()
    late = asyncio.create_task(ready(pages))
    await asyncio.wait(asking[:1])
    stores.go.set()
    told = await asyncio.gather(*asking[1:], late)
    assert all("redis" in each["not_ready"] for each in told)
    await ready(pages)
    assert stores.asked == 1


async def test_a_question_that_failed_is_asked_again() -> None:
    stores = Stores()
    stores.go.set()
    stores.fail = True
    pages = Pages(stores, Metrics(), draining=lambda: False)
    with pytest.raises(OSError, match="gone"):
        await ready(pages)
    stores.fail = False
    assert "redis" in (await ready(pages))["not_ready"]
