"""Workarounds for faults of disnake; each test fails without its workaround."""

from __future__ import annotations

import asyncio
import gc
from typing import ClassVar

import pytest
from disnake.ext import tasks
from disnake.gateway import KeepAliveHandler
from disnake.http import Route
from disnake.webhook.async_ import AsyncWebhookAdapter, async_context

from botctl.bot.workarounds import (
    fix_heartbeat_latency,
    fix_silent_loops,
    fix_webhook_locks,
    follow_ups_observed,
)


class Answer:
    """Just enough of an HTTP response."""

    status = 204
    headers: ClassVar[dict[str, str]] = {}

    async def text(self, encoding: str) -> str:
        await asyncio.sleep(0)
        return ""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class Session:
    def request(self, *_: object, **__: object) -> Answer:
        return Answer()


async def answer(adapter: AsyncWebhookAdapter, number: int) -> None:
    route = Route("POST", "/webhooks/{webhook_id}/{webhook_token}", webhook_id=number, webhook_token=f"t{number}")
    await adapter.request(route, Session(), payload={})  # type: ignore[arg-type]


async def test_locks_of_answered_interactions_are_freed():
    token = async_context.set(AsyncWebhookAdapter())
    try:
        fix_webhook_locks()
        adapter = async_context.get()
        for number in range(1000):
            await answer(adapter, number)
        gc.collect()
        assert len(adapter._locks) == 0
        first = asyncio.create_task(answer(adapter, 1))
        second = asyncio.create_task(answer(adapter, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(adapter._locks) == 1
        await asyncio.gather(first, second)
    finally:
        async_context.reset(token)


def test_heartbeat_answered_at_once_has_almost_no_latency():
    fix_heartbeat_latency()

    class Socket:
        HEARTBEAT = 1
        thread_id = 0
        _max_heartbeat_timeout = 60.0

        def get_heartbeat_data(self) -> int:
            return 7

    heart = KeepAliveHandler(ws=Socket(), interval=41.25)  # type: ignore[arg-type]
    heart._last_send -= 41.25
    assert heart.get_payload() == {"op": 1, "d": 7}
    heart.ack()
    assert heart.latency < 1


async def test_follow_ups_are_heard_however_they_are_sent():
    """disnake itself tells no one: if its interactions know their follow-ups, the workaround can go."""
    heard = []
    token = async_context.set(AsyncWebhookAdapter())
    try:
        with follow_ups_observed(heard.append):
            adapter = async_context.get()
            ways = {"session": Session(), "payload": {}}
            await adapter.execute_webhook(1, "a", **ways)  # type: ignore[arg-type]
            await adapter.edit_original_interaction_response(1, "b", **ways)  # type: ignore[arg-type]
            await adapter.get_original_interaction_response(1, "c", session=Session())  # type: ignore[arg-type]
            await adapter.edit_webhook_message(1, "d", 5, **ways)  # type: ignore[arg-type]
            await adapter.create_interaction_response(1, "e", session=Session(), type=4)  # type: ignore[arg-type]
    finally:
        async_context.reset(token)
    assert heard == ["a", "b"]


async def test_loop_that_raises_no_exception_is_logged(caplog: pytest.LogCaptureFixture):
    @tasks.loop(seconds=60)
    async def turn():
        raise BaseException("panic")  # noqa: TRY002

    fix_silent_loops()
    await turn.start()
    assert "turn has ended" in caplog.text
    assert "panic" in caplog.text
