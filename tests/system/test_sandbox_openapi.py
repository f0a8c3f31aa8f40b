"""Every route of the sandbox answers as Discord's official description says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from botctl.sandbox import rest
from tests.support.discord import ANN, BOB, BOT, GENERAL, GUILD, TOKEN, Discord, Wire, local_discord
from tests.support.openapi import Judge, description

COMMAND = {
    "name": "ops",
    "description": "Ops",
    "options": [
        {
            "type": 1,
            "name": "say",
            "description": "Say",
            "options": [
                {"type": 3, "name": "text", "description": "Text", "required": True, "max_length": 5},
                {"type": 4, "name": "n", "description": "N", "choices": [{"name": "one", "value": 1}]},
                {"type": 7, "name": "where", "description": "Where", "channel_types": [0]},
            ],
        }
    ],
}
BUTTON = {"type": 2, "style": 1, "label": "Go", "custom_id": "go"}
SELECT = {"type": 3, "custom_id": "pick", "options": [{"label": "A", "value": "a"}]}
MESSAGE = {
    "content": f"hi <@{ANN}>",
    "embeds": [
        {
            "title": "T",
            "description": "D",
            "color": 255,
            "timestamp": "2026-01-01T00:00:00+00:00",
            "fields": [{"name": "a", "value": "b"}],
            "image": {"url": "https://example.org/a.png"},
            "author": {"name": "A"},
            "footer": {"text": "F"},
        }
    ],
    "components": [{"type": 1, "components": [BUTTON]}, {"type": 1, "components": [SELECT]}],
}


class Walk:
    """Calls routes, and has each answer judged."""

    def __init__(self, discord: Discord, judge: Judge) -> None:
        self.discord, self.judge = discord, judge
        self.used: set[tuple[str, str]] = set()

    async def __call__(self, method: str, path: str, status: int = 200, **given: Any) -> Any:
        got, body = await self.discord.rest(method, path, **given)
        assert got == status, (method, path, body)
        assert self.judge.faults(method, path, got, body) == [], (method, path, body)
        self.used.add((method, _route(method, path)))
        return body


def _route(method: str, path: str) -> str:
    """The sandbox's route that ``path`` matches, literal ones first."""
    for one in sorted(rest.ROUTES, key=lambda one: one.path.count("{")):
        pattern = re.sub(r"\{[^}]*\}", "[^/]+", one.path)
        if one.method == method and re.fullmatch(pattern, path.partition("?")[0]):
            return one.path
    raise LookupError(path)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(description())


@pytest.fixture
async def walk(judge: Judge) -> AsyncIterator[Walk]:
    async with local_discord() as discord:
        yield Walk(discord, judge)


async def test_every_route_answers_as_described(walk: Walk) -> None:
    await _walk_world(walk)
    await _walk_messages(walk)
    await _walk_commands(walk, f"/applications/{BOT}/commands")
    await _walk_commands(walk, f"/applications/{BOT}/guilds/{GUILD}/commands")
    await _walk_interactions(walk)
    assert {(one.method, one.path) for one in rest.ROUTES} - walk.used == set()


async def _walk_world(walk: Walk) -> None:
    for path in ("/users/@me", "/oauth2/applications/@me", "/applications/@me", "/gateway", "/gateway/bot"):
        await walk("GET", path)
    for path in ("", "/channels", "/roles", "/members?limit=10", f"/members/{ANN}"):
        await walk("GET", f"/guilds/{GUILD}{path}")
    await walk("GET", f"/guilds/{GUILD}?with_counts=true")
    await walk("GET", f"/users/{ANN}")
    await walk("GET", "/users/1", 404)
    for method in ("PUT", "DELETE"):
        await walk(method, f"/guilds/{GUILD}/members/{BOB}/roles/900000000000000201", 204)


async def _walk_messages(walk: Walk) -> None:
    path = f"/channels/{GENERAL}"
    await walk("GET", path)
    await walk("POST", f"{path}/typing", 204)
    sent = await walk("POST", f"{path}/messages", json=MESSAGE)
    reply = {"content": "re", "message_reference": {"message_id": sent["id"]}}
    await walk("POST", f"{path}/messages", json=reply)
    form = aiohttp.FormData({"payload_json": '{"content": "file", "attachments": [{"id": 0, "description": "D"}]}'})
    form.add_field("files[0]", b"abc", filename="a.txt", content_type="text/plain")
    await walk("POST", f"{path}/messages", data=form)
    assert len(await walk("GET", f"{path}/messages?limit=2")) == 2
    await walk("GET", f"{path}/messages/{sent['id']}")
    await walk("PATCH", f"{path}/messages/{sent['id']}", json={"content": "new", "embeds": []})
    await walk("DELETE", f"{path}/messages/{sent['id']}", 204)
    await walk("GET", f"{path}/messages/{sent['id']}", 404)
    await walk("POST", f"{path}/messages", 400, json={})


async def _walk_commands(walk: Walk, path: str) -> None:
    await walk("PUT", path, json=[COMMAND, {"name": "Who", "type": 2}])
    await walk("PUT", path, json=None)
    made = await walk("POST", path, 201, json=COMMAND)
    await walk("POST", path, 200, json=COMMAND)
    await walk("PATCH", f"{path}/{made['id']}", json={"description": "New"})
    await walk("GET", f"{path}/{made['id']}")
    (listed,) = await walk("GET", f"{path}?with_localizations=1")
    assert listed["description"] == "New"
    if "guilds" in path:
        await walk("GET", f"{path}/permissions")
        await walk("GET", f"{path}/{made['id']}/permissions", 404)
    await walk("DELETE", f"{path}/{made['id']}", 204)
    await walk("GET", f"{path}/{made['id']}", 404)


async def _walk_interactions(walk: Walk) -> None:
    await walk("PUT", f"/applications/{BOT}/commands", json=[COMMAND])
    async with walk.discord.wire() as wire:
        await wire.identify()
        call = await _asked(walk, wire)
        answered = await walk("POST", f"{call}?with_response=true", json={"type": 4, "data": MESSAGE})
        assert answered["resource"]["message"]["interaction_metadata"]["user"]["username"] == "ann"
        await _walk_answers(walk, call)
        call = await _asked(walk, wire)
        await walk("POST", call, 204, json={"type": 5, "data": {"flags": 64}})
        await walk("POST", _webhook(call), json={"content": "late"})


async def _walk_answers(walk: Walk, call: str) -> None:
    webhook = _webhook(call)
    await walk("GET", f"{webhook}/messages/@original")
    await walk("PATCH", f"{webhook}/messages/@original", json={"content": "edited"})
    more = await walk("POST", f"{webhook}?wait=1&with_components=1", json=MESSAGE)
    await walk("PATCH", f"{webhook}/messages/{more['id']}", json={"content": "more"})
    await walk("DELETE", f"{webhook}/messages/{more['id']}", 204)
    await walk("GET", f"{webhook}/messages/{more['id']}", 404)
    await walk("POST", call, 400, json={"type": 4, "data": {"content": "again"}})


async def _asked(walk: Walk, wire: Wire) -> str:
    """The callback's path for a command that ann has just used."""
    said = {"name": "ops say", "options": {"text": "x"}, "timeout_s": 0.001}
    await walk.discord.act("send", **said)
    event = (await wire.hear_until("INTERACTION_CREATE"))["d"]
    return f"/interactions/{event['id']}/{event['token']}/callback"


def _webhook(call: str) -> str:
    return f"/webhooks/{BOT}/{call.split('/')[3]}"


async def test_the_judge_finds_a_field_that_is_missing_or_wrong(walk: Walk) -> None:
    me = await walk("GET", "/users/@me")
    for broken in ({**me, "username": 1}, {key: value for key, value in me.items() if key != "locale"}):
        assert walk.judge.faults("GET", "/users/@me", 200, broken)


async def test_what_is_no_route_or_has_no_token_is_refused(walk: Walk) -> None:
    discord = walk.discord
    assert await discord.rest("GET", "/nowhere") == (404, {"message": "404: Not Found", "code": 0})
    async with discord.http.get(f"{discord.url}/api/v10/users/@me", headers={"Authorization": TOKEN}) as answer:
        assert (answer.status, await answer.json()) == (401, {"message": "401: Unauthorized", "code": 0})
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Via"]
