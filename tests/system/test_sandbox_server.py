"""A real disnake bot against the sandbox: login, commands, interactions, components, modals, files."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import disnake
import pytest
from disnake.ext import commands

from botctl.sandbox.model.limits import LENIENT
from tests.support.discord import ANN, BOB, BOT, CAT, GENERAL, GUILD, Bot, Discord, local_discord, shown_so_far
from tests.support.waiting import LIMIT_S, until

Inter = disnake.ApplicationCommandInteraction


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as discord:
        yield discord


async def test_bot_logs_in_and_sees_its_guild(discord: Discord) -> None:
    async with discord.bot(intents=disnake.Intents.all()) as bot:
        assert str(bot.user.id) == BOT
        guild = bot.get_guild(int(GUILD))
        assert guild is not None
        assert {channel.name for channel in guild.text_channels} == {"general", "staff"}
        assert {member.name for member in guild.members} == {"ann", "bob", "cat", "botctl-bot"}
        assert [role.name for role in guild.get_member(int(BOB)).roles] == ["@everyone", "Moderator"]
        state = await discord.look("state")
        summary = {
            "application_id": BOT,
            "name": "botctl-bot",
            "shards": 1,
            "connected": True,
            "logins": {"identified": 1},
        }
        assert state["bots"] == [summary]
        assert (await bot.application_info()).owner.name == "ann"


async def test_wrong_token_fails_login(discord: Discord) -> None:
    bot = Bot()
    with pytest.raises(disnake.LoginFailure):
        await bot.login("wrong")
    await bot.close()


async def test_slash_command_returns_the_bots_reply(discord: Discord) -> None:
    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def roll(inter: Inter, sides: int = commands.Param(6, ge=2, le=100)) -> None:
            """Roll a die."""
            await inter.response.send_message(f"d{sides} for {inter.author.mention}", embed=disnake.Embed(title="Dice"))

    async with discord.bot(prepare):
        reply = await discord.slash("roll", sides="20")
        assert reply["state"] == "replied"
        assert reply["error"] is None
        assert reply["waited_ms"] > 0
        (message,) = reply["messages"]
        assert message["content"] == f"d20 for <@{ANN}>"
        assert message["embeds"] == [{"title": "Dice", "type": "rich"}]
        assert message["author"]["bot"]
        assert message["interaction"] == {"user": "ann", "name": "roll"}
        assert not message["ephemeral"]
        assert (await discord.slash("roll"))["messages"][0]["content"].startswith("d6")
        assert (await discord.slash("roll", sides="1"))["error"] == "“sides” must be at least 2."


async def test_reconnecting_bot_syncs_no_commands(discord: Discord) -> None:
    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def one(inter: Inter, text: str, colour: str = commands.Param(choices=["red", "blue"])) -> None:
            """One."""

        @bot.user_command(name="Who is this")
        async def who(inter: Inter) -> None: ...

        @bot.slash_command(guild_ids=[int(GUILD)])
        async def two(inter: Inter, channel: disnake.TextChannel, factor: float = 1.5) -> None:
            """Two."""

        @two.sub_command()
        async def three(inter: Inter) -> None:
            """Three."""

    async with discord.bot(prepare):
        before = discord.sandbox.world.applications[BOT].all_commands()
        assert {command["name"] for command in before} == {"one", "two", "Who is this"}
    async with discord.bot(prepare) as bot:
        await bot._prepare_application_commands()
        assert discord.sandbox.world.applications[BOT].all_commands() == before  # ids and versions too


async def test_each_option_type_arrives_as_its_disnake_object(discord: Discord, tmp_path: Any) -> None:
    seen: dict[str, Any] = {}

    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def take(  # noqa: PLR0917 - one option of each kind
            inter: Inter,
            text: str,
            integer: int,
            real: float,
            truth: bool,
            user: disnake.User,
            channel: disnake.TextChannel,
            role: disnake.Role,
            anyone: disnake.User | disnake.Role,
            file: disnake.Attachment,
            colour: str = commands.Param(choices={"Red": "r", "Blue": "b"}),
        ) -> None:
            """Take all."""
            seen.update(inter.filled_options, content=await file.read())
            await inter.response.send_message("ok")

    (tmp_path / "note.txt").write_bytes(b"hello")
    async with discord.bot(prepare):
        reply = await discord.slash(
            "take",
            text="a: b",
            integer="-3",
            real="2.5",
            truth="yes",
            user="@bob",
            channel="#staff",
            role="Moderator",
            anyone="Admin",
            file=str(tmp_path / "note.txt"),
            colour="Blue",
        )
    assert reply["state"] == "replied"
    assert (seen["text"], seen["integer"], seen["real"], seen["truth"], seen["colour"]) == ("a: b", -3, 2.5, True, "b")
    assert seen["user"].name == "bob"
    assert isinstance(seen["user"], disnake.Member)
    assert seen["channel"].name == "staff"
    assert seen["role"].name == "Moderator"
    assert seen["anyone"].name == "Admin"
    assert (seen["file"].filename, seen["content"]) == ("note.txt", b"hello")


async def test_subcommands_and_groups_reach_their_handlers(discord: Discord) -> None:
    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def ops(inter: Inter) -> None: ...

        @ops.sub_command()
        async def status(inter: Inter) -> None:
            """Status."""
            await inter.response.send_message(inter.application_command.qualified_name)

        @ops.sub_command_group()
        async def cache(inter: Inter) -> None: ...

        @cache.sub_command()
        async def clear(inter: Inter, name: str) -> None:
            """Clear."""
            await inter.response.send_message(f"{inter.application_command.qualified_name} {name}")

    async with discord.bot(prepare):
        assert (await discord.slash("ops status"))["messages"][0]["content"] == "ops status"
        reply = await discord.act("send", command="ops", path=["cache", "clear"], options={"name": "x"})
        assert reply["messages"][0]["content"] == "ops cache clear x"
        assert reply["messages"][0]["interaction"]["name"] == "ops cache clear"
        status, answer = await discord.control("POST", "send", {"name": "ops nope"})
        assert (status, answer["error"]) == (400, "“/ops” has no sub-command “nope”.")


async def test_autocomplete_asks_the_bot_but_choices_do_not(discord: Discord) -> None:
    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def find(
            inter: Inter, key: str, near: str = "", kind: str = commands.Param(choices=["Cat", "Dog"])
        ) -> None:
            """Find."""

        @find.autocomplete("key")
        async def key(inter: Inter, typed: str) -> list[str]:
            return [word for word in ("locale", "log", "limit") if word.startswith(typed)] + [inter.options["near"]]

    async with discord.bot(prepare):
        asked = {"name": "find", "options": {"near": "x"}}
        offered = await discord.act("complete", **asked, focused="key", value="lo")
        assert [choice["name"] for choice in offered["choices"]] == ["locale", "log", "x"]
        assert (await discord.act("complete", **asked, focused="kind", value="ca"))["choices"][0]["value"] == "Cat"


async def test_user_and_message_commands_are_answered(discord: Discord) -> None:
    def prepare(bot: Bot) -> None:
        @bot.user_command(name="Who is")
        async def who(inter: disnake.UserCommandInteraction) -> None:
            await inter.response.send_message(inter.target.name, ephemeral=True)

        @bot.message_command(name="Shout")
        async def shout(inter: disnake.MessageCommandInteraction) -> None:
            await inter.response.send_message(inter.target.content.upper())

    async with discord.bot(prepare):
        await discord.act("send", text="hello there", **{"as": "bob"})
        shouted = await discord.act("send", type="message", name="Shout", target=None, timeout_s=LIMIT_S)
        assert shouted["messages"][0]["content"] == "HELLO THERE"
        named = await discord.act("send", type="user", name="who is", target="@bob", timeout_s=LIMIT_S)
        (message,) = named["messages"]
        assert (message["content"], message["ephemeral"], message["for"]) == ("bob", True, ANN)


class Poll(disnake.ui.View):
    votes = 0

    @disnake.ui.button(label="Yes", custom_id="poll:yes")
    async def yes(self, _: Any, inter: disnake.MessageInteraction) -> None:
        self.votes += 1
        await inter.response.edit_message(content=f"{self.votes} by {inter.author.name}")

    @disnake.ui.button(label="Later", custom_id="poll:later")
    async def later(self, _: Any, inter: disnake.MessageInteraction) -> None:
        await inter.response.defer()
        await inter.edit_original_response(content="later")

    @disnake.ui.string_select(options=["tea", "coffee"], max_values=2, placeholder="Drinks", custom_id="poll:drinks")
    async def drinks(self, select: Any, inter: disnake.MessageInteraction) -> None:
        await inter.response.send_message("+".join(select.values), ephemeral=True)

    @disnake.ui.user_select(placeholder="People", custom_id="poll:people")
    async def people(self, select: Any, inter: disnake.MessageInteraction) -> None:
        await inter.response.send_message(select.values[0].name)


def _poll(bot: Bot) -> None:
    @bot.slash_command()
    async def poll(inter: Inter) -> None:
        """Poll."""
        await inter.response.send_message("0", view=Poll())


async def test_button_updates_its_message(discord: Discord) -> None:
    async with discord.bot(_poll):
        sent = (await discord.slash("poll"))["messages"][0]
        reply = await discord.act("click", component="yes", **{"as": "bob"})
        assert reply["state"] == "updated"
        (message,) = reply["messages"]
        assert (message["id"], message["content"], message["edited"]) == (sent["id"], "1 by bob", True)
        later = await discord.act("click", message=sent["id"], component="poll:later")
        assert (later["state"], later["messages"][0]["content"]) == ("updated", "later")


async def test_select_menus_return_their_values(discord: Discord) -> None:
    async with discord.bot(_poll):
        await discord.slash("poll")
        reply = await discord.act("click", component="drinks", values=["Coffee", "tea"])
        assert (reply["messages"][0]["content"], reply["messages"][0]["ephemeral"]) == ("coffee+tea", True)
        assert (await discord.act("click", component="poll:people", values=["cat"]))["messages"][0]["content"] == "cat"
        reply = await discord.act("click", component="drinks", values=[])
        assert (reply["state"], reply["error"]) == ("refused", "“Drinks” takes 1 to 2 values, not 0.")


async def test_modal_opens_and_is_submitted(discord: Discord) -> None:
    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def feedback(inter: Inter) -> None:
            """Feedback."""
            await inter.response.send_modal(
                title="Feedback",
                custom_id="fb",
                components=[
                    disnake.ui.TextInput(label="Subject", custom_id="subject", max_length=10),
                    disnake.ui.Label("Mood", disnake.ui.StringSelect(custom_id="mood", options=["good", "bad"])),
                ],
            )

        @bot.event
        async def on_modal_submit(inter: disnake.ModalInteraction) -> None:
            await inter.response.send_message(f"{inter.values['subject']} {inter.values['mood']}", ephemeral=True)

    async with discord.bot(prepare):
        opened = await discord.slash("feedback")
        assert opened["state"] == "modal"
        assert opened["modal"]["title"] == "Feedback"
        assert [field["label"] for field in opened["modal"]["fields"]] == ["Subject", "Mood"]
        reply = await discord.act("submit", fields={"mood": "good"})
        assert reply["error"] == "The field “Subject” is required."
        too_long = await discord.act("submit", fields={"subject": "x" * 11, "mood": "good"})
        assert too_long["state"] == "refused"
        reply = await discord.act("submit", modal=opened["modal"]["id"], fields={"Subject": "hi", "mood": "bad"})
        assert reply["messages"][0]["content"] == "hi ['bad']"
        assert (await discord.control("POST", "submit", {"fields": {}}))[0] == 400


async def test_modal_opened_by_a_button_can_edit_its_message(discord: Discord) -> None:
    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def panel(inter: Inter) -> None:
            """Panel."""
            await inter.response.send_message("old", components=[disnake.ui.Button(label="Edit", custom_id="edit")])

        @bot.event
        async def on_button_click(inter: disnake.MessageInteraction) -> None:
            await inter.response.send_modal(
                title="Edit", custom_id="edit", components=[disnake.ui.TextInput(label="Text", custom_id="text")]
            )

        @bot.event
        async def on_modal_submit(inter: disnake.ModalInteraction) -> None:
            await inter.response.edit_message(inter.text_values["text"])

    async with discord.bot(prepare):
        sent = (await discord.slash("panel"))["messages"][0]
        assert (await discord.act("click", component="Edit"))["state"] == "modal"
        reply = await discord.act("submit", fields={"Text": "new"})
        assert (reply["state"], reply["messages"][0]["id"], reply["messages"][0]["content"]) == (
            "updated",
            sent["id"],
            "new",
        )


async def test_relative_file_path_starts_at_the_given_folder(discord: Discord, tmp_path: Any) -> None:
    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def take(inter: Inter, file: disnake.Attachment) -> None:
            """Take."""
            await inter.response.send_message(file.content_type)

    (tmp_path / "note.txt").write_bytes(b"hello")
    async with discord.bot(prepare):
        options = {"file": "note.txt"}
        reply = await discord.act("send", name="take", options=options, folder=str(tmp_path))
        assert reply["messages"][0]["content"] == "text/plain"
        reply = await discord.act("send", name="take", options=options, folder=str(tmp_path / "none"))
        assert reply["error"] == "The file “note.txt” cannot be read: No such file or directory."


async def test_deferred_reply_is_edited_and_followed_up(discord: Discord) -> None:
    go_on, finished = asyncio.Event(), 0

    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def slow(inter: Inter) -> None:
            """Slow."""
            nonlocal finished
            await inter.response.defer(ephemeral=True)
            await go_on.wait()
            await inter.edit_original_response("done")
            await inter.followup.send("and more", ephemeral=True)
            extra = await inter.followup.send("gone soon")
            await extra.delete()
            finished += (await inter.original_response()).content == "done"

    async with discord.bot(prepare):
        waiting = await shown_so_far(discord.sandbox, discord.slash("slow"))
        assert waiting["state"] == "deferred"
        assert waiting["messages"][0]["ephemeral"]
        go_on.set()
        reply = await discord.slash("slow")
        assert (reply["state"], reply["messages"][0]["content"]) == ("replied", "done")
        await until(lambda: finished == 2)
        assert [message["content"] for message in (await discord.look("messages"))["messages"]] == [
            "done",
            "and more",
        ] * 2
        assert (await discord.look("messages", **{"as": "bob"}))["messages"] == []


async def test_files_are_sent_and_served(discord: Discord) -> None:
    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def report(inter: Inter) -> None:
            """Report."""
            embed = disnake.Embed(title="Chart").set_image(url="attachment://a b.txt")
            file = disnake.File(io.BytesIO(b"contents"), "a b.txt", description="A chart")
            await inter.response.send_message("see", file=file, embed=embed)

    async with discord.bot(prepare):
        (message,) = (await discord.slash("report"))["messages"]
        (attachment,) = message["attachments"]
        assert (attachment["filename"], attachment["size"]) == ("a b.txt", 8)
        assert message["embeds"][0]["image"]["url"] == attachment["url"]
        async with discord.http.get(attachment["url"]) as response:
            assert await response.read() == b"contents"


async def test_late_response_fails_with_10062() -> None:
    error_codes: list[int] = []

    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def silent(inter: Inter) -> None:
            """Silent."""
            await go_on.wait()
            try:
                await inter.response.send_message("too late")
            except disnake.InteractionTimedOut as error:
                error_codes.append(error.__cause__.code)
            answered.set()

    go_on, answered = asyncio.Event(), asyncio.Event()
    async with local_discord(limits=LENIENT.replace({"response_s": 0.05})) as discord, discord.bot(prepare):
        reply = await discord.slash("silent")
        assert (reply["state"], reply["error"]) == ("no_answer", "The application did not respond")
        go_on.set()
        await asyncio.wait_for(answered.wait(), LIMIT_S)
    assert error_codes == [10062]


async def test_second_response_fails_with_40060(discord: Discord) -> None:
    codes: list[int] = []

    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def twice(inter: Inter) -> None:
            """Twice."""
            await inter.response.send_message("one")
            inter.response._response_type = None
            try:
                await inter.response.send_message("two")
            except disnake.HTTPException as error:
                codes.append(error.code)

    async with discord.bot(prepare):
        await discord.slash("twice")
        await until(lambda: bool(codes))
    assert codes == [40060]


async def test_command_without_connected_bot_returns_409(discord: Discord) -> None:
    def prepare(bot: Bot) -> None:
        @bot.slash_command()
        async def ping(inter: Inter) -> None:
            """Ping."""

    async with discord.bot(prepare):
        pass
    status, answer = await discord.control("POST", "send", {"name": "ping"})
    assert (status, answer["error"]) == (409, "No bot is connected to the sandbox.")


async def test_control_api_needs_its_secret(discord: Discord) -> None:
    assert (await discord.control("GET", "state", {}, secret="wrong"))[0] == 401
    assert (await discord.control("POST", "send", {"name": "none"}))[1]["error"] == "There is no command “none”."


async def test_messages_roles_and_guilds_emit_their_events(discord: Discord) -> None:
    events: asyncio.Queue[Any] = asyncio.Queue()

    def prepare(bot: Bot) -> None:
        @bot.event
        async def on_message(message: disnake.Message) -> None:
            events.put_nowait((message.author.name, message.content))

        @bot.event
        async def on_member_update(_: Any, after: disnake.Member) -> None:
            events.put_nowait((after.name, [role.name for role in after.roles][1:]))

        @bot.event
        async def on_message_delete(message: disnake.Message) -> None:
            events.put_nowait(("deleted", message.content))

    async with discord.bot(prepare, intents=disnake.Intents.all()) as bot:
        await discord.act("send", content="hello", **{"as": "cat"})
        assert await events.get() == ("cat", "hello")
        channel = bot.get_channel(int(GENERAL))
        sent = await channel.send("hi")
        assert await events.get() == ("botctl-bot", "hi")
        assert (await (await channel.fetch_message(sent.id)).edit("hi!")).content == "hi!"
        await sent.delete()
        assert await events.get() == ("deleted", "hi!")
        await discord.act("world", give_role={"member": "cat", "role": "Moderator"})
        assert await events.get() == ("cat", ["Moderator"])
        member = await channel.guild.fetch_member(int(CAT))
        await member.remove_roles(*member.roles[1:])
        assert await events.get() == ("cat", [])
        await discord.act("world", add_member={"name": "dan", "roles": ["Admin"]})
        await discord.act("world", add_guild={"name": "Second", "members": ["ann"]})
        await until(lambda: len(bot.guilds) == 2)
        assert channel.guild.get_member_named("dan").top_role.name == "Admin"


async def test_message_content_is_empty_without_the_intent(discord: Discord) -> None:
    contents: asyncio.Queue[str] = asyncio.Queue()

    def prepare(bot: Bot) -> None:
        @bot.event
        async def on_message(message: disnake.Message) -> None:
            contents.put_nowait(message.content)

    intents = disnake.Intents.default()
    async with discord.bot(prepare, intents=intents):
        await discord.act("send", text="secret")
        await discord.act("send", text=f"<@{BOT}> open")
        assert [await contents.get(), await contents.get()] == ["", f"<@{BOT}> open"]
