"""The sandbox's limits over real sockets: plain requests, and a disnake bot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import disnake
import pytest

from botctl.sandbox.model.limits import LENIENT, Limits
from tests.support.discord import BOT, GENERAL, GUILD, INTENTS, STAFF, TOKEN, Bot, Closed, Discord, Wire, local_discord
from tests.support.waiting import LIMIT_S, NO_WAIT_S, until

MESSAGES = f"/channels/{GENERAL}/messages"


@asynccontextmanager
async def strict(**limits: Any) -> AsyncIterator[Discord]:
    """Discord's limits with changes, and without a pause between IDENTIFYs."""
    async with local_discord(limits=Limits(concurrency_s=0.0).replace(limits)) as discord:
        yield discord


async def call(
    discord: Discord, method: str = "GET", path: str = "/users/@me", **arguments: Any
) -> tuple[int, Any, Any]:
    """Status, headers and body of a request, with the bot's token unless ``headers`` has another."""
    arguments.setdefault("headers", {"Authorization": f"Bot {TOKEN}"})
    async with discord.http.request(method, f"{discord.url}/api/v10{path}", **arguments) as answer:
        html = answer.headers["Content-Type"].startswith("text/html") if answer.status != 204 else False
        text = await answer.text()
        return answer.status, answer.headers, text if html or not text else await answer.json()


async def post(discord: Discord, channel: str = GENERAL) -> tuple[int, Any, Any]:
    return await call(discord, "POST", f"/channels/{channel}/messages", json={"content": "hi"})


async def test_bucket_is_exhausted_and_refilled() -> None:
    async with strict(create_message="2/5s") as discord:
        remaining = [(await post(discord))[1]["X-RateLimit-Remaining"] for _ in range(2)]
        assert remaining == ["1", "0"]
        status, headers, body = await post(discord)
        assert (status, headers["X-RateLimit-Scope"], headers["Retry-After"]) == (429, "user", "5")
        assert "Via" in headers
        assert headers["Content-Type"] == "application/json"
        assert body["global"] is False
        assert 4 < body["retry_after"] <= 5
        assert (await post(discord, STAFF))[0] == 200
        await discord.act("clock", advance_s=body["retry_after"])
        status, headers, _ = await post(discord)
        assert (status, headers["X-RateLimit-Remaining"]) == (200, "1")


async def test_error_response_has_rate_limit_headers() -> None:
    async with strict() as discord:
        status, headers, _ = await call(discord, "POST", MESSAGES, json={})
        assert (status, headers["X-RateLimit-Remaining"]) == (400, "4")


async def test_global_limit_counts_all_routes() -> None:
    async with strict(requests=1) as discord:
        assert (await call(discord))[0] == 200
        status, headers, body = await call(discord, path=f"/guilds/{GUILD}")
        assert (status, headers["X-RateLimit-Global"], headers["X-RateLimit-Scope"]) == (429, "true", "global")
        assert body["global"] is True
        assert "X-RateLimit-Bucket" not in headers


async def test_banned_address_gets_the_cloudflare_page() -> None:
    async with strict(invalid_requests=2) as discord:
        for _ in range(2):
            assert (await call(discord, headers={"Authorization": "Bot wrong"}))[0] == 401
        for path in ("/users/@me", "/no/such/route", "/gateway"):
            status, headers, page = await call(discord, path=path)
            assert (status, headers["Retry-After"], "Via" in headers) == (429, "3600", False)
            assert headers["Content-Type"].startswith("text/html")
            assert "1015" in page
        await discord.act("clock", advance_s=3600)
        assert (await call(discord))[0] == 200


async def test_shared_429_does_not_count_as_invalid_request() -> None:
    async with strict(invalid_requests=1, rename_channel=0) as discord:
        status, headers, _ = await call(discord, "PATCH", f"/channels/{GENERAL}", json={"topic": "new"})
        assert (status, headers["X-RateLimit-Scope"]) == (429, "shared")
        assert (await call(discord))[0] == 200


async def test_limits_change_at_runtime() -> None:
    async with strict() as discord:
        limits = await discord.act("limits", create_message="0/5s")
        assert (limits["create_message"], limits["requests"]) == ("0/5s", "50/1s")
        assert (await post(discord))[0] == 429
        status, response = await discord.control("POST", "limits", {"create_mesage": 1})
        assert (status, response["hint"]) == (400, "Did you mean create_message?")


async def test_disnake_bot_waits_for_retry_after() -> None:
    async with strict(create_message="1/0.25s") as discord, discord.bot() as bot:
        channel = bot.get_channel(int(GENERAL))
        assert isinstance(channel, disnake.TextChannel)
        discord.sandbox.limiter.windows.clear()
        assert (await post(discord))[0] == 200  # another process of the same bot
        began_s = time.monotonic()
        await channel.send("late")
        assert time.monotonic() - began_s >= 0.2


async def test_disnake_bot_raises_on_a_cloudflare_ban() -> None:
    async with strict() as discord, discord.bot() as bot:
        discord.sandbox.limiter.ban("127.0.0.1", discord.sandbox.clock.monotonic())
        with pytest.raises(disnake.HTTPException) as banned:
            await bot.fetch_user(int(BOT))
        assert banned.value.status == 429


async def test_interaction_callback_is_not_counted() -> None:
    async with strict(requests=0, webhooks=1) as discord, discord.wire() as wire:
        discord.sandbox.limits = LENIENT
        await wire.identify()
        await discord.rest("PUT", f"/applications/{BOT}/commands", json=[{"name": "ops", "description": "Ops"}])
        discord.sandbox.limits = Limits().replace({"requests": 0, "webhooks": 1})
        await discord.slash("ops", timeout_s=NO_WAIT_S)
        event = (await wire.hear_until("INTERACTION_CREATE"))["d"]
        path = f"/interactions/{event['id']}/{event['token']}/callback"
        status, headers, _ = await call(discord, "POST", path, json={"type": 5}, headers={})
        assert (status, "X-RateLimit-Remaining" in headers) == (204, False)
        follow_up = f"/webhooks/{BOT}/{event['token']}"
        statuses = [(await call(discord, "POST", follow_up, json={"content": "x"}, headers={}))[0] for _ in range(2)]
        assert statuses == [200, 429]


async def test_advanced_clock_ends_the_wait_for_a_response() -> None:
    limits = LENIENT.replace({"response_s": 2 * LIMIT_S})
    async with local_discord(limits=limits) as discord, discord.wire() as wire:
        await wire.identify()
        await discord.rest("PUT", f"/applications/{BOT}/commands", json=[{"name": "ops", "description": "Ops"}])
        asking = asyncio.create_task(discord.slash("ops", timeout_s=3 * LIMIT_S))
        event = (await wire.hear_until("INTERACTION_CREATE"))["d"]
        await discord.act("clock", advance_s=2 * LIMIT_S + 0.1)
        assert (await asyncio.wait_for(asking, LIMIT_S))["state"] == "no_answer"
        path = f"/interactions/{event['id']}/{event['token']}/callback"
        assert (await call(discord, "POST", path, json={"type": 5}))[2]["code"] == 10062
        await wire.say(1, None)
        assert (await wire.hear())["op"] == 11  # its own clock has not moved


async def test_advanced_clock_does_not_delay_the_heartbeat_timeout() -> None:
    async with local_discord(limits=LENIENT.replace({"heartbeat_s": 0.15})) as discord, discord.wire() as wire:
        await wire.identify()
        await discord.act("clock", advance_s=3600)
        await wire.say(1, None)
        assert await _closed(wire) == 4000


async def test_advanced_clock_expires_a_session() -> None:
    async with local_discord() as discord:
        async with discord.wire() as wire:
            ready = await wire.identify()
            wire.socket._response.connection.transport.abort()
        await until(lambda: not discord.sandbox.sessions.connected())
        await discord.act("clock", advance_s=181)
        async with discord.wire() as wire:
            await wire.hear()
            await wire.say(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 1})
            assert (await wire.hear())["op"] == 9


IDENTIFY = {"token": TOKEN, "properties": {}, "intents": INTENTS}


async def test_concurrency_key_identifies_every_five_seconds() -> None:
    async with local_discord(limits=Limits(max_concurrency=2)) as discord:
        events = []
        for shard in (0, 1, 2):
            async with discord.wire() as wire:
                await wire.hear()
                await wire.say(2, {**IDENTIFY, "shard": [shard, 4]})
                answer = await wire.hear()
                events.append(answer["t"] or (answer["op"], answer["d"]))
        assert events == ["READY", "READY", (9, False)]
        await discord.act("clock", advance_s=5)
        async with discord.wire() as wire:
            await wire.identify(shard=[2, 4])


async def test_exhausted_identify_budget_resets_sessions_and_token() -> None:
    async with strict(identifies=2) as discord, discord.wire() as first, discord.wire() as second:
        await first.identify()
        _, _, gateway = await call(discord, path="/gateway/bot")
        limit = gateway["session_start_limit"]
        assert (limit["total"], limit["remaining"], limit["max_concurrency"]) == (2, 1, 1)
        assert 86_390_000 < limit["reset_after"] <= 86_400_000
        async with discord.wire() as wire:
            await wire.identify()
        await second.hear()
        await second.say(2, IDENTIFY)
        assert await _closed(second) == 4004
        assert await _closed(first) == 4004
        assert (await call(discord))[0] == 401
        new = (await discord.look("token"))["token"]
        assert new != TOKEN
        assert (await call(discord, headers={"Authorization": f"Bot {new}"}))[0] == 200
        async with discord.wire() as wire:
            await wire.identify(token=new)


async def test_disnake_bot_does_not_identify_after_the_daily_budget() -> None:
    async with strict(identifies=0) as discord:
        bot = Bot()
        with pytest.raises(disnake.SessionStartLimitReached):
            await bot.start(TOKEN)
        await bot.close()
        assert not discord.sandbox.sessions.by_id


async def test_control_api_resets_the_token() -> None:
    async with local_discord() as discord, discord.wire() as wire:
        await wire.identify()
        new = (await discord.act("token", reset=True))["token"]
        assert await _closed(wire) == 4004
        assert (await discord.look("token"))["token"] == new != TOKEN
        assert (await discord.control("GET", "token", {"application": "1"}))[0] == 400


async def test_new_commands_count_for_the_daily_limit() -> None:
    async with strict(command_creates=2) as discord:
        path = f"/applications/{BOT}/guilds/{GUILD}/commands"
        for name in ("one", "two", "one"):
            assert (await call(discord, "POST", path, json={"name": name, "description": "d"}))[0] in (200, 201)
        status, _, body = await call(discord, "POST", path, json={"name": "three", "description": "d"})
        assert (status, body["code"]) == (400, 30034)
        assert (await call(discord, "POST", f"/applications/{BOT}/commands", json={"name": "o", "description": "d"}))[
            0
        ] == 201
        await discord.act("clock", advance_s=86_400)
        assert (await call(discord, "POST", path, json={"name": "three", "description": "d"}))[0] == 201


async def test_all_members_can_be_requested_every_30_seconds() -> None:
    async with strict() as discord, discord.wire() as wire:
        await wire.identify()
        await wire.hear_until("GUILD_CREATE")
        every = {"guild_id": int(GUILD), "query": "", "limit": 0, "nonce": "n"}
        await wire.say(8, every)
        assert len((await wire.hear())["d"]["members"]) == 4
        await wire.say(8, every)
        limited = await wire.hear()
        assert limited["t"] == "RATE_LIMITED"
        assert (limited["d"]["opcode"], limited["d"]["meta"]) == (8, {"guild_id": GUILD, "nonce": "n"})
        assert 29 < limited["d"]["retry_after"] <= 30
        await wire.say(8, {"guild_id": GUILD, "query": "a", "limit": 10})
        assert [member["user"]["username"] for member in (await wire.hear())["d"]["members"]] == ["ann"]
        await discord.act("clock", advance_s=30)
        await wire.say(8, every)
        assert (await wire.hear())["t"] == "GUILD_MEMBERS_CHUNK"


async def _closed(wire: Wire) -> int | None:
    try:
        while True:
            await wire.hear()
    except Closed as closed:
        code: int | None = closed.args[0]
        return code
