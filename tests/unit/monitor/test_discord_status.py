"""Discord's status page, played on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from botctl.core.config.settings import HealthSettings, Settings
from botctl.monitor.discord_status import FRESH_S, StatusPage, discord_status, parse
from tests.support.clock import ManualClock
from tests.support.stores import tasks_for
from tests.support.waiting import until

OUTAGE = {"page": {"name": "Discord"}, "status": {"indicator": "major", "description": "Partial System Outage"}}


@dataclass
class Page:
    """Answers with ``status`` and ``body``."""

    body: bytes = json.dumps(OUTAGE).encode()
    status: int = 200
    calls: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """In two parts, each of which arrives alone."""
        self.calls += 1
        response = web.StreamResponse(status=self.status, headers={"Location": "/elsewhere"})
        await response.prepare(request)
        half = len(self.body) // 2
        await response.write(self.body[:half])
        await asyncio.sleep(0.01)
        await response.write(self.body[half:])
        return response


@dataclass
class Writer:
    discord_says: Any = str


@asynccontextmanager
async def asking(page: Page, clock: ManualClock) -> AsyncIterator[tuple[StatusPage, Writer, TestServer]]:
    app = web.Application()
    app.router.add_get("/{path:.*}", page.answer)
    async with TestServer(app) as server, tasks_for("status page") as (tasks, _):
        url, writer = str(server.make_url("/api/v2/status.json")), Writer()
        settings = Settings(health=HealthSettings(discord_status=url))
        async with discord_status(settings=settings, writer=writer, clock=clock, tasks=tasks) as asked:  # type: ignore[arg-type]
            await until(lambda: page.calls == 1, what="the first question")
            yield asked, writer, server


async def test_description_goes_into_the_snapshots_while_it_is_fresh() -> None:
    clock = ManualClock()
    async with asking(Page(), clock) as (_, writer, _):
        await until(lambda: writer.discord_says() == "Partial System Outage", what="the answer")
        clock.advance(FRESH_S)
        assert writer.discord_says()
        clock.advance(1)
        assert not writer.discord_says()


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (302, b"", "answers with HTTP 302"),
        (503, b"<html>", "answers with HTTP 503"),
        (200, b"<html>", "gives something else"),
        (200, b'{"status": {"description": 5}}', "gives something else"),
        (200, b'{"status": "' + b"x" * 100_000, "gives something else"),
        (200, b"[" * 60_000, "gives something else"),
        (200, b"\xff\xfe", "gives something else"),
    ],
)
async def test_other_answers_are_logged_once_and_leave_the_last_one(
    status: int, body: bytes, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    page = Page()
    async with asking(page, ManualClock()) as (asked, writer, _):
        await until(lambda: writer.discord_says() != "", what="the answer")
        page.status, page.body = status, body
        with caplog.at_level(logging.INFO, "botctl.monitor.discord_status"):
            await asked.ask()
            await asked.ask()
        (record,) = caplog.records
        assert record.getMessage().startswith(f"the address of health.discord_status {problem}")
        assert writer.discord_says() == "Partial System Outage"


async def test_page_that_is_away_is_logged_once_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    async with asking(Page(), ManualClock()) as (asked, _, server):
        await server.close()
        with caplog.at_level(logging.INFO, "botctl.monitor.discord_status"):
            await asked.ask()
            await asked.ask()
        (record,) = caplog.records
        assert "cannot be reached" in record.getMessage()


def test_description_is_short_and_has_no_control_characters() -> None:
    body = json.dumps({"status": {"description": "\x1b[2J\u202eAll\n well " + "x" * 500}}).encode()
    assert parse(body).startswith("[2JAll well xxx")
    assert len(parse(body)) <= 100
