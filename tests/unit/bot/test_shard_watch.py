"""What is said about the shards while the bot runs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import disnake
import pytest

from botctl.bot.registration import Problems
from botctl.bot.shard_watch import ASK_EVERY_S, LOOK_S, ShardWatch
from botctl.core.contracts.shards import ShardClose, ShardState, ShardStatus
from tests.support.stores import tasks_for

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FakeGateway:
    """Two shards, and what `Shards` says of them."""

    def __init__(self) -> None:
        self.up, self.asked_s, self.text = [True, True], [], ""

    def statuses(self) -> list[ShardStatus]:
        close = ShardClose(code=1006, reason="the connection broke", at=AT)
        states = [ShardState.READY if up else ShardState.CONNECTING for up in self.up]
        return [ShardStatus(id=n, state=state, since=AT, last_close=close) for n, state in enumerate(states)]

    def notice(self) -> str:
        return self.text

    async def ask(self) -> None:
        self.asked_s.append(asyncio.get_running_loop().time())
        raise disnake.GatewayNotFound


class FakeBot:
    def __init__(self) -> None:
        self.gateway, self.listeners = FakeGateway(), {}

    def add_listener(self, function: Any, name: str) -> None:
        self.listeners[name] = function


@pytest.mark.looptime
async def test_recommendation_is_asked_for_every_hour_and_failures_change_nothing(caplog: pytest.LogCaptureFixture):
    bot = FakeBot()
    async with tasks_for("bot") as (tasks, _):
        watch = ShardWatch(cast(Any, bot), Problems(tasks))
        running = asyncio.create_task(watch.run())
        await asyncio.sleep(2 * ASK_EVERY_S + 60)
        assert bot.gateway.asked_s == pytest.approx([ASK_EVERY_S, 2 * ASK_EVERY_S], abs=2 * LOOK_S)
        bot.gateway.text = "Discord recommends 3 shards, and 2 run: restart the bot, and it has 3 shards"
        await asyncio.sleep(3 * LOOK_S)
        assert (watch.notice, tasks.detail) == (bot.gateway.text, "")
        assert caplog.text.count("Discord recommends 3 shards") == 1
        running.cancel()


async def test_service_is_degraded_only_without_any_connection():
    bot = FakeBot()
    async with tasks_for("bot") as (tasks, _):
        ShardWatch(cast(Any, bot), Problems(tasks))
        bot.gateway.up = [True, False]
        await bot.listeners["on_shard_disconnect"](1)
        assert tasks.detail == ""
        bot.gateway.up = [False, False]
        await bot.listeners["on_shard_disconnect"](0)
        assert tasks.detail.startswith("0 of 2 shards are connected: shard 0 (1006, the connection broke) and 1 more")
        bot.gateway.up = [True, False]
        await bot.listeners["on_shard_resumed"](0)
        assert tasks.detail == ""
