"""The sandbox's gateway, met by a real disnake bot and by bare websockets: sessions, resuming, closing, compression."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import disnake
import pytest

from botctl.sandbox.changes import add_member
from botctl.sandbox.limits import LENIENT
from tests.support.discord import BOT, GENERAL, GUILD, INTENTS, TOKEN, Bot, Closed, Discord, Wire, local_discord
from tests.support.waiting import until

Inter = disnake.ApplicationCommandInteraction


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as discord:
        yield discord


def _ping(bot: Bot) -> None:
    @bot.slash_command()
    async def ping(inter: Inter) -> None:
        """Ping."""
        await inter.response.send_message("pong")


async def test_what_a_bot_missed_while_its_connection_was_cut_is_replayed(discord: Discord) -> None:
    async with discord.bot(_ping) as bot:
        assert (await discord.act("gateway", action="drop"))["sessions"] == 1
        reply = await discord.slash("ping")
        assert reply["messages"][0]["content"] == "pong"
        await asyncio.wait_for(bot.resumed.wait(), 5)
        assert len(discord.sandbox.sessions.by_id) == 1


@pytest.mark.parametrize(
    "action",
    [
        {"action": "reconnect"},
        {"action": "invalidate", "resumable": True},
        {"action": "close", "code": 4000},
    ],
    ids=lambda action: "-".join(str(value) for value in action.values()),
)
async def test_a_bot_resumes(discord: Discord, action: dict[str, Any]) -> None:
    async with discord.bot(_ping) as bot:
        (session,) = discord.sandbox.sessions.by_id
        await discord.act("gateway", **action)
        await asyncio.wait_for(bot.resumed.wait(), 5)
        assert list(discord.sandbox.sessions.by_id) == [session]
        assert (await discord.slash("ping"))["state"] == "replied"


async def test_a_bot_whose_session_was_ended_identifies_anew(discord: Discord) -> None:
    async with discord.bot(_ping) as bot:
        (old,) = discord.sandbox.sessions.by_id
        await discord.act("gateway", action="invalidate", resumable=False)
        await until(lambda: len(discord.sandbox.sessions.connected()) == 1)
        assert old not in discord.sandbox.sessions.by_id
        assert not bot.resumed.is_set()
        assert (await discord.slash("ping"))["state"] == "replied"


async def test_a_bot_is_ended_by_a_close_code_that_says_so(discord: Discord) -> None:
    bot = Bot()
    running = asyncio.create_task(bot.start(TOKEN))
    await until(lambda: len(discord.sandbox.sessions.connected()) == 1)
    await discord.act("gateway", action="close", code=4004)
    with pytest.raises(disnake.ConnectionClosed) as closed:
        await asyncio.wait_for(running, 5)
    assert closed.value.code == 4004
    await bot.close()


@pytest.mark.parametrize("zlib", [True, False], ids=["zlib-stream", "plain"])
async def test_a_bot_connects_compressed_or_not(discord: Discord, zlib: bool) -> None:
    async with discord.bot(_ping, gateway_params=disnake.GatewayParams(zlib=zlib)):
        assert (await discord.slash("ping"))["state"] == "replied"


async def test_members_come_in_chunks() -> None:
    async with local_discord() as discord:
        for number in range(1500):
            add_member(discord.sandbox, {"name": f"member{number}"})
        async with discord.bot(intents=disnake.Intents.all() ^ disnake.Intents(presences=True)) as bot:
            assert len(bot.get_guild(int(GUILD)).members) == 1504


async def test_hello_ready_and_guilds(discord: Discord) -> None:
    async with discord.wire() as wire:
        hello = await wire.hear()
        assert (hello["op"], hello["s"], hello["d"]["heartbeat_interval"]) == (10, None, 41250)
        await wire.say(1, None, binary=True)
        assert (await wire.hear())["op"] == 11
        await wire.say(2, {"token": f"Bot {TOKEN}", "properties": {}, "intents": INTENTS}, binary=True)
        ready = await wire.hear()
        assert (ready["op"], ready["t"], ready["s"]) == (0, "READY", 1)
        assert ready["d"]["guilds"] == [{"id": GUILD, "unavailable": True}]
        assert ready["d"]["application"]["id"] == BOT
        guild = await wire.hear()
        assert (guild["t"], guild["s"], guild["d"]["id"]) == ("GUILD_CREATE", 2, GUILD)
        assert all("primary_color" in role["colors"] for role in guild["d"]["roles"])


async def test_zlib_stream_is_one_stream(discord: Discord) -> None:
    async with discord.wire("?v=10&encoding=json&compress=zlib-stream") as wire:
        await wire.identify()
        assert (await wire.hear())["t"] == "GUILD_CREATE"
        assert wire.inflator is not None


async def test_resume_replays_and_says_so(discord: Discord) -> None:
    async with discord.wire() as wire:
        ready = await wire.identify()
        await wire.hear_until("GUILD_CREATE")
        wire.socket._response.connection.transport.abort()
    for number in range(3):
        await discord.act("send", text=f"m{number}")
    async with discord.wire() as wire:
        await wire.hear()
        await wire.say(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 3})
        replayed = [await wire.hear() for _ in range(3)]
        assert [(one["s"], one["t"]) for one in replayed] == [
            (4, "MESSAGE_CREATE"),
            (5, "MESSAGE_CREATE"),
            (6, "RESUMED"),
        ]


async def test_a_session_that_its_client_closed_is_gone(discord: Discord) -> None:
    async with discord.wire() as wire:
        ready = await wire.identify()
        await wire.socket.close(code=1000)
    async with discord.wire() as wire:
        await wire.hear()
        await wire.say(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 1})
        invalid = await wire.hear()
        assert (invalid["op"], invalid["d"]) == (9, False)


IDENTIFY = {"token": TOKEN, "properties": {}, "intents": 1}


@pytest.mark.parametrize(
    ("code", "frames"),
    [
        (4001, [{"op": 77}]),
        (4002, ["{"]),
        (4002, [{"op": "2"}]),
        (4002, [{"op": 3, "d": "x" * 4096}]),
        (4003, [{"op": 3, "d": {}}]),
        (4004, [{"op": 2, "d": {**IDENTIFY, "token": "wrong"}}]),
        (4005, [{"op": 2, "d": IDENTIFY}, {"op": 2, "d": IDENTIFY}]),
        (4008, [{"op": 1, "d": None}] * 121),
        (4010, [{"op": 2, "d": {**IDENTIFY, "shard": [2, 2]}}]),
        (4013, [{"op": 2, "d": {**IDENTIFY, "intents": 1 << 40}}]),
        (4014, [{"op": 2, "d": {**IDENTIFY, "intents": 1 << 15}}]),
    ],
)
async def test_what_must_not_be_sent_closes_the_connection(discord: Discord, code: int, frames: list[Any]) -> None:
    discord.sandbox.world.applications[BOT].flags = 0
    async with discord.wire() as wire:
        for frame in frames:
            await wire.socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))
        assert await _closed(wire) == code


async def test_another_version_is_refused(discord: Discord) -> None:
    async with discord.wire("?v=8") as wire:
        assert await _closed(wire) == 4012


async def test_a_seq_that_was_never_sent_is_refused(discord: Discord) -> None:
    async with discord.wire() as first, discord.wire() as second:
        ready = await first.identify()
        await second.hear()
        await second.say(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 99})
        assert await _closed(second) == 4007


async def test_too_many_guilds_need_shards() -> None:
    async with local_discord(limits=LENIENT.but({"guilds_per_shard": 0})) as discord, discord.wire() as wire:
        await wire.say(2, IDENTIFY)
        assert await _closed(wire) == 4011


async def test_a_client_that_misses_its_heartbeats_is_closed_and_may_resume() -> None:
    limits = LENIENT.but({"heartbeat_s": 0.2})
    async with local_discord(limits=limits) as discord:
        async with discord.wire() as wire:
            ready = await wire.identify()
            assert await _closed(wire) == 4000
        assert ready["session_id"] in discord.sandbox.sessions.by_id


async def test_events_go_to_the_shard_of_their_guild(discord: Discord) -> None:
    async with discord.wire() as zero, discord.wire() as one:
        count = 2
        of_guild = (int(GUILD) >> 22) % count
        wires = [zero, one]
        readies = [await wire.identify(shard=[number, count]) for number, wire in enumerate(wires)]
        assert [len(ready["guilds"]) for ready in readies] == [1 - of_guild, of_guild]
        await discord.rest("POST", f"/channels/{GENERAL}/messages", json={"content": "hi"})
        heard = await wires[of_guild].hear_until("MESSAGE_CREATE")
        assert heard["d"]["content"] == "hi"


async def test_an_ephemeral_message_is_told_to_nobody(discord: Discord) -> None:
    async with discord.wire() as wire:
        await wire.identify()
        await discord.rest("PUT", f"/applications/{BOT}/commands", json=[{"name": "ops", "description": "Ops"}])
        await discord.slash("ops", timeout_s=0.001)
        asked = (await wire.hear_until("INTERACTION_CREATE"))["d"]
        answer = {"type": 4, "data": {"content": "secret", "flags": 64}}
        await discord.rest("POST", f"/interactions/{asked['id']}/{asked['token']}/callback", json=answer)
        await discord.rest("POST", f"/channels/{GENERAL}/messages", json={"content": "open"})
        assert (await wire.hear())["d"]["content"] == "open"
        status, listed = await discord.rest("GET", f"/channels/{GENERAL}/messages")
        assert (status, [one["content"] for one in listed]) == (200, ["open"])


async def test_a_bot_that_has_been_gone_too_long_to_answer_counts_as_gone() -> None:
    async with local_discord(limits=LENIENT.but({"response_s": 0.3})) as discord:
        async with discord.wire() as wire:
            await wire.identify()
            await discord.rest("PUT", f"/applications/{BOT}/commands", json=[{"name": "ops", "description": "Ops"}])
            await discord.act("gateway", action="drop")

        async def refused() -> bool:
            return (await discord.control("POST", "send", {"name": "ops"}))[0] == 409

        assert not await refused()  # it may still come back, and is sent what it missed
        await until(refused)


async def _closed(wire: Wire) -> int | None:
    """The code by which the server closes."""
    try:
        while True:
            await wire.hear()
    except Closed as closed:
        return closed.args[0]
