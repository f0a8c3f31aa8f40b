"""Who sees the metrics and the details of the readiness page."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from botctl.core.clock import SystemClock
from botctl.core.contracts.api_keys import KeyRefused
from botctl.core.contracts.service_state import ServiceHealth
from botctl.core.errors import Unreachable
from botctl.core.telemetry.metrics import Metrics
from botctl.realtime.http import StatusPages
from botctl.realtime.page_access import PageAccess, PageReader
from tests.support.health import DEAF, FakeHealth

GOOD, OTHER, REFUSED, AWAY = "good", "other", "refused", "away"
REMOTE = "192.0.2.1"


class Pages:
    """The pages of a process whose Redis is down."""

    def __init__(self) -> None:
        self.health = FakeHealth()
        status = Mock(statuses=list, health=AsyncMock(return_value=[ServiceHealth("redis", False, 1, "gone")]))
        self.pages = StatusPages(status, Metrics(), self.health, SystemClock(), draining=lambda: False)
        self.keys = Mock(check=AsyncMock(side_effect=self.check))
        self.access = PageAccess(self.keys, lambda key: key.name == GOOD, time_s=lambda: 0.0)

    @staticmethod
    async def check(text: str, *, address: str) -> Any:
        assert address.startswith("192.0.2.")
        if text == AWAY:
            raise Unreachable("MongoDB does not answer")
        if text == REFUSED:
            raise KeyRefused("there is no such key")
        key = Mock()
        key.name = text
        return key

    async def get(self, path: str, *authorization: str, address: str = REMOTE, is_local: bool = False) -> Response:
        reader = PageReader(self.access, address, is_local, authorization)
        return await self.pages.respond(Request(path, Headers(), "GET"), reader)


@pytest.fixture
def pages() -> Pages:
    return Pages()


def body(response: Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(response.body))
    return found


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ((), 401),
        (("Basic Z29vZA==",), 401),
        ((f"Bearer {REFUSED}",), 401),
        ((f"Bearer {GOOD}", f"Bearer {GOOD}"), 401),
        ((f"Bearer {OTHER}",), 403),
        ((f"Bearer {AWAY}",), 503),
        ((f"Bearer {GOOD}",), 200),
        ((f"bearer  {GOOD}",), 200),
    ],
    ids=str,
)
async def test_metrics_need_the_permission_to_see_the_status(
    pages: Pages, authorization: tuple[str, ...], status: int
) -> None:
    response = await pages.get("/metrics", *authorization)
    assert response.status_code == status
    assert (b"botctl_info" in response.body) == (status == 200)
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    if status == 403:
        assert "status:read" in body(response)["error"]


async def test_loopback_needs_no_key(pages: Pages) -> None:
    assert (await pages.get("/metrics", is_local=True)).status_code == 200
    assert "redis" in body(await pages.get("/readyz", is_local=True))["not_ready"]


async def test_readiness_without_a_key_is_yes_or_no(pages: Pages) -> None:
    response = await pages.get("/readyz")
    assert (response.status_code, body(response)) == (503, {"ready": False, "verdict": "degraded"})
    assert "redis" in body(await pages.get("/readyz", f"Bearer {GOOD}"))["not_ready"]
    assert (await pages.get("/readyz", f"Bearer {OTHER}")).status_code == 403


async def test_verdict_without_a_key_is_one_word(pages: Pages) -> None:
    pages.health.bot = DEAF
    response = await pages.get("/verdict")
    assert response.status_code == 503
    assert body(response).keys() == {"verdict", "at"}
    assert body(response)["verdict"] == "deaf"
    assert body(await pages.get("/verdict", f"Bearer {GOOD}"))["why"] == DEAF.why
    assert (await pages.get("/verdict", f"Bearer {OTHER}")).status_code == 403
    assert (await pages.get("/verdict", f"Bearer {REFUSED}")).status_code == 401


async def test_keys_of_one_address_are_checked_a_few_times(pages: Pages) -> None:
    """The store is asked only for those."""
    statuses = [(await pages.get("/metrics", f"Bearer {REFUSED}")).status_code for _ in range(40)]
    assert statuses == [401] * 30 + [429] * 10
    assert pages.keys.check.call_count == 30
    refused = await pages.get("/metrics", f"Bearer {REFUSED}")
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["RateLimit-Policy"]
    assert (await pages.get("/metrics", f"Bearer {GOOD}", address="192.0.2.2")).status_code == 200
