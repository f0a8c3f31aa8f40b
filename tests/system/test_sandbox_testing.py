"""`botctl.sandbox.testing`: actions of members, and what a test can inspect."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import disnake
import pytest
from disnake import Localized
from disnake.ext import commands, tasks

from botctl.sandbox.testing import BotRaised, Discord, Failed, NoAnswer, Refused, connected
from tests.support.raised import NO_EXCEPTIONS
from tests.support.waiting import expires

Inter = disnake.ApplicationCommandInteraction


def make_bot() -> commands.InteractionBot:
    """A bot that replies with what it receives."""
    bot = commands.InteractionBot(intents=disnake.Intents.all())

    @bot.slash_command()
    async def tell(
        inter: Inter, who: disnake.Member, where: disnake.TextChannel, role: disnake.Role, loudly: bool = False
    ) -> None:
        """Tell."""
        said = f"{who.name} {where.name} {role.name}"
        await inter.response.send_message(said.upper() if loudly else said)

    @bot.slash_command()
    async def me(inter: Inter) -> None:
        """Who asks."""
        kicks = inter.permissions.kick_members
        await inter.response.send_message(
            embed=disnake.Embed(title=inter.author.display_name, description=f"{inter.locale} {kicks}"), ephemeral=True
        )

    @bot.slash_command()
    async def here(inter: Inter) -> None:
        """Where."""
        await inter.response.send_message(inter.channel.name if inter.guild else "in a DM")

    @bot.user_command(name="Greet")
    async def greet(inter: disnake.UserCommandInteraction) -> None:
        await inter.response.send_message(f"Hello {inter.target.name}")

    @bot.message_command(name="Quote")
    async def quote(inter: disnake.MessageCommandInteraction) -> None:
        await inter.response.send_message(f"> {inter.target.content}")

    @bot.slash_command()
    async def menu(inter: Inter) -> None:
        """A menu."""
        colours = disnake.ui.StringSelect(custom_id="colour", placeholder="Colour", options=["red", "green"])
        off, seen = disnake.ui.Button(label="Off", disabled=True), disnake.ui.Button(label="Seen", custom_id="seen")
        await inter.response.send_message("?", components=[colours, off, seen])

    @bot.event
    async def on_button_click(inter: disnake.MessageInteraction) -> None:
        await inter.response.defer()

    @bot.event
    async def on_dropdown(inter: disnake.MessageInteraction) -> None:
        await inter.response.edit_message(inter.values[0])

    @bot.event
    async def on_message(message: disnake.Message) -> None:
        if message.content.startswith("!echo "):
            await message.channel.send(message.content[6:])

    @bot.event
    async def on_reaction_add(reaction: disnake.Reaction, user: disnake.User) -> None:
        await reaction.message.reply(f"{user.name} {reaction.emoji}")

    @bot.slash_command()
    async def slow(inter: Inter) -> None:
        """Answers after 15 minutes."""
        await inter.response.defer()
        await bot.wait_for("message", check=lambda message: message.content == "go on")
        await inter.edit_original_response("late")

    @bot.slash_command()
    async def silent(inter: Inter) -> None:
        """Forgets to answer."""

    @bot.slash_command()
    async def boom(inter: Inter, said: bool = False) -> None:
        """Fails."""
        if said:
            await inter.response.send_message("so far")
        raise ValueError("no such die")

    bot.add_cog(Watch())
    return bot


class Watch(commands.Cog):
    """Moderator commands and listeners."""

    @commands.slash_command()
    @commands.default_member_permissions(moderate_members=True)
    async def warn(self, inter: Inter) -> None:
        """Say it once."""
        await inter.response.send_message("Mind the rules.")

    @commands.slash_command(name=Localized("paint", data={"de": "streiche"}))
    async def paint(
        self,
        inter: Inter,
        colour: str = commands.Param(
            name=Localized("colour", data={"de": "farbe"}),
            choices=[disnake.OptionChoice(Localized("red", data={"de": "rot"}), "red")],
        ),
        shade: str = commands.Param("", name=Localized("shade", data={"de": "ton"})),
    ) -> None:
        """Paint."""
        await inter.response.send_message(colour + shade)

    @paint.autocomplete("shade")
    async def shades(self, _: Inter, said: str) -> list[str]:
        return [one for one in ("hell", "dunkel") if one.startswith(said)]

    @commands.Cog.listener()
    async def on_message(self, message: disnake.Message) -> None:
        if message.content == "badword":
            await message.delete()
            await message.channel.send("Mind your language.")
        if message.content == "!vote":
            await message.add_reaction("👍")
            await message.pin()
        if message.content == "!thread" and isinstance(message.channel, disnake.TextChannel):
            thread = await message.channel.create_thread(name="ticket", type=disnake.ChannelType.public_thread)
            await thread.send("How can we help?")

    @commands.Cog.listener()
    async def on_message_edit(self, before: disnake.Message, after: disnake.Message) -> None:
        if before.content != after.content:
            await after.channel.send(f"{before.content} became {after.content}")

    @commands.Cog.listener()
    async def on_message_delete(self, message: disnake.Message) -> None:
        if message.content == "hello":
            await message.channel.send(f"{message.content} is gone")

    @commands.Cog.listener()
    async def on_reaction_remove(self, reaction: disnake.Reaction, user: disnake.User) -> None:
        await reaction.message.channel.send(f"{user.name} took {reaction.emoji} back")

    @commands.Cog.listener()
    async def on_member_remove(self, member: disnake.Member) -> None:
        if not member.bot and member.name == "ann":
            await member.guild.text_channels[0].send(f"{member.name} left")


@pytest.fixture
def bot() -> Callable[[], commands.InteractionBot]:
    return make_bot


async def test_options_accept_members_channels_and_roles(discord: Discord) -> None:
    guild = discord.guild()
    ann, bob = guild.member("ann"), guild.member("bob")
    options = {"who": bob, "where": guild.channel("staff"), "role": guild.role("vip")}
    assert (await ann.slash("/tell", **options)).content == "bob staff vip"
    assert (await ann.slash("tell", **{**options, "loudly": True})).content == "BOB STAFF VIP"


async def test_member_has_permissions_locale_and_nickname(discord: Discord) -> None:
    ann = discord.guild().member("ann", permissions=["kick_members"], locale="de", nick="Annie")
    reply = await ann.slash("/me")
    assert reply.ephemeral
    assert (reply.embeds[0].title, reply.embeds[0].description) == ("Annie", "de True")
    bob = discord.guild().member("bob", permissions=disnake.Permissions(ban_members=True))
    assert (await bob.slash("/me")).embeds[0].description == "en-US False"
    discord.guild().member("bob", permissions=["kick_members"], locale="fr")
    assert (await bob.slash("/me")).embeds[0].description == "fr True"


async def test_members_act_in_channels_and_dms(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    staff = discord.guild().channel("staff")
    assert (await ann.slash("/here")).content == "general"
    assert (await ann.at(staff).slash("/here")).content == "staff"
    assert (await ann.in_dm.slash("/here")).content == "in a DM"
    said = await ann.dm("!echo psst")
    assert (await said.answer()).content == "psst"
    await (await ann.message("!echo hi", channel="staff")).answer()
    assert [one.content for one in staff.messages] == ["staff", "!echo hi", "hi"]
    assert staff.messages[-1].author == "bot"


async def test_reaction_reaches_the_bot(discord: Discord) -> None:
    ann, bob = discord.guild().member("ann"), discord.guild().member("bob")
    said = await ann.message("who likes it?")
    await bob.react(said, "👍")
    assert (await said.answer()).content == "bob 👍"


async def test_settled_waits_until_the_bot_is_idle(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    await ann.message("nothing for a bot")
    await discord.settled()
    discord.calls.assert_not_called("POST", "/channels/{channel}/messages")
    await ann.message("!echo hi")
    await discord.settled()
    with pytest.raises(Failed, match="messages was called: POST /channels/"):
        discord.calls.assert_not_called("POST", "/channels/{channel}/messages")


async def test_handler_in_a_thread_is_not_idle() -> None:
    gate = threading.Event()

    def made() -> commands.InteractionBot:
        bot = commands.InteractionBot(intents=disnake.Intents.all())

        @bot.listen("on_message")
        async def remember(_: disnake.Message) -> None:
            await asyncio.to_thread(gate.wait)

        return bot

    async with connected(made) as discord:
        await discord.guild().member("ann").message("hi")
        settled = asyncio.create_task(discord.settled())
        early, _ = await asyncio.wait((settled,), timeout=expires(0.1))
        gate.set()
        assert not early
        await settled


async def test_user_and_message_commands_work(discord: Discord) -> None:
    ann, bob = discord.guild().member("ann"), discord.guild().member("bob")
    assert (await ann.user_command("Greet", bob)).content == "Hello bob"
    assert (await ann.message_command("Quote", await bob.message("I said it"))).content == "> I said it"


async def test_selects_and_buttons_are_found_by_name(discord: Discord) -> None:
    reply = await discord.guild().member("ann").slash("/menu")
    assert reply.select().options == ["red", "green"]
    await reply.select("Colour").choose("green")
    assert reply.content == "green"
    with pytest.raises(Failed, match=r"The message has no button “again”; there are: “Off”, “Seen”\."):
        reply.button("again")
    with pytest.raises(Refused, match="“Off” is disabled"):
        await reply.button("off").click()
    with pytest.raises(Failed, match="The bot did not open a form"):
        _ = reply.modal


async def test_acknowledged_click_counts_as_an_answer(discord: Discord) -> None:
    reply = await discord.guild().member("ann").slash("/menu")
    assert (await reply.button("Seen").click()).content == "?"


async def test_interaction_token_expires_after_15_minutes(discord: Discord) -> None:
    """Discord: Receiving and Responding > Interaction tokens: valid for 15 minutes."""
    ann = discord.guild().member("ann")
    reply = await ann.impatient.slash("/slow")
    assert reply.thinking
    await discord.advance(minutes=15, seconds=1)
    await ann.message("go on")
    await discord.settled()
    error = discord.errors.take(disnake.HTTPException)
    assert error.code == 50027
    late = discord.calls.assert_called("PATCH", "/webhooks/{application}/{token}/messages/{message}", times=1)
    assert (late.status, late.body["content"]) == (401, "late")
    assert reply.thinking


async def test_limits_apply_only_after_they_are_set(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    for _ in range(6):
        await (await ann.message("!echo hi")).answer()
    assert {call.status for call in discord.calls} == {200}
    discord.limits(requests="1/0.1s")
    for _ in range(2):
        await (await ann.message("!echo hi")).answer()
    assert 429 in {call.status for call in discord.calls}
    with pytest.raises(Failed, match="Did you mean"):
        discord.limits(create_mesage=1)


async def test_raising_handler_fails_the_call(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    with pytest.raises(BotRaised, match="ValueError: no such die, and did not answer /boom") as caught:
        await ann.slash("/boom")
    assert isinstance(caught.value.__cause__, ValueError)
    assert not discord.errors


async def test_exception_after_the_answer_can_be_taken(discord: Discord) -> None:
    await discord.guild().member("ann").slash("/boom", said=True)
    await discord.settled()
    with pytest.raises(Failed, match="raised no KeyError; it raised: ValueError"):
        discord.errors.take(KeyError)
    assert str(discord.errors.take(ValueError)) == "no such die"
    assert not discord.errors


async def test_missing_objects_are_named(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    with pytest.raises(Failed, match=r"There is no command “rol”. Commands: boom, .*tell"):
        await ann.slash("/rol")
    with pytest.raises(Failed, match="Test Guild has no role “vip”; it has “moderator”, “admin”"):
        discord.guild().member("bob", roles=["vip"])
    with pytest.raises(Failed, match="There is no channel “lobby”"):
        ann.at("lobby")
    with pytest.raises(Failed, match="There is no permission 'FLY'"):
        discord.guild().role("pilot", permissions=["fly"])
    with pytest.raises(Failed, match="There is no incident"):
        async with discord.incident("rain"):
            raise AssertionError


async def test_misspelt_route_option_or_locale_fails(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    with pytest.raises(Failed, match=r"There is no route POST /channel/\{id\}/messages\. Did you mean one of these\? "):
        discord.calls.assert_not_called("POST", "/channel/{id}/messages")
    with pytest.raises(Failed, match="There is no route PUT /channels/1/messages"):
        discord.calls.find("put", "/channels/1/messages")
    assert not discord.calls.find("POST", "/channels/1/messages")
    with pytest.raises(Failed, match="Pass each option as a keyword argument"):
        await ann.slash("/boom said:true")
    with pytest.raises(Failed, match="“xx” is not a Discord locale"):
        discord.guild().member("bob", locale="xx")


async def test_command_without_permission_is_refused(discord: Discord) -> None:
    with pytest.raises(Refused, match=r"There is no command “warn”\. /warn needs MODERATE_MEMBERS, which bob lacks"):
        await discord.guild().member("bob").slash("/warn")
    ann = discord.guild().member("ann", permissions=["moderate_members"])
    assert (await ann.slash("/warn")).content == "Mind the rules."


async def test_member_state_is_visible(discord: Discord) -> None:
    guild = discord.guild()
    guild.role("vip")
    bob, theirs = guild.member("bob", nick="Bobby"), discord.bot.guilds[0]
    seen = await theirs.fetch_member(int(bob.id))
    assert (bob.nick, bob.roles, bob.timed_out, bob.banned, bob.in_guild) == ("Bobby", [], False, False, True)
    await seen.add_roles(disnake.utils.get(theirs.roles, name="vip"))  # type: ignore[arg-type]
    await seen.timeout(duration=60)
    await seen.send("Mind the rules.")
    assert (bob.roles, bob.timed_out, [one.content for one in bob.in_dm.messages]) == (
        ["vip"],
        True,
        ["Mind the rules."],
    )
    await discord.advance(minutes=2)
    assert not bob.timed_out
    await theirs.ban(seen)
    assert (bob.in_guild, bob.banned) == (False, True)
    with pytest.raises(Failed, match="There is no member"):
        _ = bob.roles


async def test_members_see_their_own_ephemeral_messages(discord: Discord) -> None:
    ann, bob = discord.guild().member("ann"), discord.guild().member("bob")
    await ann.slash("/me")
    assert (len(ann.messages), bob.messages) == (1, [])


async def test_members_edit_delete_reply_and_leave(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    said = await ann.message("hi")
    await ann.message("!log", reply_to=said)
    for act, heard in (
        (lambda: ann.edit(said, "hello"), "hi became hello"),
        (lambda: ann.react(said, "👍"), "ann 👍"),
        (lambda: ann.react(said, "👍", remove=True), "ann took 👍 back"),
        (lambda: ann.delete(said), "hello is gone"),
        (ann.leave, "ann left"),
    ):
        await act()
        await discord.until(lambda heard=heard: discord.guild().channel("general").messages[-1].content == heard)
    assert said.deleted
    assert not ann.in_guild


async def test_answer_to_a_deleted_message_is_found(discord: Discord) -> None:
    said = await discord.guild().member("ann").message("badword")
    assert (await said.answer()).content == "Mind your language."
    assert said.deleted


async def test_bots_reactions_and_pins_are_visible(discord: Discord) -> None:
    said = await discord.guild().member("ann").message("!vote")
    await discord.settled()
    assert (said.reactions, said.pinned) == ({"👍": 1}, True)


async def test_thread_is_found_as_a_channel(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    await ann.message("!thread")
    await discord.settled()
    thread = discord.guild().channel("ticket")
    assert [one.content for one in thread.messages if one.author == "bot"] == ["How can we help?"]
    await ann.at(thread).message("like this")
    assert thread.messages[-1].content == "like this"


async def test_localized_commands_work_in_each_language(discord: Discord) -> None:
    ann, udo = discord.guild().member("ann"), discord.guild().member("udo", locale=disnake.Locale.de)
    for said in ({"farbe": "rot"}, {"colour": "red"}):
        assert (await udo.slash("/streiche", **said)).content == "red"
    assert (await udo.slash("/paint", farbe="Rot")).content == "red"
    assert await udo.autocomplete("/streiche", farbe="rot", ton="he") == {"hell": "hell"}
    with pytest.raises(Failed, match="There is no command “streiche”"):
        await ann.slash("/streiche", farbe="rot")
    with pytest.raises(Refused, match="There is no option “farbe”"):
        await ann.slash("/paint", farbe="rot")


async def test_bot_without_permission_is_forbidden(discord: Discord) -> None:
    ann = discord.guild().member("ann")
    discord.guild().role("@everyone", permissions=["view_channel"])
    discord.guild().bot_may(["view_channel"])
    with pytest.raises(Refused, match="ann may not send messages"):
        await ann.message("!echo hi")
    boss = discord.guild().member("boss", roles=["admin"])
    await boss.message("!echo hi")
    await discord.settled()
    assert isinstance(discord.errors.take(), disnake.Forbidden)


async def test_guilds_roles_and_members_can_have_known_ids(discord: Discord) -> None:
    second = discord.guild("Second")
    assert discord.guild("second") == second != discord.guild()
    assert discord.guild(id=second.id) == second
    assert (discord.guild("Third", id=41).id, discord.guild(id="41").name) == ("41", "Third")
    assert second.role("vip", id=42).id == second.role("vip").id == "42"
    assert second.channel("logs", id="43").mention == "<#43>"
    ann = second.member("ann", id=44)
    assert (ann.mention, discord.guild().member("ann").id) == ("<@44>", "44")
    assert (await ann.slash("/here")).content == "general"


async def test_bot_answers_again_after_an_incident(discord: Discord) -> None:
    async with discord.incident("op9"):
        await discord.settled()
    assert (await discord.guild().member("ann").slash("/here")).content == "general"


# Bots of another kind


async def test_bots_own_error_handlers_keep_their_errors() -> None:
    def made() -> commands.InteractionBot:
        bot = make_bot()

        @bot.event
        async def on_slash_command_error(inter: Inter, error: Exception) -> None:
            await inter.response.send_message(f"Sorry: {error.__cause__}")

        return bot

    async with connected(made) as discord:
        assert (await discord.guild().member("ann").slash("/boom")).content == "Sorry: no such die"
        await discord.settled()


async def test_errors_of_listeners_loops_and_views_are_recorded(caplog: pytest.LogCaptureFixture) -> None:
    class Panel(disnake.ui.View):
        @disnake.ui.button(label="Press")
        async def press(self, _: Any, __: Any) -> None:
            raise LookupError("view")

    async def made() -> disnake.Client:
        bot = commands.InteractionBot()

        @bot.slash_command()
        async def panel(inter: Inter) -> None:
            """Panel."""
            await inter.response.send_message("!", view=(view := Panel()))
            await view.wait()

        @bot.listen("on_ready")
        async def begin() -> None:
            turn.start()
            raise KeyError("listener")

        @tasks.loop(seconds=60)
        async def turn() -> None:
            raise IndexError("loop")

        return bot

    async with connected(made) as discord:
        await discord.until(lambda: len(discord.errors) == 2)
        assert str(discord.errors.take(KeyError)) == "'listener'"
        assert str(discord.errors.take(IndexError)) == "loop"
        reply = await discord.guild().member("ann").slash("/panel")
        with pytest.raises(BotRaised, match="LookupError: view, and did not answer a click on “Press”"):
            await reply.button("Press").click()
    gc.collect()
    assert not [one for one in caplog.records if one.name == "asyncio"], "no error is logged twice"


@pytest.mark.parametrize("end", NO_EXCEPTIONS[3:5], ids=repr)
async def test_what_disnake_does_not_catch_is_recorded(end: BaseException) -> None:
    class Panel(disnake.ui.View):
        @disnake.ui.button(label="Press")
        async def press(self, _: Any, __: Any) -> None:
            raise end

    async def made() -> disnake.Client:
        bot = commands.InteractionBot()

        @bot.slash_command()
        async def leave(inter: Inter) -> None:
            """Leave."""
            await inter.response.send_message("!", view=Panel())
            raise end

        @bot.listen("on_ready")
        async def begin() -> None:
            turn.start()
            raise end

        @tasks.loop(seconds=60)
        async def turn() -> None:
            raise end

        return bot

    async with connected(made) as discord:
        await discord.until(lambda: len(discord.errors) == 2)
        reply = await discord.guild().member("ann").slash("/leave")
        await discord.until(lambda: len(discord.errors) == 3)
        assert [discord.errors.take(type(end)) for _ in range(3)] == [end] * 3
        with pytest.raises(BotRaised, match=f"{type(end).__name__}: .*did not answer a click on “Press”"):
            await reply.button("Press").click()


async def test_untaken_exception_is_raised_at_the_end() -> None:
    with pytest.raises(BotRaised, match="ValueError: no such die"):
        async with connected(make_bot) as discord:
            await discord.guild().member("ann").slash("/boom", said=True)


async def test_guilds_in_test_guilds_exist() -> None:
    def made() -> commands.InteractionBot:
        bot = commands.InteractionBot(test_guilds=[123456789012345678])

        @bot.slash_command()
        async def here(inter: Inter) -> None:
            """Here."""
            await inter.response.send_message(str(inter.guild_id))

        return bot

    async with connected(made) as discord:
        assert (await discord.guild().member("ann").slash("/here")).content == "123456789012345678"


@pytest.mark.parametrize("guilds", [None, [5]])
async def test_unsynced_commands_are_registered_by_the_plugin(guilds: list[int] | None) -> None:
    def made() -> commands.InteractionBot:
        flags = commands.CommandSyncFlags.none()
        bot = commands.InteractionBot(command_sync_flags=flags, test_guilds=guilds)

        @bot.slash_command()
        async def ping(inter: Inter) -> None:
            """Ping."""
            await inter.response.send_message("pong")

        return bot

    async with connected(made) as discord:
        assert (await discord.guild().member("ann").slash("/ping")).content == "pong"


async def test_sharded_client_without_commands_works() -> None:
    async with connected(lambda: disnake.AutoShardedClient(shard_count=2)) as discord:
        assert discord.bot.is_ready()
        await discord.settled()


async def test_disnake_addresses_are_restored() -> None:
    before = disnake.http.Route.BASE, disnake.asset.Asset.BASE, disnake.ui.View.on_error
    async with connected(make_bot):
        assert disnake.http.Route.BASE.startswith("http://127.0.0.1:")
    assert (disnake.http.Route.BASE, disnake.asset.Asset.BASE, disnake.ui.View.on_error) == before


async def test_failed_start_has_a_reason() -> None:
    class Broken(commands.InteractionBot):
        async def connect(self, **_: Any) -> None:
            raise OSError("no route")

    def wordy() -> commands.InteractionBot:
        bot = commands.InteractionBot()

        @bot.slash_command(description="x" * 101)
        async def long(inter: Inter) -> None: ...

        return bot

    closed = make_bot()
    await closed.close()
    for source, words in (
        (lambda: "bot", "must be a disnake client .*, not 'bot'"),
        (Broken, "The bot stopped during its start: no route"),
        (lambda: closed, "Each test needs a bot of its own"),
        (wordy, "Discord refused the bot's commands"),
    ):
        with pytest.raises(Failed, match=words):
            async with connected(source):
                raise AssertionError


async def test_timeout_names_what_was_awaited(discord: Discord) -> None:
    discord.patience_s = expires(0.01)
    ann = discord.guild().member("ann")
    with pytest.raises(NoAnswer, match=r"The bot acknowledged /slow and sent nothing more within 0\.01 s\."):
        await ann.slash("/slow")
    reply = await ann.slash("/here")
    for waiting, words in (
        (reply.edited(), "The bot did not edit its message within"),
        (reply.followup(), "The bot did not follow up within"),
        (reply.answer(), "The bot sent nothing after “general” within"),
        (discord.until(lambda: False), "The bot did not meet the condition within"),
    ):
        with pytest.raises(NoAnswer, match=words):
            await waiting


async def test_first_response_uses_discords_time_limit(discord: Discord) -> None:
    """It is 3 s; the test makes it shorter."""
    discord.limits(response_s=0.05)
    with pytest.raises(NoAnswer, match=r"The bot did not answer /silent within 0\.05 s\."):
        await discord.guild().member("ann").slash("/silent")
