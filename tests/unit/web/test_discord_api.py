"""The few requests to Discord: what an answer means, waiting after 429, and a bounded time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from botctl.core.contracts.discord_access import DiscordAccess, TokenFound
from botctl.core.errors import Unreachable
from botctl.web import discord_api
from botctl.web.discord_api import DiscordApi
from botctl.web.oauth import OAuthApplication, OAuthRefused
from tests.support.waiting import LIMIT_S, expires

APP = OAuthApplication("100000000000000001", "secret", "https://bot.example/auth/callback")
GUILD, USER = "900000000000000001", "900000000000000101"
Answers = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discord_api, "LIMIT_S", LIMIT_S)


@asynccontextmanager
async def api(
    *answers: web.Response | Answers, reread: Callable[[], TokenFound] | None = None
) -> AsyncIterator[tuple[DiscordApi, list[tuple[str, str, str]]]]:
    """An API whose Discord gives ``answers`` in order, and what it was asked: method, path, Authorization."""
    asked: list[tuple[str, str, str]] = []
    left = list(answers)

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append((request.method, request.path_qs, request.headers.get("Authorization", "")))
        following = left.pop(0)
        return following if isinstance(following, web.Response) else await following(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        access = DiscordAccess("bot-token", str(server.make_url("")).rstrip("/"), reread=reread)
        yield DiscordApi(http, access), asked


def reply(value: Any, status: int = 200, **headers: str) -> web.Response:
    return web.Response(
        text=json.dumps(value), status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


TOKEN = {"access_token": "user-token", "token_type": "Bearer", "scope": "identify"}


async def test_token_is_revoked_after_it_was_used_once() -> None:
    user = {"id": USER, "username": "ann", "global_name": "Ann"}
    async with api(reply(TOKEN), reply(user), reply({})) as (discord, asked):
        assert await discord.identify(APP, "code", "v" * 43) == (USER, "ann")
    assert [call[1] for call in asked] == [
        "/api/v10/oauth2/token",
        "/api/v10/users/@me",
        "/api/v10/oauth2/token/revoke",
    ]
    assert [call[2] for call in asked] == ["", "Bearer user-token", ""]


async def test_token_is_revoked_also_if_discord_does_not_say_who_it_is() -> None:
    async with api(reply(TOKEN), reply({}, 500), reply({})) as (discord, asked):
        with pytest.raises(Unreachable, match="500"):
            await discord.identify(APP, "code", "v" * 43)
    assert asked[-1][1].endswith("/token/revoke")


async def test_name_is_text_that_can_be_written() -> None:
    user = {"id": USER, "username": "A\ud800nn" + "x" * 100, "global_name": "Ann"}
    async with api(reply(TOKEN), reply(user), reply({})) as (discord, _):
        name = (await discord.identify(APP, "code", "v" * 43)).name
    assert name.startswith("A?nnx")
    assert len(name) == 64


async def test_failed_revocation_does_not_fail_the_sign_in() -> None:
    async with api(reply(TOKEN), reply({"id": USER, "username": "ann"}), reply({}, 500)) as (discord, _):
        assert (await discord.identify(APP, "code", "v" * 43)).name == "ann"


async def test_code_that_discord_does_not_know_is_refused() -> None:
    async with api(reply({"error": "invalid_grant"}, 400)) as (discord, asked):
        with pytest.raises(OAuthRefused):
            await discord.identify(APP, "code", "v" * 43)
    assert len(asked) == 1


async def test_discord_that_fails_is_not_taken_for_a_refusal() -> None:
    async with api(reply({"error": "busy"}, 502)) as (discord, _):
        with pytest.raises(Unreachable):
            await discord.identify(APP, "code", "v" * 43)


async def test_roles_of_a_member_are_read_with_the_token_of_the_bot() -> None:
    async with api(reply({"roles": ["1", "2"]})) as (discord, asked):
        assert await discord.member_roles(GUILD, USER) == {"1", "2"}
    assert asked == [("GET", f"/api/v10/guilds/{GUILD}/members/{USER}", "Bot bot-token")]


@pytest.mark.parametrize("status", [403, 404])
async def test_person_who_is_not_there_has_no_roles(status: int) -> None:
    async with api(reply({"code": 10007}, status)) as (discord, _):
        assert await discord.member_roles(GUILD, USER) == frozenset()


async def test_429_is_waited_for() -> None:
    busy = reply({"retry_after": 0.05}, 429, Retry_After="0.05")
    async with api(busy, reply({"roles": []})) as (discord, asked):
        assert await discord.member_roles(GUILD, USER) == frozenset()
    assert len(asked) == 2


@pytest.mark.parametrize("answer", [reply({}, 503), reply({}, 401), web.Response(text="<html>"), reply([]), reply({})])
async def test_answer_that_says_nothing_is_no_answer(answer: web.Response) -> None:
    async with api(answer) as (discord, _):
        with pytest.raises(Unreachable, match="Discord"):
            await discord.member_roles(GUILD, USER)


async def test_wait_that_is_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discord_api, "LIMIT_S", expires(0.05))
    async with api(reply({}, 429, Retry_After="3600")) as (discord, _):
        with pytest.raises(Unreachable, match="did not answer within"):
            await discord.member_roles(GUILD, USER)


async def test_discord_that_is_away_is_named() -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await DiscordApi(http, DiscordAccess("t", "http://127.0.0.1:9")).guilds()


async def test_refused_token_is_sent_once_and_no_more() -> None:
    """Each refusal counts towards the ban of the address."""
    async with api(reply({}, 401)) as (discord, asked):
        for _ in range(3):
            with pytest.raises(Unreachable, match="refuses the bot's token"):
                await discord.member_roles(GUILD, USER)
    assert len(asked) == 1


async def test_token_that_was_replaced_is_read_again() -> None:
    tokens = ["bot-token"]
    member = {"roles": ["1"]}
    answers = (reply({}, 401), reply(member), reply(member))
    async with api(*answers, reread=lambda: TokenFound(tokens[-1], ".env")) as (discord, asked):
        with pytest.raises(Unreachable):
            await discord.member_roles(GUILD, USER)
        tokens.append("new-token")
        for _ in range(2):
            assert await discord.member_roles(GUILD, USER) == {"1"}
    assert [call[2] for call in asked] == ["Bot bot-token", "Bot new-token", "Bot new-token"]
