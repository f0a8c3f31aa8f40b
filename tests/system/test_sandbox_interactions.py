"""The content of interactions, and responses after the world has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from botctl.sandbox.model import permission_bits
from tests.support.discord import BOT, CAT, GENERAL, GUILD, STAFF, Discord, Wire, local_discord
from tests.support.waiting import NO_WAIT_S

BUTTON = [{"type": 1, "components": [{"type": 2, "style": 1, "label": "Go", "custom_id": "go"}]}]


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as running:
        yield running


async def trigger(wire: Wire, discord: Discord, verb: str, **body: Any) -> dict[str, Any]:
    """The interaction that a user's action dispatches."""
    await discord.act(verb, timeout_s=NO_WAIT_S, **{"as": "ann", **body})
    return (await wire.hear_until("INTERACTION_CREATE"))["d"]


async def invoke_command(wire: Wire, discord: Discord, **body: Any) -> dict[str, Any]:
    """Identify, and use the bot's only command."""
    await wire.identify(intents=1)
    await discord.rest("PUT", f"/applications/{BOT}/commands", json=[{"name": "ops", "description": "Ops"}])
    return await trigger(wire, discord, "send", name="ops", **body)


async def respond(discord: Discord, interaction: dict[str, Any], kind: int, **data: Any) -> tuple[int, Any]:
    path = f"/interactions/{interaction['id']}/{interaction['token']}/callback"
    return await discord.rest("POST", path, json={"type": kind, "data": data})


async def test_callback_fails_when_the_channel_was_deleted(discord: Discord) -> None:
    async with discord.wire() as wire:
        first = await invoke_command(wire, discord, channel="staff")
        second = await trigger(wire, discord, "send", name="ops", channel="staff")
        assert (await respond(discord, second, 5))[0] == 204
        assert (await discord.rest("DELETE", f"/channels/{STAFF}"))[0] == 200
        status, response = await respond(discord, first, 4, content="late")
        assert (status, response["code"]) == (404, 10003)
        status, response = await discord.rest("POST", f"/webhooks/{BOT}/{second['token']}", json={"content": "late"})
        assert (status, response["code"]) == (404, 10003)


async def test_click_on_ephemeral_message_includes_the_message(discord: Discord) -> None:
    async with discord.wire() as wire:
        first = await invoke_command(wire, discord)
        await respond(discord, first, 4, content="psst", flags=64, components=BUTTON)
        click = await trigger(wire, discord, "click", component="Go")
        source = click["message"]
        assert (source["content"], source["flags"], source["interaction_metadata"]["id"]) == ("psst", 64, first["id"])
        assert (click["channel"]["id"], click["app_permissions"].isdecimal(), click["context"]) == (GENERAL, True, 0)
        assert (await respond(discord, click, 7, content="again"))[0] == 204
        path = f"/webhooks/{BOT}/{first['token']}/messages/@original"
        assert (await discord.rest("GET", path))[1]["content"] == "again"
        assert (await discord.rest("DELETE", f"/webhooks/{BOT}/{click['token']}/messages/@original"))[0] == 204
        assert (await discord.rest("GET", path))[1]["code"] == 10008


async def test_modal_response_names_its_triggering_interaction(discord: Discord) -> None:
    text = {"type": 18, "label": "Text", "component": {"type": 4, "style": 1, "custom_id": "text", "required": False}}
    form = {"title": "Form", "custom_id": "form", "components": [text]}
    async with discord.wire() as wire:
        first = await invoke_command(wire, discord)
        await respond(discord, first, 9, **form)
        by_command = await trigger(wire, discord, "submit", fields={})
        await respond(discord, by_command, 4, content="here", components=BUTTON)
        await respond(discord, await trigger(wire, discord, "click", component="Go"), 9, **form)
        by_button = await trigger(wire, discord, "submit", fields={})
        await respond(discord, by_button, 4, content="there")
        newest, older = (await discord.rest("GET", f"/channels/{GENERAL}/messages"))[1]
        triggers = [message["interaction_metadata"]["triggering_interaction_metadata"] for message in (older, newest)]
        assert [trigger["type"] for trigger in triggers] == [2, 3]
        assert triggers[1]["interacted_message_id"] == by_button["message"]["id"] == older["id"]


async def test_webhook_button_is_dispatched_to_its_application(discord: Discord) -> None:
    async with discord.wire() as wire:
        await wire.identify(intents=1)
        webhook = (await discord.rest("POST", f"/channels/{GENERAL}/webhooks", json={"name": "Captain"}))[1]
        body = {"content": "ahoy", "components": BUTTON}
        message = (await discord.rest("POST", f"/webhooks/{webhook['id']}/{webhook['token']}?wait=1", json=body))[1]
        click = await trigger(wire, discord, "click", component="Go")
        assert (click["application_id"], click["message"]["id"]) == (BOT, message["id"])


async def test_button_fails_after_the_bot_left_or_during_an_outage(discord: Discord) -> None:
    async with discord.wire() as wire:
        await respond(discord, await invoke_command(wire, discord), 4, content="here", components=BUTTON)
        click = {"as": "ann", "component": "Go"}
        await discord.act("incidents", name="guild-outage")
        assert (await discord.control("POST", "click", click))[0] == 409
        await discord.act("incidents", stop="guild-outage")
        assert (await discord.rest("DELETE", f"/users/@me/guilds/{GUILD}"))[0] == 204
        status, response = await discord.control("POST", "click", click)
        assert (status, "is no longer in Botctl Test Guild" in response["error"]) == (409, True)


async def test_interaction_contains_its_thread_or_dm_channel(discord: Discord) -> None:
    async with discord.wire() as wire:
        thread = (await discord.rest("POST", f"/channels/{GENERAL}/threads", json={"name": "aside", "type": 11}))[1]
        channel = (await invoke_command(wire, discord, channel=thread["id"]))["channel"]
        assert (channel["type"], channel["parent_id"], channel["thread_metadata"]["archived"]) == (11, GENERAL, False)
        direct = await trigger(wire, discord, "send", name="ops", dm="botctl-bot", **{"as": "cat"})
        assert (direct["user"]["id"], direct["context"], "member" in direct, "guild_id" in direct) == (
            *(CAT, 1),
            *(False, False),
        )


async def test_resolved_channel_has_the_bots_permissions(discord: Discord) -> None:
    """Discord's change log, 16 July 2026."""
    option = {"type": 7, "name": "where", "description": "Where"}
    async with discord.wire() as wire:
        await wire.identify(intents=1)
        command = {"name": "to", "description": "To", "options": [option]}
        await discord.rest("PUT", f"/applications/{BOT}/commands", json=[command])
        deny = {"channel": "staff", "member": "botctl-bot", "deny": ["SEND_MESSAGES"]}
        await discord.act("world", set_overwrite=deny)
        event = await trigger(wire, discord, "send", name="to", options={"where": "staff"})
        (named,) = event["data"]["resolved"]["channels"].values()
        here = int(event["app_permissions"]), int(named["app_permissions"])
        assert [bool(granted & permission_bits.SEND) for granted in here] == [True, False]


async def test_nan_is_invalid_json(discord: Discord) -> None:
    path = f"/channels/{GENERAL}/messages"
    status, response = await discord.rest("POST", path, data='{"content": "x", "nonce": NaN}')
    assert (status, response["code"]) == (400, 50109)
