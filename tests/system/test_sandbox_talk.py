"""A disnake bot with users: threads, reactions, pins, webhooks, DMs, and interactions with deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import disnake
import pytest

from botctl.sandbox.model.limits import LENIENT
from tests.support.discord import ANN, BOT, CAT, GENERAL, Bot, Discord, Wire, local_discord
from tests.support.waiting import NO_WAIT_S, until

Inter = disnake.ApplicationCommandInteraction


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as discord:
        yield discord


class RecordedEvents(list[tuple[str, Any]]):
    """The calls of the bot's listeners."""

    def on(self, bot: Bot, *events: str) -> None:
        for event in events:
            bot.add_listener(self._listener(event), f"on_{event}")

    def _listener(self, event: str) -> Any:
        async def heard(*arguments: Any) -> None:
            self.append((event, arguments))

        return heard

    def names(self) -> list[str]:
        return [event for event, _ in self]


async def test_disnake_bot_uses_community_features(discord: Discord) -> None:
    events = RecordedEvents()
    async with discord.bot(intents=disnake.Intents.all()) as bot:
        events.on(bot, "thread_create", "thread_update", "thread_member_join", "thread_member_remove", "thread_delete")
        events.on(bot, "reaction_add", "reaction_remove", "guild_channel_pins_update", "webhooks_update", "typing")
        channel = bot.get_channel(int(GENERAL))
        assert isinstance(channel, disnake.TextChannel)
        message = await channel.send("topic", embed=disnake.Embed(title="T"))
        await _react_and_pin(discord, bot, message)
        await _use_a_thread(discord, bot, message)
        await _use_a_webhook(channel)
        await _send_a_dm(discord, bot)
        await channel.trigger_typing()
        wanted = "thread_create thread_update thread_member_join thread_member_remove thread_delete reaction_add"
        wanted += " reaction_remove guild_channel_pins_update webhooks_update typing"
        await until(lambda: set(wanted.split()) <= set(events.names()))


async def _react_and_pin(discord: Discord, bot: Bot, message: disnake.Message) -> None:
    await message.add_reaction("👍")
    await discord.act("react", emoji="👍", message=str(message.id), **{"as": "cat"})
    await until(lambda: bot.get_message(message.id).reactions[0].count == 2)  # type: ignore[union-attr]
    givers = [user.name async for user in bot.get_message(message.id).reactions[0].users()]  # type: ignore[union-attr]
    assert set(givers) == {"botctl-bot", "cat"}
    await message.remove_reaction("👍", disnake.Object(int(CAT)))
    await message.clear_reactions()
    await message.pin()
    assert [pin.id async for pin in message.channel.pins()] == [message.id]
    await message.unpin()
    with pytest.raises(disnake.HTTPException) as unknown:
        await message.add_reaction("nonsense")
    assert unknown.value.code == 10014


async def _use_a_thread(discord: Discord, bot: Bot, message: disnake.Message) -> None:
    thread_ = await message.create_thread(name="talk", auto_archive_duration=60)
    await until(lambda: bot.get_channel(thread_.id) is not None)
    thread: Any = bot.get_channel(thread_.id)  # the object that events update
    await thread.send("welcome")
    await discord.act("send", text="hello", channel="talk", **{"as": "cat"})
    await until(lambda: CAT in [str(member.id) for member in thread.members])
    assert {member.id for member in await thread.fetch_members()} == {int(BOT), int(CAT)}
    assert [entry.content async for entry in thread.history(limit=2)] == ["hello", "welcome"]
    await thread.remove_user(disnake.Object(int(CAT)))
    discord.sandbox.clock.advance(3601)
    await until(lambda: thread.archived)
    assert [archived.id async for archived in message.channel.archived_threads()] == [thread.id]  # type: ignore[union-attr]
    await thread.send("awake")
    await until(lambda: not thread.archived)
    await thread.edit(locked=True, name="done")
    assert (await bot.fetch_channel(thread.id)).name == "done"  # type: ignore[union-attr]
    await thread.delete()


async def _use_a_webhook(channel: disnake.TextChannel) -> None:
    webhook = await channel.create_webhook(name="Captain")
    sent = await webhook.send("ahoy", username="Hook", wait=True)
    assert (sent.author.name, sent.webhook_id) == ("Hook", webhook.id)
    assert (await webhook.edit_message(sent.id, content="aye")).content == "aye"
    await webhook.delete_message(sent.id)
    assert [webhook.id for webhook in await channel.webhooks()] == [webhook.id]
    await webhook.delete()


async def _send_a_dm(discord: Discord, bot: Bot) -> None:
    cat = await bot.fetch_user(int(CAT))
    sent = await cat.send("psst")
    reply = asyncio.create_task(bot.wait_for("message", check=lambda one: one.guild is None and not one.author.bot))
    await asyncio.sleep(0)
    await discord.act("send", text="yes?", dm="botctl-bot", **{"as": "cat"})
    answer = await reply
    assert (answer.content, answer.author.name, answer.channel.id) == ("yes?", "cat", sent.channel.id)
    await discord.act("world", close_dms={"member": "cat"})
    with pytest.raises(disnake.Forbidden) as closed:
        await cat.send("psst")
    assert closed.value.code == 50007


async def test_commands_and_buttons_work_in_a_dm(discord: Discord) -> None:
    def prepare(bot: Bot) -> None:
        @bot.slash_command(contexts=disnake.InteractionContextTypes(guild=True, bot_dm=True))
        async def where(inter: Inter) -> None:
            """Where?"""
            button = disnake.ui.Button(label="Again", custom_id="again")
            await inter.response.send_message(f"{inter.guild} {inter.author.name}", components=[button])

        @bot.slash_command(contexts=disnake.InteractionContextTypes(guild=True))
        async def here(inter: Inter) -> None:
            """Here."""

        @bot.listen()
        async def on_button_click(inter: disnake.MessageInteraction) -> None:
            await inter.response.defer()
            await inter.edit_original_response("again")
            await inter.followup.send("more", ephemeral=True)

    async with discord.bot(prepare):
        place = {"dm": "botctl-bot", "as": "cat"}
        reply = await discord.act("send", name="where", **place)
        assert reply["messages"][0]["content"] == "None cat"
        clicked = await discord.act("click", component="Again", **place)
        assert clicked["messages"][0]["content"] == "again"
        listing = await discord.look("messages", **place)
        assert [message["content"] for message in listing["messages"]] == ["again", "more"]
        status, response = await discord.control("POST", "send", {"name": "here", **place})
        assert (status, response["hint"]) == (400, "/here is for guilds only.")


class PendingInteraction:
    """An interaction that the test responds to."""

    def __init__(self, discord: Discord, event: dict[str, Any]) -> None:
        self.discord = discord
        self.path = f"/interactions/{event['id']}/{event['token']}/callback"
        self.hook = f"/webhooks/{BOT}/{event['token']}"

    async def respond(self, kind: int, **data: Any) -> tuple[int, Any]:
        return await self.discord.rest("POST", self.path + "?with_response=1", json={"type": kind, "data": data})

    async def code(self, method: str, path: str, **body: Any) -> int:
        status, response = await self.discord.rest(method, path, **({"json": body} if body else {}))
        assert status >= 400
        return response["code"]


COMMAND = {"name": "ask", "description": "Ask", "options": []}
CHOICE = {
    "name": "pick",
    "description": "P",
    "options": [{"type": 3, "name": "x", "description": "X", "autocomplete": True}],
}
BUTTON = [{"type": 1, "components": [{"type": 2, "style": 1, "label": "Go", "custom_id": "go"}]}]
FORM = {
    "custom_id": "f",
    "title": "F",
    "components": [{"type": 18, "label": "L", "component": {"type": 4, "custom_id": "t", "style": 1}}],
}


@pytest.fixture
async def ask(discord: Discord) -> AsyncIterator[Any]:
    """A function that uses a command as ann and returns the `PendingInteraction`."""
    async with discord.wire() as wire:
        await wire.identify()
        await discord.rest("PUT", f"/applications/{BOT}/commands", json=[COMMAND, CHOICE])

        async def asking(verb: str = "send", **body: Any) -> PendingInteraction:
            await discord.act(verb, **({"name": "ask"} | body), timeout_s=NO_WAIT_S)
            return PendingInteraction(discord, (await _next(wire))["d"])

        yield asking


async def _next(wire: Wire) -> dict[str, Any]:
    return await wire.hear_until("INTERACTION_CREATE")


async def test_each_callback_type_returns_its_result(ask: Any) -> None:
    pending = await ask()
    status, response = await pending.respond(4, content="x", flags=64, components=BUTTON)
    assert (status, response["resource"]["type"], response["resource"]["message"]["content"]) == (200, 4, "x")
    assert response["interaction"]["response_message_ephemeral"]
    for kind, data in ((6, {}), (7, {"content": "y"})):
        clicked = await ask("click", component="Go")
        status, response = await clicked.respond(kind, **data)
        assert (status, response["interaction"]["type"]) == (200, 3)
    status, response = await (await ask()).respond(5)
    assert response["interaction"]["response_message_loading"]
    status, response = await (await ask()).respond(9, **FORM)
    assert (status, response["interaction"]["type"]) == (200, 2)
    typed = await ask("complete", name="pick", focused="x", value="a")
    status, response = await typed.respond(8, choices=[{"name": "A", "value": "a"}])
    assert (status, response["interaction"]["type"]) == (200, 4)


async def test_interaction_takes_one_callback_within_the_deadline(ask: Any, discord: Discord) -> None:
    first, late = await ask(), await ask()
    assert await first.code("POST", first.hook, content="too early") == 10015
    assert (await first.respond(4, content="x"))[0] == 200
    assert (await first.respond(4, content="x"))[1]["code"] == 40060
    discord.sandbox.limits = LENIENT  # Discord's 3 s
    discord.sandbox.clock.advance(3.1)
    assert (await late.respond(4, content="x"))[1]["code"] == 10062
    unknown = PendingInteraction(discord, {"id": "1", "token": "no"})
    assert (await unknown.respond(4, content="x"))[1]["code"] == 10062
    assert await unknown.code("POST", unknown.hook, content="x") == 10015


async def test_interaction_token_expires_after_15_minutes(ask: Any, discord: Discord) -> None:
    pending = await ask()
    await pending.respond(5)
    discord.sandbox.clock.advance(895)
    status, response = await discord.rest("PATCH", f"{pending.hook}/messages/@original", json={"content": "at last"})
    assert (status, response["content"]) == (200, "at last")
    assert (await discord.rest("DELETE", f"{pending.hook}/messages/@original"))[0] == 204
    assert await pending.code("GET", f"{pending.hook}/messages/@original") == 10008
    assert await pending.code("GET", f"{pending.hook}/messages/1") == 10008
    discord.sandbox.clock.advance(6)
    assert await pending.code("POST", pending.hook, content="x") == 50027


async def test_only_the_invoker_sees_an_ephemeral_response(ask: Any, discord: Discord) -> None:
    pending = await ask()
    _, response = await pending.respond(4, content="secret", flags=64)
    message = response["resource"]["message"]["id"]
    assert await pending.code("GET", f"/channels/{GENERAL}/messages/{message}") == 10008
    assert (await discord.rest("GET", f"{pending.hook}/messages/{message}"))[0] == 200
    for name, count in (("ann", 1), ("bob", 0)):
        listing = await discord.look("messages", **{"as": name})
        assert len(listing["messages"]) == count
    _, edited = await discord.rest("PATCH", f"{pending.hook}/messages/@original", json={"content": "x", "flags": 0})
    assert edited["flags"] & 64
    _, followup = await discord.rest("POST", pending.hook, json={"content": "loud"})
    assert not followup["flags"] & 64


async def test_callback_errors_are_nested_under_data(ask: Any) -> None:
    pending = await ask()
    status, response = await pending.respond(4, content="x" * 2001)
    assert (status, response["code"], list(response["errors"]), list(response["errors"]["data"])) == (
        400,
        50035,
        ["data"],
        ["content"],
    )
    assert (await pending.respond(4, content=f"<@{ANN}> @everyone"))[1]["resource"]["message"][
        "mention_everyone"
    ] is False
