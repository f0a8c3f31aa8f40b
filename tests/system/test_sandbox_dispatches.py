"""The gateway's dispatches match discord-api-types, and the check detects mismatches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import dispatches
from tests.support.calls import CALLS, Caller
from tests.support.discord import Discord, Wire, local_discord
from tests.support.message_calls import TALK
from tests.support.moderation_calls import MODERATION
from tests.support.waiting import NO_WAIT_S

COMMANDS = [
    {
        "name": "all",
        "description": "All kinds",
        "options": [
            {"type": 3, "name": "text", "description": "Text", "autocomplete": True},
            {"type": 4, "name": "number", "description": "Number"},
            {"type": 5, "name": "flag", "description": "Flag"},
            {"type": 6, "name": "person", "description": "Person"},
            {"type": 7, "name": "place", "description": "Place"},
            {"type": 8, "name": "role", "description": "Role"},
            {"type": 9, "name": "any", "description": "Any"},
            {"type": 10, "name": "part", "description": "Part"},
        ],
    },
    {"name": "Person", "type": 2},
    {"name": "Message", "type": 3},
]
OPTIONS = {
    "text": "x",
    "number": "7",
    "flag": "true",
    "person": "bob",
    "place": "general",
    "role": "Moderator",
    "any": "cat",
    "part": "1.5",
}
FORM = {
    "custom_id": "form",
    "title": "Form",
    "components": [{"type": 18, "label": "Why", "component": {"type": 4, "custom_id": "why", "style": 1}}],
}
ROW = [
    {"type": 1, "components": [{"type": 2, "style": 1, "label": "Go", "custom_id": "go"}]},
    {"type": 1, "components": [{"type": 3, "custom_id": "pick", "options": [{"label": "A", "value": "a"}]}]},
    {"type": 1, "components": [{"type": 5, "custom_id": "who"}]},
]
_dispatched: list[tuple[str, Any]] = []


@pytest.fixture
async def dispatched() -> list[tuple[str, Any]]:
    """All dispatches to a bot while every route is called and a person does everything they can."""
    if not _dispatched:
        async with local_discord() as discord, discord.wire() as wire:
            await wire.identify()
            await wire.say(8, {"guild_id": "900000000000000001", "query": "", "limit": 0})
            await _use_everything(discord, wire)
            caller = Caller(discord, wire)
            for call in (*CALLS, *TALK, *MODERATION):
                await caller(call)
            _dispatched.extend(discord.recorder.dispatches())
    return _dispatched


async def _use_everything(discord: Discord, wire: Wire) -> None:
    """Every kind of interaction in a guild."""
    await discord.rest("PUT", "/applications/900000000000000010/commands", json=COMMANDS)
    await discord.act("complete", name="all", focused="text", value="o", timeout_s=NO_WAIT_S)
    await discord.act("send", name="all", options=OPTIONS, timeout_s=NO_WAIT_S)
    call = await _callback_path(wire, 2)
    await discord.rest("POST", call, json={"type": 4, "data": {"content": "hi", "components": ROW}})
    await discord.act("send", type="user", name="Person", target="bob", timeout_s=NO_WAIT_S)
    await discord.act("send", type="message", name="Message", target="last", timeout_s=NO_WAIT_S)
    await discord.act("click", component="pick", values=["a"], timeout_s=NO_WAIT_S)
    await discord.act("click", component="who", values=["bob"], timeout_s=NO_WAIT_S)
    await discord.act("click", component="go", timeout_s=NO_WAIT_S)
    await discord.rest("POST", await _callback_path(wire, 3, "go"), json={"type": 9, "data": FORM})
    await discord.act("submit", fields={"why": "so"}, timeout_s=NO_WAIT_S)
    await discord.act("send", content="plain words")
    message = (await wire.hear_until("MESSAGE_CREATE"))["d"]
    reactions = f"/channels/{message['channel_id']}/messages/{message['id']}/reactions/%F0%9F%91%8D"
    await discord.rest("PUT", f"{reactions}/@me")
    await discord.rest("DELETE", reactions)
    await discord.act("world", add_member={"name": "dan"})
    await discord.act("world", set_command_permissions={"command": "all", "roles": {"Moderator": False}})


async def _callback_path(wire: Wire, interaction_type: int, custom_id: str | None = None) -> str:
    """The callback path of the next interaction of ``interaction_type``."""
    while True:
        event = (await wire.hear_until("INTERACTION_CREATE"))["d"]
        if event["type"] == interaction_type and event["data"].get("custom_id") == custom_id:
            return f"/interactions/{event['id']}/{event['token']}/callback"


async def test_every_dispatch_matches_discord_api_types(dispatched: list[tuple[str, Any]]) -> None:
    assert [fault for event, data in dispatched for fault in dispatches.schema_errors(event, data)] == []


async def test_every_kind_of_event_is_dispatched(dispatched: list[tuple[str, Any]]) -> None:
    """All events in `dispatches`, except those that these calls cannot cause."""
    not_caused = {"RESUMED", "RATE_LIMITED", "PRESENCE_UPDATE", "THREAD_LIST_SYNC", "THREAD_MEMBER_UPDATE"}
    not_caused |= {"GUILD_STICKERS_UPDATE", "GUILD_INTEGRATIONS_UPDATE"}
    not_caused |= {"INTEGRATION_CREATE", "INTEGRATION_UPDATE", "INTEGRATION_DELETE"}
    assert dispatches.EVENTS - {event for event, _ in dispatched} - not_caused == set()
    kinds = {(data["type"], data["data"].get("type")) for event, data in dispatched if event == "INTERACTION_CREATE"}
    assert kinds >= {(2, 1), (2, 2), (2, 3), (3, None), (4, 1), (5, None)}


async def test_mutated_payload_is_a_mismatch(dispatched: list[tuple[str, Any]]) -> None:
    """In one dispatch of every event: missing fields, fields of the wrong type, unknown fields."""
    for event, data in dict(reversed(dispatched)).items():
        assert dispatches.schema_errors(event, {**data, "no_such_key": 1}), event
        detected = {kind: 0 for kind, mutant in _mutate(data) if dispatches.schema_errors(event, mutant)}
        assert detected.keys() == {"missing", "wrong"}, (event, detected)


def _mutate(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in data.items():
        yield "missing", {name: item for name, item in data.items() if name != key}
        yield "wrong", {**data, key: 7.5 if isinstance(value, dict | str | list | None) else {"a": 1}}


def test_unknown_event_is_a_mismatch() -> None:
    assert dispatches.schema_errors("MESSAGE_CREATED", {})
