"""Recorded traffic: complete, without secrets, and replayable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import disnake
import pytest

from botctl.cli.sandbox.traffic import _replay_events, _replay_requests
from botctl.core.errors import BotctlError, UsageError
from botctl.sandbox.console.client import SandboxClient
from botctl.sandbox.console.recording import (
    IdMapping,
    format_line,
    parse_recording,
    replayable_events,
    replayable_requests,
)
from botctl.sandbox.model.oauth import Grant
from botctl.sandbox.model.redaction import PLACEHOLDER
from botctl.sandbox.model.tokens import client_secret
from tests.support.discord import ANN, BOT, GENERAL, GUILD, SECRET, TOKEN, Bot, Discord, local_discord
from tests.support.waiting import until


@asynccontextmanager
async def record(discord: Discord) -> AsyncIterator[list[str]]:
    """The growing list of recorded lines."""
    lines: list[str] = []

    async def listen(client: SandboxClient) -> None:
        async for line in client.traffic():
            lines.append(line)  # noqa: PERF401 - tests read the list while it grows

    async with SandboxClient(discord.url, SECRET) as client:
        listening = asyncio.create_task(listen(client))
        await until(lambda: bool(lines), what="the first line")
        yield lines
        listening.cancel()
        await asyncio.wait((listening,))


async def use_all_secrets(discord: Discord) -> list[str]:
    """Use every kind of secret over REST and the gateway; returns the secrets."""
    sandbox = discord.sandbox
    async with discord.wire("?v=10&encoding=json&compress=zlib-stream") as wire:
        session = (await wire.identify())["session_id"]
        command = [{"name": "ping", "description": "Ping"}]
        await discord.rest("PUT", f"/applications/{BOT}/commands", json=command)
        command_task = asyncio.create_task(discord.slash("ping"))
        interaction = (await wire.hear_until("INTERACTION_CREATE"))["d"]
        callback = f"/interactions/{interaction['id']}/{interaction['token']}/callback"
        await discord.rest("POST", callback, json={"type": 4, "data": {"content": f"It is {interaction['token']}."}})
        await command_task
        await wire.say(6, {"token": TOKEN, "session_id": session, "seq": 1})  # RESUME in a session: 4005
        _, webhook = await discord.rest("POST", f"/channels/{GENERAL}/webhooks", json={"name": "news"})
        await discord.rest("POST", f"/webhooks/{webhook['id']}/{webhook['token']}", json={"content": "extra"})
        await discord.rest("POST", f"/channels/{GENERAL}/messages", json={"content": f"{TOKEN}!"})
        _, message = await discord.rest("POST", f"/channels/{GENERAL}/messages", json={"content": "good"})
        await discord.rest("PATCH", f"/channels/{GENERAL}/messages/{message['id']}", json={"content": "better"})
        await discord.rest("GET", "/channels/1")
    code = sandbox.grants.create_code(
        Grant(BOT, ANN, ("identify",), 0.0), "http://localhost", None, sandbox.clock.monotonic()
    )
    form = {
        "client_id": BOT,
        "client_secret": client_secret(SECRET, BOT),
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "http://localhost",
    }
    async with discord.http.post(f"{discord.url}/api/v10/oauth2/token", data=form) as response:
        issued = await response.json()
    secrets = [TOKEN, SECRET, interaction["token"], webhook["token"], code, form["client_secret"]]
    return [*secrets, issued["access_token"], issued["refresh_token"]]


async def test_recording_contains_all_traffic_and_no_secret() -> None:
    async with local_discord() as discord, record(discord) as lines:
        secrets = await use_all_secrets(discord)
        await until(lambda: "/oauth2/token" in lines[-1], what="the last request")
        text = "".join(lines)
    assert len(secrets) == 8
    for number, secret in enumerate(secrets):
        assert secret not in text, number
    entries = parse_recording(text)
    replayable_events = [entry["sent"]["t"] for entry in entries if "sent" in entry]
    assert [name for name in replayable_events if name][:3] == ["READY", "GUILD_CREATE", "INTERACTION_CREATE"]
    assert next(entry["heard"] for entry in entries if "heard" in entry)["d"]["token"] == PLACEHOLDER
    calls = [
        f"{entry['rest']['method']} {entry['rest']['path']} {entry['rest']['status']}"
        for entry in entries
        if "rest" in entry
    ]
    assert f"POST /api/v10/channels/{GENERAL}/messages 200" in calls
    assert any(call.startswith("POST /api/v10/interactions/") and PLACEHOLDER in call for call in calls)
    assert entries[-1]["bot"] == ""  # a web application, not a bot


async def test_recorded_requests_are_replayed_with_current_ids(capsys: pytest.CaptureFixture[str]) -> None:
    async with local_discord() as discord, record(discord) as lines:
        await use_all_secrets(discord)
        await until(lambda: "/oauth2/token" in lines[-1], what="the last request")
        recorded_requests = list(replayable_requests(parse_recording("".join(lines))))
    assert [request.method for request in recorded_requests] == ["PUT", "POST", "POST", "PATCH", "GET"]
    async with local_discord() as other:
        async with SandboxClient(other.url, SECRET) as client:
            assert await _replay_requests(client, recorded_requests)
            assert capsys.readouterr().out == "5 requests: no differences.\n"
            await other.act("world", edit_role={"role": "botctl-bot", "deny": ["MANAGE_WEBHOOKS"]})
            assert not await _replay_requests(client, recorded_requests)
        _, messages = await other.rest("GET", f"/channels/{GENERAL}/messages")
    assert capsys.readouterr().out == (
        f"POST /api/v10/channels/{GENERAL}/webhooks: 403 instead of 200\n1 of 5 requests got another status.\n"
    )
    assert "better" in [message["content"] for message in messages]  # the PATCH reached the new message


async def test_recording_needs_the_secret_and_a_running_sandbox() -> None:
    async with local_discord() as discord:
        async with SandboxClient(discord.url, "guessed") as client:
            with pytest.raises(BotctlError, match="control secret"):
                await anext(client.traffic())
        assert not discord.running.traffic.has_subscribers
        url = discord.url
    async with SandboxClient(url, SECRET) as client:
        with pytest.raises(BotctlError, match="does not answer"):
            await anext(client.traffic())


def test_slow_recorder_gets_the_number_of_missed_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    from botctl.sandbox.model.default_world import default_world
    from botctl.sandbox.sandbox import Access, Sandbox
    from botctl.sandbox.web import traffic

    monkeypatch.setattr(traffic, "_MAX_QUEUED", 2)
    publisher = traffic.Traffic(Sandbox(default_world(), Access({TOKEN: BOT}, SECRET)))
    with publisher.subscribe() as queue:
        for code in range(4):
            publisher.record_frame(1, BOT, "closed", code)
        assert [json.loads(queue.get_nowait())["closed"] for _ in range(2)] == [0, 1]
        publisher.record_frame(1, BOT, "closed", 4)
        assert [json.loads(queue.get_nowait()) for _ in range(1)] == [{"missed": 2}]


HEAD = '{"at": "2026-01-01T00:00:00+00:00", "traffic": 1}\n'


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ({"missed": 3}, "… 3 lines were missed: the recorder was too slow"),
        (
            {"rest": {"method": "GET", "path": "/x", "query": {"a": "1"}, "body": None, "status": 200, "answer": 1}},
            "10:11:12.130 dice → GET /x?a=1 200",
        ),
        ({"connection": 1, "sent": {"op": 0, "t": "READY", "s": 1, "d": {"v": 10}}}, 'dice ← READY 1 {"v": 10}'),
        ({"connection": 1, "heard": {"op": 1, "d": None}}, "dice → HEARTBEAT"),
        ({"connection": 1, "heard": "(3 bytes that are no JSON)"}, "dice → (3 bytes that are no JSON)"),
        ({"connection": 2, "closed": 4004}, "dice ← closes connection 2 with 4004"),
    ],
)
def test_each_entry_is_rendered_as_one_line(line: dict[str, Any], text: str) -> None:
    assert format_line({"at": "2026-01-01T10:11:12.130000+00:00", "bot": "dice", **line}).endswith(text)


def test_truncated_recording_is_read_up_to_the_cut() -> None:
    assert parse_recording(HEAD + '{"missed": 1}\n{"at": "2026') == [{"missed": 1}]
    for text in ("", "hello\n", '{"traffic": 2}\n', HEAD + "[]\n{}\n"):
        with pytest.raises(UsageError, match="recording"):
            parse_recording(text)


def test_ids_are_learned_from_two_responses_to_one_request() -> None:
    renaming = IdMapping()
    renaming.learn({"id": GUILD, "list": [{"id": ANN}], "n": 1}, {"id": "1" * 18, "list": [{"id": "2" * 18}], "n": 2})
    assert renaming(f"/guilds/{GUILD}/members/{ANN}/{BOT}") == f"/guilds/{'1' * 18}/members/{'2' * 18}/{BOT}"
    assert renaming(None) is None


async def test_recorded_events_are_replayed_to_connected_bots(capsys: pytest.CaptureFixture[str]) -> None:
    """A bot that fails on an event can be tested with the same event."""
    contents: list[str] = []

    def listen(bot: Bot) -> None:
        @bot.listen()
        async def on_message(message: disnake.Message) -> None:
            contents.append(message.content)

    async with local_discord() as discord:
        async with discord.bot(listen, intents=disnake.Intents.all()):
            async with record(discord) as lines:
                await discord.act("send", text="once", **{"as": "bob"})
                await until(lambda: contents == ["once"])
                await until(lambda: any("MESSAGE_CREATE" in line for line in lines))
            recorded_events = list(replayable_events(parse_recording("".join(lines))))
            assert [event.event for event in recorded_events] == ["MESSAGE_CREATE"]
            async with SandboxClient(discord.url, SECRET) as client:
                assert await _replay_events(client, recorded_events)
                await until(lambda: contents == ["once", "once"])
                assert "1 of 1 events were sent again." in capsys.readouterr().out
        await until(lambda: not discord.sandbox.sessions.by_id)
        async with SandboxClient(discord.url, SECRET) as client:
            assert not await _replay_events(client, recorded_events)
        assert "1 were not delivered: botctl-bot is not connected" in capsys.readouterr().out


def test_session_events_and_events_with_secrets_are_not_replayed() -> None:
    sent = [
        {"op": 0, "t": "READY", "d": {}},
        {"op": 0, "t": "INTERACTION_CREATE", "d": {"token": PLACEHOLDER}},
        {"op": 11, "t": None, "d": None},
        {"op": 0, "t": "TYPING_START", "d": {"user_id": "1"}},
    ]
    assert [event.event for event in replayable_events({"bot": "b", "sent": event} for event in sent)] == [
        "TYPING_START"
    ]
