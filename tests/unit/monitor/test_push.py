"""Calls of an uptime service on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from botctl.core.config.settings import HealthSettings, Settings
from botctl.core.contracts.health import ALL_IS_WELL, Diagnosis, Health
from botctl.core.redact import register
from botctl.monitor.push import StatusPush, address_for, status_push
from tests.support.health import DEAF, FakeHealth
from tests.support.stores import tasks_for
from tests.support.waiting import until

PLAIN = "https://hc.example/key"
TOLD = "https://kuma.example/api/push/key?status={status}&msg={message}&ping="


@pytest.mark.parametrize("verdict", list(Health))
def test_dead_mans_switch_is_called_only_while_the_bot_works(verdict: Health) -> None:
    found = Diagnosis(verdict=verdict, why="so it is")
    assert address_for(PLAIN, found) == (PLAIN if verdict.works else None)


@pytest.mark.parametrize("verdict", list(Health))
def test_push_monitor_is_told_both_but_not_of_a_deploy(verdict: Health) -> None:
    address = address_for(TOLD, Diagnosis(verdict=verdict, why="so & so"))
    status = "up" if verdict.works else "down"
    expected = f"https://kuma.example/api/push/key?status={status}&msg=so%20%26%20so&ping="
    assert address == (None if verdict in ("starting", "draining") else expected)


@dataclass
class UptimeService:
    """Answers with ``status``, and remembers the calls."""

    status: int = 200
    calls: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.calls.append(request.path_qs)
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def pushing(query: str, health: FakeHealth) -> AsyncIterator[tuple[StatusPush, UptimeService, TestServer]]:
    service = UptimeService()
    app = web.Application()
    app.router.add_get("/{path:.*}", service.answer)
    async with TestServer(app) as server, tasks_for("push") as (tasks, _):
        url = f"{server.make_url('/s3cr3tKey99')}{query}"
        register(url)
        settings = Settings(health=HealthSettings(push_url=url, push_s=1))  # type: ignore[arg-type]
        async with status_push(settings=settings, health=health, tasks=tasks) as push:
            yield push, service, server


async def test_service_is_called_from_the_start_of_the_bot() -> None:
    async with pushing("", FakeHealth()) as (_, service, _):
        await until(lambda: service.calls == ["/s3cr3tKey99"], what="the call")


async def test_service_is_told_why_the_bot_is_down() -> None:
    health = FakeHealth(bot=DEAF)
    async with pushing("?status={status}&msg={message}", health) as (push, service, _):
        assert await push.push()
        assert service.calls[-1] == f"/s3cr3tKey99?status=down&msg={DEAF.why.replace(' ', '%20')}"
        health.bot = ALL_IS_WELL
        assert await push.push()
        assert service.calls[-1].startswith("/s3cr3tKey99?status=up")


@pytest.mark.parametrize(
    ("status", "what"), [(404, "answers with HTTP 404"), (302, "redirects (HTTP 302)"), (500, "answers with HTTP 500")]
)
async def test_refusal_is_logged_once_without_the_address(
    status: int, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with pushing("", FakeHealth()) as (push, service, _):
        service.status = status
        assert not await push.push()
        assert not await push.push()
        assert "/elsewhere" not in service.calls  # a redirect is not followed
        service.status = 200
        assert await push.push()
    lines = [record.getMessage() for record in caplog.records if record.name == "botctl.monitor.push"]
    assert len(lines) == 1
    assert what in lines[0]
    assert "s3cr3tKey99" not in caplog.text


async def test_service_that_is_away_is_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    async with pushing("", FakeHealth()) as (push, _, server):
        await server.close()
        assert not await push.push()
    assert "the address of health.push_url cannot be called (ClientConnectorError)" in caplog.text
    assert "s3cr3tKey99" not in caplog.text
