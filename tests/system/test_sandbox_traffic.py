"""Recorded traffic: everything that was said, and no secret of anybody's; its REST part asked again."""

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
from botctl.sandbox.model.redaction import MARK
from botctl.sandbox.model.tokens import client_secret
from tests.support.discord import ANN, BOT, GENERAL, GUILD, SECRET, TOKEN, Bot, Discord, local_discord
from tests.support.waiting import until


@asynccontextmanager
async def recorded(discord: Discord) -> AsyncIterator[list[str]]:
    """The lines of the recording, which grows."""
    lines: list[str] = []

    async def listen(client: SandboxClient) -> None:
        async for line in client.traffic():
            lines.append(line)  # noqa: PERF401 - seen as they come

    async with SandboxClient(discord.url, SECRET) as client:
        listening = asyncio.create_task(listen(client))
        await until(lambda: bool(lines), what="the first line")
        yield lines
        listening.cancel()
        await asyncio.wait((listening,))


async def busy(discord: Discord) -> list[str]:
    """A bot and people at work with every kind of secret that there is; these secrets."""
    sandbox = discord.sandbox
    async with discord.wire("?v=10&encoding=json&compress=zlib-stream") as wire:
        session = (await wire.identify())["session_id"]
        command = [{"name": "ping", "description": "Ping"}]
        await discord.rest("PUT", f"/applications/{BOT}/commands", json=command)
        asked = asyncio.create_task(discord.slash("ping"))
        heard = (await wire.hear_until("INTERACTION_CREATE"))["d"]
        callback = f"/interactions/{heard['id']}/{heard['token']}/callback"
        await discord.rest("POST", callback, json={"type": 4, "data": {"content": f"It is {heard['token']}."}})
        await asked
        await wire.say(6, {"token": TOKEN, "session_id": session, "seq": 1})  # a second one: 4005
        _, hook = await discord.rest("POST", f"/channels/{GENERAL}/webhooks", json={"name": "news"})
        await discord.rest("POST", f"/webhooks/{hook['id']}/{hook['token']}", json={"content": "extra"})
        await discord.rest("POST", f"/channels/{GENERAL}/messages", json={"content": f"{TOKEN}!"})
        _, said = await discord.rest("POST", f"/channels/{GENERAL}/messages", json={"content": "good"})
        await discord.rest("PATCH", f"/channels/{GENERAL}/messages/{said['id']}", json={"content": "better"})
        await discord.rest("GET", "/channels/1")
    code = sandbox.grants.code(Grant(BOT, ANN, ("identify",), 0.0), "http://localhost", None, sandbox.clock.monotonic())
    form = {
        "client_id": BOT,
        "client_secret": client_secret(SECRET, BOT),
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "http://localhost",
    }
    async with discord.http.post(f"{discord.url}/api/v10/oauth2/token", data=form) as answer:
        made = await answer.json()
    secrets = [TOKEN, SECRET, heard["token"], hook["token"], code, form["client_secret"]]
    return [*secrets, made["access_token"], made["refresh_token"]]


async def test_a_recording_has_all_that_was_said_and_no_secret() -> None:
    async with local_discord() as discord, recorded(discord) as lines:
        secrets = await busy(discord)
        await until(lambda: "/oauth2/token" in lines[-1], what="the last request")
        text = "".join(lines)
    assert len(secrets) == 8
    for number, secret in enumerate(secrets):
        assert secret not in text, number
    found = parse_recording(text)
    replayable_events = [one["sent"]["t"] for one in found if "sent" in one]
    assert [name for name in replayable_events if name][:3] == ["READY", "GUILD_CREATE", "INTERACTION_CREATE"]
    assert next(one["heard"] for one in found if "heard" in one)["d"]["token"] == MARK
    calls = [f"{one['rest']['method']} {one['rest']['path']} {one['rest']['status']}" for one in found if "rest" in one]
    assert f"POST /api/v10/channels/{GENERAL}/messages 200" in calls
    assert any(one.startswith("POST /api/v10/interactions/") and MARK in one for one in calls)
    assert found[-1]["bot"] == ""  # a web application, not a bot


async def test_its_requests_are_asked_again_with_the_ids_of_now(capsys: pytest.CaptureFixture[str]) -> None:
    async with local_discord() as discord, recorded(discord) as lines:
        await busy(discord)
        await until(lambda: "/oauth2/token" in lines[-1], what="the last request")
        asked = list(replayable_requests(parse_recording("".join(lines))))
    assert [one.method for one in asked] == ["PUT", "POST", "POST", "PATCH", "GET"]
    async with local_discord() as other:
        async with SandboxClient(other.url, SECRET) as client:
            assert await _replay_requests(client, asked)
            assert capsys.readouterr().out == "5 requests: no differences.\n"
            await other.act("world", edit_role={"role": "botctl-bot", "deny": ["MANAGE_WEBHOOKS"]})
            assert not await _replay_requests(client, asked)
        _, said = await other.rest("GET", f"/channels/{GENERAL}/messages")
    assert capsys.readouterr().out == (
        f"POST /api/v10/channels/{GENERAL}/webhooks: 403 instead of 200\n1 of 5 requests got another status.\n"
    )
    assert "better" in [one["content"] for one in said]  # the PATCH has met the message of now


async def test_nobody_listens_without_the_secret_or_to_nobody() -> None:
    async with local_discord() as discord:
        async with SandboxClient(discord.url, "guessed") as client:
            with pytest.raises(BotctlError, match="control secret"):
                await anext(client.traffic())
        assert not discord.running.traffic.recorded
        url = discord.url
    async with SandboxClient(url, SECRET) as client:
        with pytest.raises(BotctlError, match="does not answer"):
            await anext(client.traffic())


def test_who_reads_too_slowly_is_told_what_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    from botctl.sandbox.model.default_world import default_world
    from botctl.sandbox.server import Access, Sandbox
    from botctl.sandbox.web import traffic

    monkeypatch.setattr(traffic, "_WAITING_MOST", 2)
    hub = traffic.Traffic(Sandbox(default_world(), Access({TOKEN: BOT}, SECRET)))
    with hub.listen() as lines:
        for code in range(4):
            hub.frame(1, BOT, "closed", code)
        assert [json.loads(lines.get_nowait())["closed"] for _ in range(2)] == [0, 1]
        hub.frame(1, BOT, "closed", 4)
        assert [json.loads(lines.get_nowait()) for _ in range(1)] == [{"missed": 2}]


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
def test_a_person_reads_a_line_each(line: dict[str, Any], text: str) -> None:
    assert format_line({"at": "2026-01-01T10:11:12.130000+00:00", "bot": "dice", **line}).endswith(text)


def test_a_recording_that_was_cut_off_is_read_as_far_as_it_goes() -> None:
    assert parse_recording(HEAD + '{"missed": 1}\n{"at": "2026') == [{"missed": 1}]
    for wrong in ("", "hello\n", '{"traffic": 2}\n', HEAD + "[]\n{}\n"):
        with pytest.raises(UsageError, match="recording"):
            parse_recording(wrong)


def test_ids_are_learned_from_two_answers_to_one_request() -> None:
    renamed = IdMapping()
    renamed.learn({"id": GUILD, "list": [{"id": ANN}], "n": 1}, {"id": "1" * 18, "list": [{"id": "2" * 18}], "n": 2})
    assert renamed(f"/guilds/{GUILD}/members/{ANN}/{BOT}") == f"/guilds/{'1' * 18}/members/{'2' * 18}/{BOT}"
    assert renamed(None) is None


async def test_recorded_events_are_told_again_to_who_is_connected(capsys: pytest.CaptureFixture[str]) -> None:
    """What came of it then can be seen once more: a bot that fails on one event does so again."""
    heard: list[str] = []

    def listen(bot: Bot) -> None:
        @bot.listen()
        async def on_message(message: disnake.Message) -> None:
            heard.append(message.content)

    async with local_discord() as discord:
        async with discord.bot(listen, intents=disnake.Intents.all()):
            async with recorded(discord) as lines:
                await discord.act("send", text="once", **{"as": "bob"})
                await until(lambda: heard == ["once"])
                await until(lambda: any("MESSAGE_CREATE" in line for line in lines))
            told = list(replayable_events(parse_recording("".join(lines))))
            assert [one.event for one in told] == ["MESSAGE_CREATE"]
            async with SandboxClient(discord.url, SECRET) as client:
                assert await _replay_events(client, told)
                await until(lambda: heard == ["once", "once"])
                assert "1 of 1 events were sent again." in capsys.readouterr().out
        await until(lambda: not discord.sandbox.sessions.by_id)
        async with SandboxClient(discord.url, SECRET) as client:
            assert not await _replay_events(client, told)
        assert "1 were not delivered: botctl-bot is not connected" in capsys.readouterr().out


def test_what_begins_a_session_or_had_a_secret_is_not_told_again() -> None:
    sent = [
        {"op": 0, "t": "READY", "d": {}},
        {"op": 0, "t": "INTERACTION_CREATE", "d": {"token": MARK}},
        {"op": 11, "t": None, "d": None},
        {"op": 0, "t": "TYPING_START", "d": {"user_id": "1"}},
    ]
    assert [one.event for one in replayable_events({"bot": "b", "sent": one} for one in sent)] == ["TYPING_START"]
