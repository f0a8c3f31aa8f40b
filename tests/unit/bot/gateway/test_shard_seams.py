"""What botctl's shards rely on in the pinned disnake. When one fails, look at `bot.gateway.shards` again."""

from __future__ import annotations

import asyncio
import inspect
import json
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import disnake
import pytest
from disnake.ext import commands
from disnake.gateway import DiscordWebSocket
from disnake.state import AutoShardedConnectionState, ChunkRequest

from botctl.bot.gateway.guild_payloads import is_worth_storing
from botctl.bot.gateway.shards import TABLE
from botctl.bot.gateway.socket import CLAIMED, MARK_S, GatewaySocket
from tests.support.bots import BOT
from tests.support.offline import Offline, offline, user

MEMBER = {"user": user("bot", BOT), "roles": [], "joined_at": "2026-01-01T00:00:00+00:00", "deaf": False, "mute": False}
GUILD: Any = {"id": "7", "name": "g", "owner_id": "1", "roles": [], "members": [MEMBER], "member_count": 1}


@pytest.fixture
async def bot():
    with offline() as made:
        yield made


def stand_in(number: int, latency_s: float, *, is_open: bool = True) -> Any:
    """A shard as disnake uses it."""
    ws = SimpleNamespace(
        latency=latency_s, open=is_open, is_ratelimited=lambda: False, change_presence=AsyncMock(), shard_id=number
    )
    return SimpleNamespace(id=number, ws=ws)


async def test_authors_see_the_shards_of_the_private_table(bot: Offline):
    """``latencies``, ``get_shard``, ``shards``, ``change_presence`` and the websocket of a guild."""
    client = bot.bot
    assert getattr(client, TABLE) == {}
    assert client.latency != client.latency
    table = {0: stand_in(0, 0.1), 1: stand_in(1, 0.3), 2: stand_in(2, float("inf"), is_open=False)}
    getattr(client, TABLE).update(table)
    client.shard_count = client._connection.shard_count = 3
    assert client.latencies == [(0, 0.1), (1, 0.3), (2, float("inf"))]
    assert client.latency == pytest.approx(0.2)
    assert (client.shards[1].id, client.get_shard(1).latency, client.get_shard(2).is_closed()) == (1, 0.3, True)
    assert client.get_shard(7) is None
    assert client._get_websocket(1 << 22) is table[1].ws
    assert not client.is_ws_ratelimited()
    await client.change_presence(activity=disnake.Game("x"))
    assert all(shard.ws.change_presence.await_count == 1 for shard in table.values())


async def test_client_is_what_authors_look_for(bot: Offline):
    assert isinstance(bot.bot, commands.InteractionBot)
    assert isinstance(bot.bot, disnake.AutoShardedClient)
    assert isinstance(bot.bot._connection, AutoShardedConnectionState)
    assert bot.bot.shard_id is None


async def test_websocket_logs_in_only_when_it_is_told(bot: Offline, monkeypatch: pytest.MonkeyPatch):
    """disnake would send IDENTIFY in `from_client`; here that waits for the gate. The shard is in it."""
    client, entered, sent = bot.bot, [], []
    monkeypatch.setattr(client.gateway, "enter_gate", AsyncMock(side_effect=entered.append))
    monkeypatch.setattr(client.http, "ws_connect", AsyncMock(return_value=SimpleNamespace(closed=False)))
    monkeypatch.setattr(DiscordWebSocket, "poll_event", AsyncMock())
    monkeypatch.setattr(DiscordWebSocket, "send_as_json", AsyncMock(side_effect=sent.append))
    client.http.token = "x"
    client._connection.shard_count = 4
    connect: dict[str, Any] = {"gateway": "ws://common.example", "shard_id": 2}
    ws = await GatewaySocket.from_client(cast(Any, client), **connect)
    assert (entered, sent) == ([], [])
    await ws.log_in()
    assert (entered, [(frame["op"], frame["d"]["shard"]) for frame in sent]) == ([2], [(2, (2, 4))])
    ws = await GatewaySocket.from_client(cast(Any, client), session="s", sequence=7, resume=True, **connect)
    await ws.resume_session()
    assert (entered, sent[1]["d"]) == ([2], {"seq": 7, "session_id": "s", "token": "x"})


async def test_event_is_heard_before_it_is_parsed_and_when_its_listeners_have_begun(
    bot: Offline, monkeypatch: pytest.MonkeyPatch
):
    """disnake looks up a parser by the name of the event, and starts listeners as tasks, in this order."""
    client, heard = bot.bot, []

    async def listen(_: Any) -> None:
        heard.append("listener")

    client.add_listener(listen, "on_raw_message_delete")
    monkeypatch.setattr(client.http, "ws_connect", AsyncMock(return_value=SimpleNamespace(closed=False)))
    with monkeypatch.context() as patch:
        patch.setattr(DiscordWebSocket, "poll_event", AsyncMock())
        ws = await GatewaySocket.from_client(cast(Any, client), gateway="ws://common.example", shard_id=0)

    def before(event: str, data: Any, text: str) -> bool:
        heard.append((event, data["id"], text[:7]))
        return True

    ws.watch(before, lambda number: heard.append(-number), heard.append)
    for number in (7, 8):
        data = f'{{"id":"{number}","channel_id":"2","guild_id":"3"}}'
        await ws.received_message(f'{{"op":0,"t":"MESSAGE_DELETE","s":{number},"d":{data}}}')
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await ws.received_message('{"op":0,"t":"OF_TOMORROW","s":9,"d":{}}')
    first = '{"op":0'
    assert heard == [
        *[("MESSAGE_DELETE", "7", first), -7, "listener", 7],
        *[("MESSAGE_DELETE", "8", first), -8, "listener", 8],
    ]
    heard.clear()
    await ws.received_message('{"op":0,"t":"INTERACTION_CREATE","s":10,"d":{"id":"1"}}')  # it cannot be read
    await asyncio.sleep(0)
    assert heard == [(CLAIMED, "1", first), 10], "it is claimed: there is no doubt about it"


async def test_events_that_arrive_together_are_marked_one_by_one(bot: Offline, monkeypatch: pytest.MonkeyPatch):
    """So at most one of them is in doubt after a kill."""
    client, heard = bot.bot, []
    for name in ("first", "second"):

        async def listen(_: Any, name: str = name) -> None:
            heard.append(name)
            await asyncio.sleep(0)

        client.add_listener(listen, "on_raw_message_delete")
    monkeypatch.setattr(client.http, "ws_connect", AsyncMock(return_value=SimpleNamespace(closed=False)))
    with monkeypatch.context() as patch:
        patch.setattr(DiscordWebSocket, "poll_event", AsyncMock())
        ws = await GatewaySocket.from_client(cast(Any, client), gateway="ws://common.example", shard_id=0)
    ws.watch(
        lambda *_: True, lambda number: heard.append(f"begin {number}"), lambda number: heard.append(f"end {number}")
    )
    for number in (7, 8):
        data = f'{{"id":"{number}","channel_id":"2","guild_id":"3"}}'
        await ws.received_message(f'{{"op":0,"t":"MESSAGE_DELETE","s":{number},"d":{data}}}')
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert heard == [word for n in (7, 8) for word in (f"begin {n}", "first", "second", f"end {n}")]


@pytest.mark.looptime
async def test_guilds_that_no_listener_hears_of_are_marked_together(bot: Offline, monkeypatch: pytest.MonkeyPatch):
    """disnake only puts them into a queue until the bot is ready."""
    client, heard = bot.bot, []
    client.shard_count = client._connection.shard_count = 1
    ready = {"session_id": "s", "user": {**user(), "bot": True}, "guilds": [], "application": {"id": "1", "flags": 0}}
    assert not client.gateway.is_filling
    client._connection.restore(ready | {"__shard_id__": 0}, [])
    client._connection._ready_task.cancel()
    assert client.gateway.is_filling
    client.add_listener(AsyncMock(side_effect=lambda _: heard.append("listener")), "on_guild_join")
    monkeypatch.setattr(client.http, "ws_connect", AsyncMock(return_value=SimpleNamespace(closed=False)))
    with monkeypatch.context() as patch:
        patch.setattr(DiscordWebSocket, "poll_event", AsyncMock())
        ws = await GatewaySocket.from_client(cast(Any, client), gateway="ws://common.example", shard_id=0)
    ws.watch(lambda *_: not client.gateway.is_filling, lambda number: heard.append(-number), heard.append)
    for number in (7, 8):
        await ws.received_message(f'{{"op":0,"t":"GUILD_CREATE","s":{number},"d":{{"id":"{number}","name":"x"}}}}')
    assert sorted(client._connection._guilds) == [7, 8]
    await asyncio.sleep(MARK_S * 2)
    assert heard == [8]
    await ws.received_message('{"op":0,"t":"GUILD_CREATE","s":9,"d":{"id":"9","name":"x"}}')
    ws.socket.close = AsyncMock()
    await ws.close()
    await asyncio.sleep(MARK_S * 2)
    assert heard == [8]


async def test_question_is_sent_and_its_answer_changes_nothing_in_disnake(
    bot: Offline, monkeypatch: pytest.MonkeyPatch
):
    """Neither the bot's member nor what an author has asked for; see `hearing`."""
    client, sent = bot.bot, []
    state: Any = client._connection
    monkeypatch.setattr(client.http, "ws_connect", AsyncMock(return_value=SimpleNamespace(closed=False)))
    with monkeypatch.context() as patch:
        patch.setattr(DiscordWebSocket, "poll_event", AsyncMock())
        ws = await GatewaySocket.from_client(cast(Any, client), gateway="ws://common.example", shard_id=0)
    monkeypatch.setattr(ws, "send_as_json", AsyncMock(side_effect=sent.append))
    me = state.user = disnake.ClientUser(state=state, data=user("bot", BOT))
    state._users[me.id] = me
    state._add_guild_from_data(GUILD)
    asked = ChunkRequest(int(GUILD["id"]), client.loop, state._get_guild)
    state._chunk_requests["asked by an author"] = asked
    before = list(state._get_guild(7).members)
    await ws.request_member(7, "hearing-1")
    assert sent == [{"op": 8, "d": {"guild_id": "7", "user_ids": [BOT], "nonce": "hearing-1"}}]
    chunk = {"guild_id": "7", "members": [MEMBER], "chunk_index": 0, "chunk_count": 1, "nonce": "hearing-1"}
    await ws.received_message(json.dumps({"op": 0, "t": "GUILD_MEMBERS_CHUNK", "s": 9, "d": chunk}))
    assert (state.user, state._users, list(state._get_guild(7).members)) == (me, {me.id: me}, before)
    assert (asked.buffer, len(state._chunk_requests), ws.sequence) == ([], 1, 9)
    assert not is_worth_storing("GUILD_MEMBERS_CHUNK", chunk, BOT)


async def test_greeting_that_does_not_come_leaves_no_connection_open(bot: Offline, monkeypatch: pytest.MonkeyPatch):
    socket = SimpleNamespace(closed=False, close=AsyncMock())
    monkeypatch.setattr(bot.bot.http, "ws_connect", AsyncMock(return_value=socket))
    monkeypatch.setattr(DiscordWebSocket, "poll_event", AsyncMock(side_effect=TimeoutError))
    with pytest.raises(TimeoutError):
        await GatewaySocket.from_client(cast(Any, bot.bot), gateway="ws://common.example", shard_id=0)
    socket.close.assert_awaited_once_with(code=4000)


async def test_bot_waits_for_all_shards_before_it_is_ready(bot: Offline):
    """disnake sets ``shards_launched`` when all have sent IDENTIFY; here it is set when all have their guilds' list."""
    state = bot.bot._connection
    state.shard_ids = range(2)
    state._ready_state, state.guild_ready_timeout = asyncio.Queue(), 0.0
    waiting = asyncio.create_task(state._delay_ready())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    state.shards_launched.set()
    await waiting
    assert bot.bot.is_ready()


def test_own_runner_of_disnake_still_starts_shards_one_after_the_other():
    """When this fails, disnake may respect max_concurrency, and our runner may have had its day."""
    source = inspect.getsource(disnake.AutoShardedClient.launch_shards)
    assert "TODO: maybe take max_concurrency" in source
