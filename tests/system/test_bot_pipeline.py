"""The bot against the sandbox: every interaction has one answer and one outcome, whatever disnake does."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
import pytest_asyncio

from botctl.bot.interactions import admission as admission_module
from botctl.core.contracts.events import AutocompleteAnswered
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.sandbox.console.client import Identity
from botctl.sandbox.console.command_parser import SlashCall
from botctl.sandbox.console.suggest import AutocompleteQuery
from tests.support.bots import GUILD, Rig, last_text, rig, shared_loop, write_commands
from tests.support.discord import shown_so_far
from tests.support.waiting import LIMIT_S, NO_WAIT_S, until

COMMANDS = """
    import asyncio
    import enum

    import disnake
    from disnake.ext import commands

    from botctl import Command, Context, MessageCommand, UsageError, UserCommand, component, modal

    class Ping(Command):
        "Pong."
        async def execute(self, ctx: Context) -> None:
            await ctx.reply("pong")

    class Colour(enum.Enum):
        red = "r"
        blue = "b"

    async def suggest(inter, typed: str):
        if typed == "boom":
            raise RuntimeError("no ideas")
        return [word for word in ("apple", "pear") if word.startswith(typed)]

    class Echo(Command):
        "Say it again."
        async def execute(
            self,
            ctx: Context,
            word: str = commands.Param(autocomplete=suggest),
            times: commands.Range[int, 1, 3] = 1,
            colour: Colour = Colour.red,
            whom: disnake.User | None = None,
        ) -> None:
            await ctx.reply(f"{word * times} {colour} {whom}")

    class Fail(Command):
        "It always fails."
        async def execute(self, ctx: Context) -> None:
            raise RuntimeError("boom")

    class FailLate(Command):
        "It fails after it has answered."
        async def execute(self, ctx: Context) -> None:
            await ctx.reply("so far so good")
            raise RuntimeError("boom")

    class FailDeferred(Command):
        "It fails while the person sees thinking."
        async def execute(self, ctx: Context) -> None:
            await ctx.defer()
            raise RuntimeError("boom")

    class Silent(Command):
        "It says nothing."
        async def execute(self, ctx: Context) -> None:
            pass

    class SilentDeferred(Command):
        "It defers and says nothing."
        async def execute(self, ctx: Context) -> None:
            await ctx.defer(ephemeral=True)

    class Wrong(Command):
        "Its options are never right."
        async def execute(self, ctx: Context) -> None:
            raise UsageError("a die has two sides at least.")

    class Secret(Command):
        "For staff."
        roles = ("admin", "moderator")
        async def execute(self, ctx: Context) -> None:
            await ctx.reply("secret")

    class Once(Command):
        "Once only."
        throttle = "1/10s per user"
        async def execute(self, ctx: Context) -> None:
            await ctx.reply("once")

    class Cancelled(Command):
        "It cancels itself."
        async def execute(self, ctx: Context) -> None:
            raise asyncio.CancelledError

    class Slow(Command):
        "It takes its time."
        defer = "ephemeral"
        async def execute(self, ctx: Context) -> None:
            while not ctx.inter.response.is_done():
                await asyncio.sleep(0.01)
            await ctx.reply("at last")
            await ctx.reply("and more")

    class Outer(Command):
        "A command with sub-commands."
        roles = ("admin",)

        async def execute_first(self, ctx: Context, n: int = 1) -> None:
            "The first."
            await ctx.reply(f"first {n}")

        class Open(Command):
            "For everybody."
            roles = ()
            async def execute(self, ctx: Context) -> None:
                await ctx.reply("open")

        class Group(Command):
            "A group."
            async def execute_deep(self, ctx: Context) -> None:
                "Deep down."
                await ctx.reply("deep")

    class Buttons(Command):
        "Buttons, a select and a form."
        async def execute(self, ctx: Context) -> None:
            await ctx.reply("press", components=[
                disnake.ui.Button(label="Count", custom_id=self.custom_id("count", 1)),
                disnake.ui.Button(label="Explode", custom_id=self.custom_id("explode")),
                disnake.ui.Button(label="Quiet", custom_id=self.custom_id("quiet")),
                disnake.ui.Button(label="Form", custom_id=self.custom_id("form")),
                disnake.ui.Button(label="Gone", custom_id="gone:long:ago"),
            ])

        @component("count")
        async def count(self, ctx: Context, n: str) -> None:
            again = disnake.ui.Button(label="Count", custom_id=self.custom_id("count", int(n) + 1))
            await ctx.edit(content=f"counted {n}", components=[again])

        @component("explode")
        async def explode(self, ctx: Context) -> None:
            raise RuntimeError("bang")

        @component("quiet")
        async def quiet(self, ctx: Context) -> None:
            pass

        @component("form")
        async def form(self, ctx: Context) -> None:
            field = disnake.ui.TextInput(custom_id="name")
            await ctx.ask(self.custom_id("sent", "x"), title="Form", components=[disnake.ui.Label("Name", field)])

        @modal("sent")
        async def sent(self, ctx: Context, mark: str) -> None:
            if ctx.fields["name"] == "boom":
                raise RuntimeError("bang")
            await ctx.reply(f"hello {ctx.fields['name']} {mark}", ephemeral=True)

    class Who(UserCommand):
        "Who."
        async def execute(self, ctx: Context, user) -> None:
            await ctx.reply(f"this is {user.name}")

    class Quote(MessageCommand):
        "Quote."
        async def execute(self, ctx: Context, message) -> None:
            await ctx.reply(f"> {message.content}")
"""

COG = """
    import asyncio
    import sys

    import disnake
    from disnake.ext import commands

    class Sour(commands.CheckFailure):
        pass

    class View(disnake.ui.View):
        @disnake.ui.button(label="Fine")
        async def fine(self, button, inter):
            await inter.response.send_message("view answered")

        @disnake.ui.button(label="Broken")
        async def broken(self, button, inter):
            raise RuntimeError("view broke")

        @disnake.ui.button(label="Leave")
        async def leave(self, button, inter):
            sys.exit(3)

    class Plain(commands.Cog):
        def __init__(self, bot):
            self.bot = bot
            self.heard = []

        @commands.slash_command(description="fine")
        async def p_fine(self, inter):
            await inter.response.send_message("plain")

        @commands.slash_command(description="raises")
        async def p_raise(self, inter):
            raise RuntimeError("plain boom")

        @commands.slash_command(description="a truthy local handler hides the error from everybody else")
        async def p_hidden(self, inter):
            raise RuntimeError("hidden boom")

        @p_hidden.error
        async def hide(self, inter, error):
            await inter.response.send_message("I saw it", ephemeral=True)
            return True

        @commands.slash_command(description="its handler fails as well")
        async def p_twice(self, inter):
            raise RuntimeError("first boom")

        @p_twice.error
        async def twice(self, inter, error):
            raise ValueError("second boom")

        @commands.slash_command(description="a check refuses")
        @commands.check(lambda inter: False)
        async def p_check(self, inter):
            await inter.response.send_message("never")

        @commands.slash_command(description="permissions")
        @commands.has_permissions(administrator=True)
        async def p_admin(self, inter):
            await inter.response.send_message("admin")

        @commands.slash_command(description="cooldown")
        @commands.cooldown(1, 60, commands.BucketType.user)
        async def p_cool(self, inter):
            await inter.response.send_message("cool")

        @commands.slash_command(description="a check that breaks")
        @commands.check(lambda inter: 1 / 0)
        async def p_brokencheck(self, inter):
            await inter.response.send_message("never")

        @commands.slash_command(description="converter")
        async def p_convert(self, inter, n: int = commands.Param(converter=lambda inter, n: 1 / (n - 1))):
            await inter.response.send_message(str(n))

        @commands.slash_command(description="group")
        async def p_group(self, inter):
            pass

        @p_group.sub_command(description="one")
        async def one(self, inter):
            await inter.response.send_message("one")

        @p_group.sub_command(description="two")
        async def two(self, inter):
            raise RuntimeError("two boom")

        @two.error
        async def two_error(self, inter, error):
            return True

        @p_group.sub_command_group()
        async def deep(self, inter):
            pass

        @deep.sub_command(description="three")
        async def three(self, inter):
            raise RuntimeError("three boom")

        @commands.slash_command(description="hooks")
        async def p_after(self, inter):
            await inter.response.send_message("after")

        @p_after.after_invoke
        async def after(self, inter):
            raise RuntimeError("after boom")

        @commands.slash_command(description="hooks")
        async def p_before(self, inter):
            await inter.response.send_message("never")

        @p_before.before_invoke
        async def before(self, inter):
            raise RuntimeError("before boom")

        @commands.slash_command(description="cancelled")
        async def p_cancel(self, inter):
            raise asyncio.CancelledError

        @commands.slash_command(description="defers, follows up")
        async def p_defer(self, inter):
            await inter.response.defer()
            await inter.followup.send("followed")

        @commands.slash_command(description="defers, edits")
        async def p_edit(self, inter):
            await inter.response.defer()
            await inter.edit_original_response("edited")

        @commands.slash_command(description="defers, forgets")
        async def p_forget(self, inter):
            await inter.response.defer()

        @commands.slash_command(description="says nothing")
        async def p_silent(self, inter):
            pass

        @commands.slash_command(description="answers later, elsewhere")
        async def p_later(self, inter):
            self.task = asyncio.create_task(self.later(inter))

        async def later(self, inter):
            await asyncio.sleep(0.02)
            await inter.response.send_message("later")

        @commands.slash_command(description="a listener answers")
        async def p_sour(self, inter):
            raise Sour("sour")

        @commands.slash_command(description="a view")
        async def p_view(self, inter):
            await inter.response.send_message("look", view=View())

        @commands.slash_command(description="waits for a button")
        async def p_wait(self, inter):
            button = disnake.ui.Button(label="Waited", custom_id="p:waited")
            await inter.response.send_message("press", components=[button])
            pressed = await self.bot.wait_for("button_click", timeout=120)
            await pressed.response.send_message("thank you")

        @commands.user_command(name="Plain user")
        async def plain_user(self, inter, user):
            raise RuntimeError("user boom")

        @commands.Cog.listener()
        async def on_slash_command_error(self, inter, error):
            if isinstance(error, Sour):
                await asyncio.sleep(0.01)
                await inter.response.send_message("how sour", ephemeral=True)

        @commands.Cog.listener()
        async def on_button_click(self, inter):
            if inter.data.custom_id == "p:heard":
                await inter.response.send_message("heard")
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot(tmp_path_factory: pytest.TempPathFactory):
    folder = write_commands(tmp_path_factory.mktemp("bot") / "commands", all=COMMANDS, plain=COG)
    async with rig(folder) as running:
        running.service.bot.pipeline.answering.grace_s = 0.3
        yield running


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest):
    """Reset what the tests of the module share."""
    if "bot" in request.fixturenames:
        running: Rig = request.getfixturevalue("bot")
        running.events.clear()
        running.auditor.entries.clear()
        running.limiter.used.clear()
        running.limiter.error = running.guilds.error = None
        running.guilds.settings.clear()


FAILED = "Something went wrong"


@shared_loop
@pytest.mark.parametrize(
    ("command", "result", "expected"),
    [
        ("ping", "ok", "pong"),
        ("fail", "failed", FAILED),
        ("fail-late", "failed", FAILED),
        ("fail-deferred", "failed", FAILED),
        ("silent", "ok", "Done."),
        ("silent-deferred", "ok", "Done."),
        ("wrong", "invalid", "two sides"),
        ("cancelled", "failed", FAILED),
        ("outer first", "ok", "first 1"),
        ("outer group deep", "ok", "deep"),
        ("p_fine", "ok", "plain"),
        ("p_raise", "failed", FAILED),
        ("p_hidden", "failed", "I saw it"),
        ("p_twice", "failed", FAILED),
        ("p_check", "denied", "may not"),
        ("p_brokencheck", "failed", FAILED),
        ("p_convert", "ok", "0.5"),
        ("p_group one", "ok", "one"),
        ("p_group two", "failed", FAILED),
        ("p_group deep three", "failed", FAILED),
        ("p_after", "failed", "after"),
        ("p_before", "failed", FAILED),
        ("p_cancel", "failed", FAILED),
        ("p_defer", "ok", "followed"),
        ("p_edit", "ok", "edited"),
        ("p_forget", "ok", "Done."),
        ("p_silent", "ok", "Done."),
        ("p_later", "ok", "later"),
        ("p_sour", "denied", "how sour"),
    ],
)
async def test_every_command_has_one_outcome_and_one_answer(bot: Rig, command: str, result: str, expected: str):
    options = {"n": "3"} if command == "p_convert" else {}
    before = {message.id for message in await bot.client.messages(Identity("ann"))}
    reply = await bot.run_command(command, options)
    assert bot.results == [result]
    assert bot.finished[0].name == command
    assert len(bot.auditor.entries) == 1
    assert sum(event.type == "command.started" for event in bot.events) == 1
    messages = [message for message in await bot.client.messages(Identity("ann")) if message.id not in before]
    assert expected in " | ".join(message.content for message in [*reply.messages, *messages])


@shared_loop
async def test_error_id_links_the_reply_the_log_and_the_audit(bot: Rig, caplog: pytest.LogCaptureFixture):
    reply = await bot.run_command("fail")
    event = bot.finished[0]
    assert event.error_id is not None
    assert event.error_id in last_text(reply)
    assert reply.messages[-1].ephemeral
    assert bot.auditor.entries[0].error == event.error_id
    line = next(record for record in caplog.records if getattr(record, "error_id", None) == event.error_id)
    assert line.levelno == logging.ERROR
    assert line.exc_info is not None
    assert (line.command, line.guild, line.user, line.interaction) == ("fail", GUILD, event.user, event.invocation)  # type: ignore[attr-defined]


@shared_loop
async def test_options_are_converted_by_their_annotations(bot: Rig):
    assert "okok Colour.red bob" in last_text(
        await bot.run_command("echo", {"word": "ok", "times": "2", "whom": "@bob"})
    )
    assert "hey b None" in last_text(await bot.run_command("echo", {"word": "hey", "colour": "blue"}))


@shared_loop
async def test_autocompletion_is_measured_but_not_audited(bot: Rig):
    """An error is logged, and the user gets no suggestions."""

    def answers() -> list[AutocompleteAnswered]:
        return [event for event in bot.events if isinstance(event, AutocompleteAnswered)]

    choices = await bot.client.complete(AutocompleteQuery("echo", {}, "word", "a", 0), Identity("ann"))
    assert [choice.value for choice in choices] == ["apple"]
    await bot.client.complete(AutocompleteQuery("echo", {}, "word", "boom", 0), Identity("ann"), timeout_s=NO_WAIT_S)
    await until(lambda: len(answers()) == 2)
    assert [(event.name, event.ok) for event in answers()] == [("echo", True), ("echo", False)]
    assert bot.finished == []
    assert bot.auditor.entries == []


@shared_loop
@pytest.mark.parametrize(("user", "result"), [("ann", "ok"), ("bob", "ok"), ("cat", "denied")])
async def test_roles_are_granted_to_users_and_to_discord_roles(bot: Rig, user: str, result: str):
    reply = await bot.run_command("secret", user=user)
    assert bot.results == [result]
    assert ("admin / moderator" in last_text(reply)) is (result == "denied")


@shared_loop
async def test_nested_command_inherits_roles_unless_it_sets_its_own(bot: Rig):
    await bot.run_command("outer first", user="cat")
    await bot.run_command("outer group deep", user="cat")
    await bot.run_command("outer open", user="cat")
    assert bot.results == ["denied", "denied", "ok"]


@shared_loop
async def test_throttled_user_is_told_when_to_try_again(bot: Rig):
    await bot.run_command("once")
    reply = await bot.run_command("once")
    assert "10 s" in last_text(reply)
    assert bot.results == ["ok", "throttled"]
    assert (bot.finished[1].reason, bot.finished[1].retry_after_s) == ("1/10s per user", 10.0)


@shared_loop
async def test_cooldown_and_permissions_of_a_cog_are_refusals(bot: Rig):
    await bot.run_command("p_cool")
    await bot.run_command("p_cool")
    reply = await bot.run_command("p_admin", user="cat")
    assert bot.results == ["ok", "throttled", "denied"]
    assert "Administrator" in last_text(reply)


@shared_loop
@pytest.mark.parametrize(
    ("disabled", "command"), [("outer", "outer open"), ("outer open", "outer open"), ("p_fine", "p_fine")]
)
async def test_disabled_command_is_denied_in_the_guild_language(bot: Rig, disabled: str, command: str):
    """It is disabled by its full name or the first part of it; disnake cogs too."""
    bot.guilds.settings[GUILD] = GuildSettings(disabled=frozenset({disabled}), locale="de")
    reply = await bot.run_command(command)
    assert bot.results == ["denied"]
    assert "ausgeschaltet" in last_text(reply)


@shared_loop
async def test_commands_run_without_stores(bot: Rig):
    """Without the limiter every use is allowed; guild settings are the last known ones; roles need no store."""
    bot.guilds.settings[GUILD] = GuildSettings(disabled=frozenset({"p_fine"}))
    await bot.run_command("p_fine")
    bot.guilds.error = bot.limiter.error = ConnectionError("down")
    pipeline = bot.service.bot.pipeline
    before = pipeline.admission.limiter_failures.count, pipeline.admission.settings_failures.count
    await bot.run_command("p_fine")
    await bot.run_command("ping")
    await bot.run_command("secret", user="cat")
    assert bot.results == ["denied", "denied", "ok", "denied"]
    assert pipeline.admission.limiter_failures.count == before[0] + 1
    assert pipeline.admission.settings_failures.count == before[1] + 3


@shared_loop
async def test_hanging_store_delays_a_command_only_briefly(bot: Rig, monkeypatch: pytest.MonkeyPatch):
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(admission_module, "ADMISSION_TIMEOUT_S", 0.02)
    monkeypatch.setattr(bot.limiter, "check", hang)
    monkeypatch.setattr(bot.guilds, "get", hang)
    assert last_text(await bot.run_command("ping")) == "pong"
    assert "admin" in last_text(await bot.run_command("secret", user="cat"))


@shared_loop
async def test_slow_command_is_deferred_automatically(bot: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bot.service.bot.pipeline, "_defer_after_s", 0.02)
    await bot.run_command("slow")
    messages = await bot.client.messages(Identity("ann"))
    assert [message.content for message in messages[-2:]] == ["at last", "and more"]
    assert [message.ephemeral for message in messages[-2:]] == [True, False]
    assert bot.results == ["ok"]


@shared_loop
async def test_buttons_and_forms_are_separate_invocations(bot: Rig):
    """Their names are the command and the handler; parts of the custom id are arguments."""
    await bot.run_command("buttons")
    assert last_text(await bot.click("Explode")).startswith(FAILED)
    assert (await shown_so_far(bot.sandbox, bot.click("Quiet"))).state == "deferred_update"
    assert (await bot.click("Form")).state == "modal"
    assert last_text(await bot.submit({"name": "ann"})) == "hello ann x"
    await bot.click("Form")
    assert last_text(await bot.submit({"name": "boom"})).startswith(FAILED)
    assert (await bot.click("Count")).state == "updated"
    assert last_text(await bot.click("Count")) == "counted 2"
    assert [(event.kind, event.name, event.result) for event in bot.finished[1:]] == [
        ("component", "buttons:explode", "failed"),
        ("component", "buttons:quiet", "ok"),
        ("component", "buttons:form", "ok"),
        ("modal", "buttons:sent", "ok"),
        ("component", "buttons:form", "ok"),
        ("modal", "buttons:sent", "failed"),
        ("component", "buttons:count", "ok"),
        ("component", "buttons:count", "ok"),
    ]
    assert len(bot.auditor.entries) == 9


@shared_loop
async def test_button_without_a_handler_is_answered_as_invalid(bot: Rig):
    await bot.run_command("buttons")
    assert last_text(await bot.click("Gone")) == "This no longer works."
    assert bot.results == ["ok", "invalid"]


@shared_loop
async def test_buttons_of_a_disabled_command_are_disabled_too(bot: Rig):
    await bot.run_command("buttons")
    bot.guilds.settings[GUILD] = GuildSettings(disabled=frozenset({"buttons"}))
    assert "switched off" in last_text(await bot.click("Quiet"))
    assert bot.results == ["ok", "denied"]


@shared_loop
async def test_views_of_plain_cogs_go_through_the_pipeline(bot: Rig):
    await bot.run_command("p_view")
    assert last_text(await bot.click("Fine")) == "view answered"
    assert last_text(await bot.click("Broken")).startswith(FAILED)
    assert last_text(await bot.click("Leave")).startswith(FAILED)
    bot.limiter.used["p_view:*", bot.finished[0].user] = 1000
    assert "Not so fast" in last_text(await bot.click("Fine"))
    assert [(event.name, event.result) for event in bot.finished[1:]] == [
        ("p_view:*", "ok"),
        ("p_view:*", "failed"),
        ("p_view:*", "failed"),
        ("p_view:*", "throttled"),
    ]


@shared_loop
async def test_wait_for_receives_a_button_click(bot: Rig, monkeypatch: pytest.MonkeyPatch):
    """botctl waits for its answer, and gives none itself."""
    monkeypatch.setattr(bot.service.bot.pipeline.answering, "grace_s", LIMIT_S)
    sending = asyncio.create_task(bot.client.send(SlashCall("p_wait"), Identity("ann")))
    await sending
    reply = await bot.client.click("Waited", Identity("ann"))
    await bot.wait_until_idle(reply)
    assert last_text(reply) == "thank you"
    assert sorted(bot.results) == ["ok", "ok"]


@shared_loop
async def test_user_and_message_commands_are_answered(bot: Rig):
    assert last_text(await bot.menu("Who", "@bob")) == "this is bob"
    await bot.client.send("quote me", Identity("cat"))
    assert last_text(await bot.menu("Quote", "last")) == "> quote me"
    assert last_text(await bot.menu("Plain user", "@bob")).startswith(FAILED)
    assert [(event.kind, event.result) for event in bot.finished] == [
        ("user", "ok"),
        ("message", "ok"),
        ("user", "failed"),
    ]


async def test_button_works_after_a_restart(tmp_path: Path):
    folder = write_commands(tmp_path / "commands", all=COMMANDS)
    async with rig(folder) as first:
        await first.run_command("buttons")
        sandbox = first.sandbox
    async with rig(folder, make=lambda _: sandbox, port=int(sandbox.url.rpartition(":")[2])) as second:
        assert last_text(await second.click("Count")) == "counted 1"
