"""The bot against a Discord that refuses: a refusal by a limit is not answered by more requests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import disnake
import pytest
import pytest_asyncio
from disnake.http import Route
from yarl import URL

from botctl.bot.requests.invalid_requests import InvalidRequests
from botctl.bot.requests.outcomes import RequestOutcomes
from botctl.bot.requests.watch import _Watch
from botctl.core.clock import SystemClock
from botctl.core.config.settings import CommandSettings, Settings
from botctl.core.contracts.health import RequestsSeen
from botctl.core.telemetry.metrics import Metrics, render_prometheus
from botctl.sandbox.console.client import Identity
from botctl.sandbox.console.command_parser import SlashCall
from tests.support.bots import GUILD, Rig, rig, shared_loop, write_commands
from tests.support.waiting import LIMIT_S, until

COMMANDS = """
    import asyncio

    import disnake
    from disnake.ext import commands

    from botctl import Command, Context

    class Reply(Command):
        "It replies."
        async def execute(self, ctx: Context) -> None:
            await ctx.reply("pong")

    class Slow(Command):
        "It is deferred first."
        defer = "ephemeral"
        async def execute(self, ctx: Context) -> None:
            while ctx._defer_task is None:
                await asyncio.sleep(0.01)
            await ctx.reply("pong")

    class Stubborn(Command):
        "It goes on after its answer is refused."
        defer = "public"
        async def execute(self, ctx: Context) -> None:
            try:
                await ctx.inter.response.send_message("pong")
            except disnake.HTTPException:
                await asyncio.sleep(0.3)

    class FollowUp(Command):
        "Its second answer is refused."
        async def execute(self, ctx: Context) -> None:
            await ctx.reply("pong")
            await ctx.reply("more")

    class Post(Command):
        "It posts in the channel."
        async def execute(self, ctx: Context) -> None:
            await ctx.inter.channel.send("pong")

    class Plain(commands.Cog):
        @commands.slash_command(description="A cog's command.")
        async def plain(self, inter):
            await inter.response.send_message("pong")

    def setup(bot):
        bot.add_cog(Plain())
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    folder = write_commands(tmp_path_factory.mktemp("refused") / "commands", refused=COMMANDS)
    metrics = Metrics()
    settings = Settings(commands=CommandSettings(defer_after_s=0.1))
    async with rig(folder, settings=settings, values={Metrics: metrics}) as running:
        running.events.clear()
        yield running


async def refused(bot: Rig, name: str, **incident: object) -> tuple[int, int]:
    """Run a command while the incident lasts. Return how many requests were refused: as invalid ones, and in all."""
    before, counted = bot.service.bot.invalid_requests.refusals.copy(), []
    done = len(bot.finished)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bot.sandbox.limiter, "count_invalid", lambda *_: counted.append(1))
        if name not in {"slow", "stubborn"}:  # a busy host would make any command a slow one, which is deferred
            patch.setattr(bot.service.bot.pipeline, "_defer_after_s", LIMIT_S)
        await bot.client.incidents({"name": "too-many-requests", "settings": {"retry_after_s": 0.02} | incident})
        call = asyncio.create_task(bot.client.send(SlashCall(name, {}), Identity("ann"), timeout_s=LIMIT_S))
        await until(lambda: len(bot.finished) > done and not bot.service.in_flight, what="the outcome")
        await bot.client.incidents({"stop": "all"})
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
    added = bot.service.bot.invalid_requests.refusals - before
    assert added.total() - added["429 shared"] == len(counted)
    return len(counted), added.total()


@shared_loop
@pytest.mark.parametrize(
    ("name", "incident", "expected"),
    [
        ("reply", {}, (1, 1)),
        ("reply", {"scope": "global"}, (1, 1)),
        ("reply", {"scope": "shared"}, (0, 2)),
        ("slow", {}, (1, 1)),
        ("stubborn", {}, (1, 1)),
        ("follow_up", {"path": "/webhooks"}, (1, 1)),
        ("plain", {}, (1, 1)),
        ("post", {"path": "/channels"}, (2, 2)),
        ("post", {}, (2, 2)),
    ],
)
async def test_refused_command_sends_no_further_request(
    bot: Rig, name: str, incident: dict[str, object], expected: tuple[int, int]
) -> None:
    assert await refused(bot, name.replace("_", "-"), **incident) == expected


@shared_loop
async def test_bot_answers_again_after_the_refusals(bot: Rig) -> None:
    await refused(bot, "reply")
    reply = await bot.run_command("reply")
    assert reply.messages[-1].content == "pong"


@shared_loop
async def test_ban_is_counted_and_answered_by_nothing(bot: Rig) -> None:
    before = bot.service.bot.invalid_requests.refusals["429"]
    await bot.client.incidents({"name": "cloudflare-ban"})
    try:
        with pytest.raises(disnake.HTTPException):
            await bot.service.bot.fetch_guild(int(GUILD))
    finally:
        await bot.client.incidents({"stop": "all"})
    assert bot.service.bot.invalid_requests.refusals["429"] == before + 1


@shared_loop
async def test_refusals_are_in_the_metrics(bot: Rig) -> None:
    await refused(bot, "reply")
    metrics = bot.running.get(Metrics)
    requests = bot.service.bot.invalid_requests
    assert metrics.invalid_requests() == requests.recent() > 0
    text = render_prometheus(metrics)
    assert f'botctl_refused_requests_total{{status="429"}} {requests.refusals["429"]:.1f}' in text
    assert f"botctl_invalid_requests {requests.recent():.1f}" in text


async def seen_during(bot: Rig, incident: str, requests: int = 3, **settings: object) -> RequestsSeen:
    """What is known of Discord's answers after some ``requests`` in an incident."""
    bot.service.bot.request_outcomes._seen.clear()
    await bot.client.incidents({"name": incident, "settings": settings})
    try:
        for _ in range(requests):
            with pytest.raises(disnake.HTTPException):
                await bot.service.bot.fetch_guild(int(GUILD))
    finally:
        await bot.client.incidents({"stop": "all"})
    return bot.running.get(Metrics).requests()


@shared_loop
async def test_wave_of_refusals_is_seen_and_a_single_one_is_not(bot: Rig) -> None:
    seen = await seen_during(bot, "too-many-requests", retry_after_s=0.01)
    assert (seen.row, seen.row_kind, seen.limited, seen.answers) == (6, "429", 6, 6)  # each was repeated once
    await bot.service.bot.fetch_guild(int(GUILD))
    seen = bot.running.get(Metrics).requests()
    assert (seen.row, seen.limited, seen.answers, seen.banned_until) == (0, 6, 7, None)


@shared_loop
async def test_ban_is_seen_until_discord_answers_again(bot: Rig) -> None:
    seen = await seen_during(bot, "cloudflare-ban", 1, retry_after_s=600)
    assert seen.banned_until is not None
    assert 500 < (seen.banned_until - SystemClock().now()).total_seconds() <= 600
    await bot.service.bot.fetch_guild(int(GUILD))
    assert bot.running.get(Metrics).requests().banned_until is None


@shared_loop
async def test_failures_of_discord_are_seen_also_when_disnake_repeats_the_request(bot: Rig) -> None:
    seen = await seen_during(bot, "http-5xx", status=503)
    assert (seen.row, seen.row_kind, seen.failed, seen.answers) == (3, "5xx", 3, 3)
    await bot.client.incidents({"name": "http-5xx", "settings": {"status": 502}})
    asking = asyncio.create_task(bot.service.bot.fetch_guild(int(GUILD)))
    await until(lambda: bot.running.get(Metrics).requests().failed == 4)
    await bot.client.incidents({"stop": "all"})
    asking.cancel()
    await asyncio.wait({asking})


@shared_loop
async def test_discord_that_cannot_be_reached_is_seen(bot: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    bot.service.bot.request_outcomes._seen.clear()
    with closed_port() as port:
        monkeypatch.setattr(Route, "BASE", f"http://127.0.0.1:{port}/api/v10")
        with pytest.raises(aiohttp.ClientConnectionError):
            await bot.service.bot.fetch_guild(int(GUILD))
    assert bot.running.get(Metrics).requests() == RequestsSeen(answers=1, unreachable=1, row=1, row_kind="unreachable")


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port on which no one listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


class Answer:
    """Just enough of an HTTP response."""

    reason = "because"

    def __init__(self, status: int, scope: str = "user") -> None:
        self.status = status
        self.headers = {"Via": "1.1 google", "X-RateLimit-Scope": scope}

    async def text(self, **_: str) -> str:
        return '{"retry_after": 0.5, "message": "no"}'


async def test_each_request_of_a_task_may_be_repeated_once() -> None:
    watch = _Watch(InvalidRequests(lambda: 0.0), RequestOutcomes(SystemClock()), lambda: 10)

    async def answer(status: int, path: str = "/channels/1/messages") -> None:
        params: Any = SimpleNamespace(method="POST", url=URL(Route.BASE + path), response=Answer(status))
        await watch.after_answer(None, None, params)

    for status in (429, 200, 429, 200, 429, 403):
        await answer(status)
    await answer(429)
    with pytest.raises(disnake.HTTPException, match="no"):
        await answer(429)
    await answer(429)
    await answer(429, "/channels/2/messages")
    assert watch.requests.refusals == {"429": 7, "403": 1}


def test_webhook_of_a_channel_is_no_interaction() -> None:
    watch = _Watch(InvalidRequests(lambda: 0.0), RequestOutcomes(SystemClock()), lambda: 10)
    paths = ["/interactions/7/tok/callback", "/webhooks/10/tok/messages/@original", "/webhooks/11/tok", "/webhooks/12"]
    assert [watch._token(URL(f"http://x/api/v10{path}")) for path in paths] == ["tok", "tok", None, None]
