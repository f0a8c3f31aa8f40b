"""The gateway with a disnake bot and with plain websockets: sessions, resuming, closing, compression."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import disnake
import pytest

from botctl.sandbox.actions.world_changes import add_member
from botctl.sandbox.model import permission_bits, permissions
from botctl.sandbox.model.limits import LENIENT
from botctl.sandbox.model.world import Channel, Overwrite
from tests.support.discord import ANN, BOT, GENERAL, GUILD, INTENTS, TOKEN, Bot, Closed, Discord, Wire, local_discord
from tests.support.waiting import LIMIT_S, NO_WAIT_S, until

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


async def test_resume_replays_events_missed_while_disconnected(discord: Discord) -> None:
    async with discord.bot(_ping) as bot:
        assert (await discord.act("gateway", action="drop"))["sessions"] == 1
        reply = await discord.slash("ping")
        assert reply["messages"][0]["content"] == "pong"
        await asyncio.wait_for(bot.resumed.wait(), LIMIT_S)
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
        await asyncio.wait_for(bot.resumed.wait(), LIMIT_S)
        assert list(discord.sandbox.sessions.by_id) == [session]
        assert (await discord.slash("ping"))["state"] == "replied"


@pytest.mark.parametrize(
    "ended",
    [
        {"action": "invalidate", "resumable": False},
        {"action": "close", "code": 4007},
        {"action": "close", "code": 4009},  # Discord: "start a new session"
    ],
)
async def test_bot_identifies_again_after_its_session_ended(discord: Discord, ended: dict[str, Any]) -> None:
    async with discord.bot(_ping) as bot:
        (old,) = discord.sandbox.sessions.by_id
        await discord.act("gateway", **ended)
        await until(lambda: len(discord.sandbox.sessions.connected()) == 1)
        assert old not in discord.sandbox.sessions.by_id
        assert not bot.resumed.is_set()
        assert (await discord.slash("ping"))["state"] == "replied"


async def test_fatal_close_code_ends_a_disnake_bot(discord: Discord) -> None:
    bot = Bot()
    running = asyncio.create_task(bot.start(TOKEN))
    await until(lambda: len(discord.sandbox.sessions.connected()) == 1)
    await discord.act("gateway", action="close", code=4004)
    with pytest.raises(disnake.ConnectionClosed) as closed:
        await asyncio.wait_for(running, LIMIT_S)
    assert closed.value.code == 4004
    await bot.close()


@pytest.mark.parametrize("zlib", [True, False], ids=["zlib-stream", "plain"])
async def test_bot_connects_with_and_without_compression(discord: Discord, zlib: bool) -> None:
    async with discord.bot(_ping, gateway_params=disnake.GatewayParams(zlib=zlib)):
        assert (await discord.slash("ping"))["state"] == "replied"


async def test_members_arrive_in_chunks() -> None:
    async with local_discord() as discord:
        for number in range(1500):
            add_member(discord.sandbox, {"name": f"member{number}"})
        async with discord.bot(intents=disnake.Intents.all() ^ disnake.Intents(presences=True)) as bot:
            assert len(bot.get_guild(int(GUILD)).members) == 1504


async def test_identify_receives_hello_ready_and_guilds(discord: Discord) -> None:
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


@pytest.mark.parametrize("stream", ["zlib-stream", "zstd-stream"])
async def test_compressed_frames_equal_plain_frames(discord: Discord, stream: str) -> None:
    async with discord.wire() as plain, discord.wire(f"?v=10&encoding=json&compress={stream}") as wire:
        readies = [await wire_.identify() for wire_ in (plain, wire)]
        assert [{**ready, "session_id": ""} for ready in readies[1:]] == [{**readies[0], "session_id": ""}]
        for _ in range(3):
            assert await wire.hear() == await plain.hear()
            await discord.act("send", text="more of the same, " * 20)


async def test_identify_can_enable_payload_compression(discord: Discord) -> None:
    async with discord.wire() as wire:
        wire.inflate = zlib.decompress
        await wire.identify(compress=True)
        assert (await wire.hear())["t"] == "GUILD_CREATE"
        await wire.say(1, None)
        assert (await wire.hear())["op"] == 11


@pytest.mark.parametrize(
    ("query", "message"), [("encoding=etf", "json, not etf"), ("compress=brotli", "Unknown compression brotli")]
)
async def test_unsupported_encoding_is_explained(discord: Discord, query: str, message: str) -> None:
    async with discord.wire(f"?v=10&{query}") as wire:
        await wire.hear()
        frame = await wire.socket.receive(timeout=LIMIT_S)
        assert (wire.socket.close_code, message in str(frame.extra)) == (4002, True)


async def test_resume_replays_and_sends_resumed(discord: Discord) -> None:
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
        assert [(payload["s"], payload["t"]) for payload in replayed] == [
            (4, "MESSAGE_CREATE"),
            (5, "MESSAGE_CREATE"),
            (6, "RESUMED"),
        ]


@pytest.mark.parametrize("appended", ["/?v=10&encoding=json", "?v=10", "/", ""])
async def test_resume_url_is_a_bare_host(discord: Discord, appended: str) -> None:
    async with discord.wire() as wire:
        ready = await wire.identify()
        wire.socket._response.connection.transport.abort()
    assert ready["resume_gateway_url"].count("/") == 2
    async with discord.http.ws_connect(ready["resume_gateway_url"] + appended) as socket:
        wire = Wire(socket)
        await wire.hear()
        await wire.say(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 1})
        await wire.hear_until("RESUMED")


async def test_session_closed_by_its_client_cannot_resume(discord: Discord) -> None:
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
async def test_invalid_frame_closes_the_connection(discord: Discord, code: int, frames: list[Any]) -> None:
    discord.sandbox.world.applications[BOT].flags = 0
    async with discord.wire() as wire:
        for frame in frames:
            await wire.socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))
        assert await _closed(wire) == code


async def test_unknown_file_version_is_refused(discord: Discord) -> None:
    async with discord.wire("?v=8") as wire:
        assert await _closed(wire) == 4012


async def test_resume_with_future_seq_is_refused(discord: Discord) -> None:
    async with discord.wire() as first, discord.wire() as second:
        ready = await first.identify()
        await second.hear()
        await second.say(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 99})
        assert await _closed(second) == 4007


async def test_too_many_guilds_require_sharding() -> None:
    async with local_discord(limits=LENIENT.replace({"guilds_per_shard": 0})) as discord, discord.wire() as wire:
        await wire.say(2, IDENTIFY)
        assert await _closed(wire) == 4011


async def test_client_without_heartbeats_is_closed_and_may_resume() -> None:
    limits = LENIENT.replace({"heartbeat_s": 0.2})
    async with local_discord(limits=limits) as discord:
        async with discord.wire() as wire:
            ready = await wire.identify()
            assert await _closed(wire) == 4000
        assert ready["session_id"] in discord.sandbox.sessions.by_id


async def test_connection_without_identify_or_heartbeat_closes_with_4009() -> None:
    async with local_discord(limits=LENIENT.replace({"heartbeat_s": 0.1})) as discord, discord.wire() as wire:
        assert await _closed(wire) == 4009


async def test_resume_with_future_seq_ends_the_session(discord: Discord) -> None:
    async with discord.wire() as first:
        ready = await first.identify()
        first.socket._response.connection.transport.abort()
    await until(lambda: not discord.sandbox.sessions.connected())
    async with discord.wire() as wire:
        await wire.hear()
        await wire.say(6, {"token": TOKEN, "session_id": ready["session_id"], "seq": 99})
        assert await _closed(wire) == 4007
    assert not discord.sandbox.sessions.by_id


async def test_unsupported_opcodes_are_accepted(discord: Discord) -> None:
    presence = {"status": "idle", "activities": [], "afk": False, "since": None}
    async with discord.wire() as wire:
        await wire.identify()
        await wire.hear_until("GUILD_CREATE")
        await wire.say(3, presence)  # dispatched to sessions with the intent
        await wire.say(4, {"guild_id": GUILD, "channel_id": None, "self_mute": False, "self_deaf": False})
        await wire.say(31, {"guild_ids": [GUILD]})
        await wire.say(43, {"guild_id": GUILD, "fields": []})
        await wire.say(1, None)
        assert (await wire.hear())["op"] == 11


async def test_presence_is_dispatched_to_bots_with_the_intent(discord: Discord) -> None:
    async with discord.wire() as bot, discord.wire() as other:
        await bot.identify()
        await other.identify(intents=1 << 8)
        await bot.say(3, {"status": "invisible", "activities": [{"name": "x", "type": 0}], "afk": False, "since": None})
        event = (await other.hear_until("PRESENCE_UPDATE"))["d"]
        assert (event["user"]["id"], event["status"], event["guild_id"]) == (BOT, "offline", GUILD)
        assert event["activities"][0]["name"] == "x"


async def test_members_are_requested_by_name_and_by_id(discord: Discord) -> None:
    for number in range(120):
        add_member(discord.sandbox, {"name": f"zoe{number:03}"})
    async with discord.wire() as wire:
        await wire.identify(intents=INTENTS | 1 << 8)
        await wire.hear_until("GUILD_CREATE")

        async def chunk(**request: Any) -> dict[str, Any]:
            await wire.say(8, {"guild_id": GUILD, **request})
            return (await wire.hear_until("GUILD_MEMBERS_CHUNK"))["d"]

        assert len((await chunk(query="zoe", limit=0))["members"]) == 100
        assert len((await chunk(query="zoe", limit=7))["members"]) == 7
        payload = await chunk(user_ids=[BOT, "1"], presences=True, nonce="n" * 33)
        assert ([member["user"]["id"] for member in payload["members"]], payload["not_found"]) == ([BOT], ["1"])
        assert (payload["presences"], "nonce" in payload) == ([], False)
        assert (await chunk(user_ids=BOT, nonce="\ud800"))["nonce"] == "\ud800"  # half a character


async def test_large_guild_is_sent_without_members(discord: Discord) -> None:
    for number in range(60):
        add_member(discord.sandbox, {"name": f"member{number}"})
    for asked, shown in ((None, 1), (50, 1), (250, 64)):
        async with discord.wire() as wire:
            await wire.identify(intents=1 | 1 << 1 | 1 << 8, large_threshold=asked)
            guild = (await wire.hear_until("GUILD_CREATE"))["d"]
            assert (len(guild["members"]), guild["member_count"], guild["large"]) == (shown, 64, shown == 1)


async def test_bot_receives_own_member_update_without_intent(discord: Discord) -> None:
    async with discord.wire() as wire:
        await wire.identify(intents=1)
        await wire.hear_until("GUILD_CREATE")
        guild = discord.sandbox.world.guilds[GUILD]
        discord.sandbox.emit_member_update(guild, guild.members[ANN])
        discord.sandbox.emit_member_update(guild, guild.members[BOT])
        assert (await wire.hear())["d"]["user"]["id"] == BOT


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


async def test_ephemeral_message_is_not_dispatched(discord: Discord) -> None:
    async with discord.wire() as wire:
        await wire.identify()
        await discord.rest("PUT", f"/applications/{BOT}/commands", json=[{"name": "ops", "description": "Ops"}])
        await discord.slash("ops", timeout_s=NO_WAIT_S)
        event = (await wire.hear_until("INTERACTION_CREATE"))["d"]
        answer = {"type": 4, "data": {"content": "secret", "flags": 64}}
        await discord.rest("POST", f"/interactions/{event['id']}/{event['token']}/callback", json=answer)
        await discord.rest("POST", f"/channels/{GENERAL}/messages", json={"content": "open"})
        assert (await wire.hear())["d"]["content"] == "open"
        status, messages = await discord.rest("GET", f"/channels/{GENERAL}/messages")
        assert (status, [message["content"] for message in messages]) == (200, ["open"])


async def test_bot_lost_longer_than_the_deadline_is_unreachable() -> None:
    async with local_discord(limits=LENIENT.replace({"response_s": 0.3})) as discord:
        async with discord.wire() as wire:
            await wire.identify()
            await discord.rest("PUT", f"/applications/{BOT}/commands", json=[{"name": "ops", "description": "Ops"}])
            await discord.act("gateway", action="drop")

        async def refused() -> bool:
            return (await discord.control("POST", "send", {"name": "ops"}))[0] == 409

        assert not await refused()  # it may still resume
        await until(refused)


async def _closed(wire: Wire) -> int | None:
    """The server's close code."""
    try:
        while True:
            await wire.hear()
    except Closed as closed:
        return closed.args[0]


async def test_all_members_need_the_intent_and_the_right_shard(discord: Discord) -> None:
    """Discord sends no response: client libraries run into their timeouts."""
    count = 2
    foreign = ((int(GUILD) >> 22) + 1) % count
    async with discord.wire() as unprivileged, discord.wire() as elsewhere:
        await unprivileged.identify(intents=1)
        await unprivileged.hear_until("GUILD_CREATE")
        await unprivileged.say(8, {"guild_id": GUILD, "query": "", "limit": 0, "nonce": "all"})
        await unprivileged.say(8, {"guild_id": GUILD, "query": "ann", "limit": 1, "nonce": "some"})
        assert (await unprivileged.hear())["d"]["nonce"] == "some"
        await elsewhere.identify(shard=[foreign, count])
        await elsewhere.say(8, {"guild_id": GUILD, "user_ids": [ANN]})
        discord.sandbox.world.guilds[GUILD].available = False
        await unprivileged.say(8, {"guild_id": GUILD, "user_ids": [ANN]})
        await unprivileged.say(1, None)
        assert (await unprivileged.hear())["op"] == 11
        await elsewhere.say(1, None)
        assert (await elsewhere.hear())["op"] == 11


async def test_without_content_intent_other_messages_are_empty(discord: Discord) -> None:
    async with discord.wire() as wire:
        await wire.identify(intents=INTENTS & ~(1 << 15))

        async def heard() -> dict[str, Any]:
            return (await wire.hear_until("MESSAGE_CREATE"))["d"]

        secret = (await discord.act("send", text="secret", **{"as": "ann"}))["messages"][0]["id"]
        assert (await heard())["content"] == ""
        await discord.act("send", text=f"<@{BOT}> hear me", reply_to=secret, **{"as": "bob"})
        called = await heard()
        assert (called["content"], called["referenced_message"]["content"]) == (f"<@{BOT}> hear me", "")
        own = {"content": "mine", "message_reference": {"message_id": secret}}
        await discord.rest("POST", f"/channels/{GENERAL}/messages", json=own)
        event = await heard()
        assert (event["content"], event["referenced_message"]["content"]) == ("mine", "")
        await discord.act("send", text="between us", dm="botctl-bot", **{"as": "ann"})
        assert (await heard())["content"] == "between us"


async def test_hidden_channel_is_dispatched_without_details(discord: Discord) -> None:
    """In the gateway; REST omits it. Mandatory for all bots since 16 November 2026."""
    guild = discord.sandbox.world.guilds[GUILD]
    everyone, own = guild.roles[GUILD], guild.roles[guild.members[BOT].roles[0]]
    guild.channels[GENERAL].topic = "secret"
    for role in (everyone, own):
        role.permissions &= ~permission_bits.VIEW
    async with discord.wire() as wire:
        await wire.identify(intents=1)
        event = (await wire.hear_until("GUILD_CREATE"))["d"]["channels"][0]
        overwrite = {"id": GUILD, "type": 0, "allow": "0", "deny": str(permission_bits.VIEW)}
        assert (event["id"], event["name"], event["topic"], event["flags"]) == (GENERAL, "___hidden___", None, 1 << 17)
        assert event["permission_overwrites"] == [overwrite]
        assert await discord.rest("GET", f"/guilds/{GUILD}/channels") == (200, [])
        await discord.act("world", add_channel={"name": "more"})
        assert (await wire.hear())["d"]["name"] == "___hidden___"
        await discord.act("world", edit_role={"role": own.name, "allow": ["VIEW_CHANNEL"]})
        await wire.hear_until("GUILD_ROLE_UPDATE")
        assert {(await wire.hear())["d"]["name"] for _ in range(3)} == {"general", "staff", "more"}
        await discord.act("world", set_overwrite={"channel": "staff", "role": own.name, "deny": ["VIEW_CHANNEL"]})
        assert (await wire.hear_until("CHANNEL_UPDATE"))["d"]["name"] == "___hidden___"


async def test_category_is_visible_through_its_channels(discord: Discord) -> None:
    world = discord.sandbox.world
    guild = world.guilds[GUILD]
    category = world.add_channel(Channel("900000000000000303", GUILD, "Place", type=4))
    category.overwrites = {GUILD: Overwrite(GUILD, 0, deny=permission_bits.VIEW)}
    assert not permissions.can_see(world, guild, guild.members[BOT], category)
    guild.channels[GENERAL].parent_id = category.id
    assert permissions.can_see(world, guild, guild.members[BOT], category)


@pytest.mark.parametrize(("kept", "heard"), [(["BAN_MEMBERS"], True), (["VIEW_AUDIT_LOG"], True), ([], False)])
async def test_ban_events_need_ban_members_or_view_audit_log(discord: Discord, kept: list[str], heard: bool) -> None:
    """discord-api-docs#7948."""
    guild = discord.sandbox.world.guilds[GUILD]
    guild.roles[guild.members[BOT].roles[0]].permissions = permission_bits.bits(*kept)
    async with discord.wire() as wire:
        await wire.identify(intents=1 << 1 | 1 << 2)
        await discord.act("world", ban={"user": "cat"})
        assert (await wire.hear())["t"] == ("GUILD_BAN_ADD" if heard else "GUILD_MEMBER_REMOVE")
