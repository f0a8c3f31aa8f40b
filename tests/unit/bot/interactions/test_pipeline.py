"""Every interaction has one outcome, one audit entry and an answer."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import disnake
import pytest
from disnake.ext import commands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError

from botctl.bot.commands.builder import build
from botctl.bot.commands.command import Command, UserCommand, component, kind_of
from botctl.bot.commands.compiled import ValidationContext
from botctl.bot.commands.policy import CommandPolicy
from botctl.bot.interactions import admission
from botctl.core.contracts.events import AutocompleteAnswered
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.core.contracts.invocation import Kind
from tests.support.offline import Offline, click, complete, interaction, menu, offline, slash
from tests.support.raised import NO_EXCEPTIONS

ANN = "900000000000000101"
SUB_COMMANDS = ("", " leaf", " group leaf")


class UnexpectedError(Exception): ...


@dataclass(frozen=True)
class Shape:
    """How a command behaves: its depth, and what happens at each of disnake's hooks."""

    depth: int
    check: str
    before: str
    group: str
    handler: tuple[str, ...]
    local: str
    listener: str
    after: str
    cancel_at: int | None
    refused: bool


STEPS = ("pass", "raise", "refuse", "cancel")
SHAPES = st.builds(
    Shape,
    depth=st.integers(0, 2),
    check=st.sampled_from(("pass", "pass", "raise", "refuse", "false")),
    before=st.sampled_from(("pass", "pass", *STEPS)),
    group=st.sampled_from(("pass", "pass", *STEPS)),
    handler=st.lists(st.sampled_from(("reply", "defer", "edit", "follow", "pass", *STEPS)), max_size=3).map(tuple),
    local=st.sampled_from(("none", "none", "hide", "seen", "reply", "raise", "cancel")),
    listener=st.sampled_from(("none", "none", "reply", "raise")),
    after=st.sampled_from(("pass", "pass", *STEPS)),
    cancel_at=st.none() | st.integers(0, 6),
    refused=st.booleans(),
)


async def run_step(step: str, inter: Any) -> Any:
    """Run one step of a shape."""
    match step:
        case "raise":
            raise UnexpectedError("odd")
        case "refuse":
            raise commands.CheckFailure("no")
        case "cancel":
            raise asyncio.CancelledError
        case "false":
            return False
        case "reply" if not inter.response.is_done():
            await inter.response.send_message("mine")
        case "defer" if not inter.response.is_done():
            await inter.response.defer()
        case "edit" if inter.response.is_done():
            await inter.edit_original_response("mine")
        case "follow" if inter.response.is_done():
            await inter.followup.send("mine")
        case "hide":
            return True
        case _:
            await asyncio.sleep(0)
    return step != "seen"


def command_of(shape: Shape) -> commands.InvokableSlashCommand:
    """Build a disnake command of this shape, with hooks and handlers as in a cog."""

    async def handler(inter):
        for step in shape.handler:
            await run_step(step, inter)

    async def group(inter):
        await run_step(shape.group, inter)

    async def _nothing(inter):
        pass

    root = commands.slash_command(name="shape", description="x")(handler if shape.depth == 0 else group)
    command: Any = root
    if shape.depth == 1:
        command = root.sub_command("leaf", "x")(handler)
    elif shape.depth == 2:
        command = root.sub_command_group("group")(_nothing).sub_command("leaf", "x")(handler)
    if shape.check != "pass":
        command.add_check(lambda inter: run_step(shape.check, inter))

    async def before(inter):
        await run_step(shape.before, inter)

    async def after(inter):
        await run_step(shape.after, inter)

    async def local(inter, error):
        return await run_step(shape.local, inter) and shape.local == "hide"

    command._before_invoke, command._after_invoke = before, after
    if shape.local != "none":
        command.error(local)
    return root


async def run(rig: Offline, shape: Shape) -> None:
    rig.bot.add_slash_command(command_of(shape))
    if shape.refused:
        rig.limiter.used["shape" + SUB_COMMANDS[shape.depth], ANN] = 10

    async def listener(inter, error):
        await run_step(shape.listener, inter)

    if shape.listener != "none":
        rig.bot.add_listener(listener, "on_slash_command_error")
    rig.receive(slash("shape" + SUB_COMMANDS[shape.depth]))
    for _ in range(shape.cancel_at or 0):
        await asyncio.sleep(0)
    if shape.cancel_at is not None:
        rig.bot.pipeline._cancel_pending()
    await rig.wait_until_idle()


@given(shape=SHAPES)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_every_interaction_has_one_outcome_and_an_answer(shape: Shape):
    """One start, one outcome, one entry; no interaction stays on "thinking…"; failures have an error id."""

    async def scenario() -> None:
        with offline() as rig:
            await run(rig, shape)
            started = [event for event in rig.events if event.type == "command.started"]
            assert (len(started), len(rig.finished), len(rig.auditor.entries)) == (1, 1, 1)
            outcome = rig.finished[0]
            assert rig.bot.pipeline.in_flight == 0
            await rig.bot.pipeline.drain(0)  # users who wait for a deferred answer are told
            assert rig.webhooks.answers
            assert not rig.webhooks.thinking
            assert (outcome.error_id is not None) == (outcome.result == "failed")
            assert outcome.result in expected(shape), outcome
            if outcome.result == "throttled":
                assert shape.refused

    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(scenario())
    finally:
        logging.disable(logging.NOTSET)


def expected(shape: Shape) -> set[str]:
    """Return the possible results of a shape."""
    steps = {shape.check, shape.before, shape.after, *shape.handler}
    if shape.depth:
        steps.add(shape.group)
    descriptions = {"ok"} if not steps & {"raise", "refuse", "cancel", "false"} else set()
    if "raise" in steps:
        descriptions |= {"failed"}
    if steps & {"refuse", "false"}:
        descriptions |= {"denied"}
    if shape.refused:
        descriptions |= {"throttled"}
    if "cancel" in steps or shape.cancel_at is not None:
        descriptions |= {"cancelled", "ok", "failed", "denied"}
    return descriptions


async def test_second_interaction_with_same_id_is_ignored():
    with offline() as rig:
        rig.bot.slash_command(name="one", description="x")(_reply)
        payload = slash("one")
        rig.receive(payload)
        rig.receive(payload)
        await rig.wait_until_idle()
        assert len(rig.finished) == 1
        assert rig.webhooks.answers == [("reply", "one")]


async def test_unknown_command_is_answered_as_invalid():
    with offline() as rig:
        rig.receive(slash("gone"))
        await rig.wait_until_idle()
        assert [(e.result, e.reason) for e in rig.finished] == [("invalid", "no such command")]
        assert rig.webhooks.answers == [("reply", "This command no longer exists.")]


async def test_drain_cancels_listeners_of_a_component():
    ended = []

    async def listener(inter):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with offline() as rig:
        rig.bot.add_listener(listener, "on_button_click")
        rig.receive(click("some:button"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await rig.bot.pipeline.drain(0)
        assert ended == [True]
        assert [e.result for e in rig.finished] == ["cancelled"]
        assert "restarting" in rig.webhooks.answers[0][1]


@pytest.mark.looptime
async def test_drain_records_a_handler_that_ignores_cancellation():
    release = asyncio.Event()

    async def ignores_cancellation(inter):
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    with offline() as rig:
        rig.bot.slash_command(name="stubborn", description="x")(ignores_cancellation)
        rig.receive(slash("stubborn"))
        await asyncio.sleep(0)
        await rig.bot.pipeline.drain(5)
        assert asyncio.get_running_loop().time() < 10
        assert [e.result for e in rig.finished] == ["cancelled"]
        release.set()
        await rig.wait_until_idle()
        assert len(rig.finished) == 1


async def test_cancelled_drain_cancels_all_handlers_at_once():
    with offline() as rig:

        async def endless(inter):
            await asyncio.Event().wait()

        rig.bot.slash_command(name="endless", description="x")(endless)
        rig.receive(slash("endless"))
        await asyncio.sleep(0)
        drain = asyncio.create_task(rig.bot.pipeline.drain(1000))
        await asyncio.sleep(0)
        drain.cancel()
        await rig.wait_until_idle()
        assert [e.result for e in rig.finished] == ["cancelled"]


async def test_outage_in_a_command_is_logged_without_traceback(caplog: pytest.LogCaptureFixture):
    async def fails(inter):
        raise RedisConnectionError("Error 111 connecting to 10.0.0.1")

    with offline() as rig:
        rig.bot.slash_command(name="leave", description="x")(fails)
        rig.receive(slash("leave"))
        await rig.wait_until_idle()
        assert [e.error_type for e in rig.finished] == ["ConnectionError"]
    (logged,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert logged.getMessage().endswith(": Redis fails (ConnectionError)")
    assert logged.exc_info is None


@pytest.mark.parametrize("end", NO_EXCEPTIONS, ids=repr)
async def test_handler_may_raise_anything_and_fails_only_itself(end: BaseException, caplog: pytest.LogCaptureFixture):
    """A command, a context menu, a listener of buttons and one of forms, a view; and suggestions."""

    async def exits(inter):
        raise end

    async def suggest(inter, typed):
        raise end

    class Panel(disnake.ui.View):
        @disnake.ui.button(custom_id="panel")
        async def press(self, button, inter):
            raise end

    with offline() as rig:
        command = rig.bot.slash_command(name="leave", description="x", options=[disnake.Option("word")])(exits)
        command.autocomplete("word")(suggest)
        rig.bot.user_command(name="Leave")(exits)
        rig.bot.add_listener(exits, "on_button_click")
        rig.bot.add_listener(exits, "on_modal_submit")
        rig.bot.add_listener(exits, "on_slash_command")
        rig.bot.add_view(Panel(timeout=None))
        rig.receive(slash("leave"))
        rig.receive(menu("Leave"))
        rig.receive(click("some:button"))
        rig.receive(click("panel"))
        rig.receive(interaction(5, {"custom_id": "some:form", "components": []}))
        rig.receive(complete("leave", "word"))
        await rig.wait_until_idle()
        assert [(e.result, e.error_type) for e in rig.finished] == [("failed", type(end).__name__)] * 5
        assert [event.ok for event in rig.events if isinstance(event, AutocompleteAnswered)] == [False]
        assert all(event.error_id for event in rig.finished)
        assert all("Something went wrong" in content for _, content in rig.webhooks.answers)
        assert "a listener of on_slash_command failed" in caplog.text


async def test_handler_that_raises_cancelled_error_has_failed():
    async def cancel(inter):
        raise asyncio.CancelledError

    with offline() as rig:
        rig.bot.slash_command(name="cancel", description="x")(cancel)
        rig.receive(slash("cancel"))
        await rig.wait_until_idle()
        assert [(e.result, e.error_type) for e in rig.finished] == [("failed", "CancelledError")]
        assert "restarting" not in rig.webhooks.answers[0][1]


async def test_expired_interaction_is_logged_as_one_warning(caplog: pytest.LogCaptureFixture):
    async def late(inter):
        raise disnake.InteractionTimedOut(inter)

    with offline() as rig:
        rig.bot.slash_command(name="late", description="x")(late)
        rig.receive(slash("late"))
        await rig.wait_until_idle()
        assert [(e.result, e.reason) for e in rig.finished] == [("cancelled", "expired before it was answered")]
        assert rig.webhooks.answers == []
    locales = [record for record in caplog.records if record.levelno > logging.INFO]
    assert [(record.levelname, record.exc_info) for record in locales] == [("WARNING", None)]
    assert "late expired" in caplog.text


async def test_describe_task_names_the_command_or_component():
    descriptions = []

    async def describe(inter):
        descriptions.append(rig.bot.pipeline.describe_task(asyncio.current_task()))

    class Button(Command):
        """Press it."""

        async def execute(self, ctx):
            pass

        @component("it")
        async def it(self, ctx):
            await describe(ctx.inter)

    with offline() as rig:
        rig.bot.slash_command(name="look", description="x")(describe)
        compiled = build(Button, ValidationContext(), lambda *_: None)
        rig.bot.pipeline.register(compiled, compiled.bind(lambda _: {}))
        rig.receive(slash("look"))
        rig.receive(click("button:it"))
        await rig.wait_until_idle()
        assert sorted(descriptions) == ["/look", "button:it"]
        assert rig.bot.pipeline.describe_task(asyncio.current_task()) is None


async def test_denied_command_logs_no_warning(caplog: pytest.LogCaptureFixture):
    with offline() as rig:
        rig.bot.slash_command(name="one", description="x")(_reply)
        rig.bot.pipeline.policies[Kind.SLASH, "one"] = CommandPolicy(roles=("unassigned",))
        rig.receive(slash("one"))
        await rig.wait_until_idle()
        assert [event.result for event in rig.finished] == ["denied"]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def add_commands(rig: Offline, *classes: type[Command]) -> None:
    for cls in classes:
        compiled = build(cls, ValidationContext(roles={"admin"}), lambda *fault: pytest.fail(str(fault)))
        assert compiled is not None
        add = {Kind.SLASH: rig.bot.add_slash_command, Kind.USER: rig.bot.add_user_command}[kind_of(cls)]
        add(compiled.invokable)  # type: ignore[arg-type]
        rig.bot.pipeline.register(compiled, compiled.bind(lambda _: {}))


class Ban(Command):
    """Ban a user."""

    roles = ("admin",)
    throttle = "1/1h per user"

    async def execute(self, ctx, name: str = commands.Param(default="", autocomplete=lambda _inter, typed: [typed])):
        await ctx.reply("banned")

    @component("sure")
    async def sure(self, ctx):
        await ctx.reply("banned indeed")


class Open(UserCommand):
    """Has the name of another command, for everyone."""

    name = "ban"

    async def execute(self, ctx, user):
        await ctx.reply("looked at")

    @component("sure")
    async def sure(self, ctx):
        await ctx.reply("seen")


@pytest.mark.parametrize("order", [(Ban, Open), (Open, Ban)])
async def test_commands_of_two_kinds_keep_their_own_rules(order):
    with offline() as rig:
        add_commands(rig, *order)
        for payload in (slash("ban"), menu("ban"), click("ban:sure"), click("user/ban:sure")):
            rig.receive(payload)
        await rig.wait_until_idle()
        results = {(event.kind, event.name): event.result for event in rig.finished}
        assert results == {
            ("slash", "ban"): "denied",
            ("user", "ban"): "ok",
            ("component", "ban:sure"): "denied",
            ("component", "user/ban:sure"): "ok",
        }
        limits = {name: ", ".join(map(str, limits)) for name, limits in rig.bot.policies().items()}
        assert limits["ban"] == limits["ban:sure"] == "1/1h per user"
        assert limits["user/ban"] == limits["component/user/ban:sure"] == ""


@pytest.mark.parametrize("pages", [lambda n: f"btn-{n}", lambda n: f"page:{n}:x", lambda n: f"{n:032x}"])
async def test_buttons_with_free_custom_ids_share_one_limit(pages):
    async def listener(inter):
        await inter.response.send_message("clicked")

    with offline() as rig:
        rig.bot.add_listener(listener, "on_button_click")
        for n in range(20):
            rig.receive(click(pages(n)))
        await rig.wait_until_idle()
        assert [event.result for event in rig.finished].count("ok") == 5
        assert {event.name for event in rig.finished} == {"message"}


async def test_views_of_one_cog_share_one_limit():
    class View(disnake.ui.View):
        @disnake.ui.button(label="x")
        async def press(self, button, inter):
            await inter.response.send_message("pressed")

    with offline() as rig:
        rig.bot.add_cog(type("Shop", (commands.Cog,), {"__module__": __name__})())
        for _ in range(20):
            view = View(timeout=None)
            rig.bot._connection.store_view(view)
            rig.receive(click(view.children[0].custom_id))  # type: ignore[attr-defined]
        await rig.wait_until_idle()
        assert [event.result for event in rig.finished].count("ok") == 5
        assert {event.name for event in rig.finished} == {"cog/Shop:*"}


async def suggested(rig: Offline, *payloads: dict[str, Any]) -> list[str]:
    for payload in payloads:
        rig.receive(payload)
    await rig.wait_until_idle()
    return [content for kind, content in rig.webhooks.answers if kind == "suggest"]


async def test_suggestions_are_given_to_those_who_may_use_the_command():
    with offline() as rig:
        rig.bot.slash_command(name="find", description="x")(_find)
        add_commands(rig, Ban)
        assert await suggested(rig, complete("find"), complete("ban")) == ["a", ""]
        assert "autocomplete/find" in rig.bot.policies()
        assert (rig.finished, rig.auditor.entries) == ([], [])
        assert [(event.name, event.ok) for event in rig.events] == [("find", True), ("ban", True)]  # type: ignore[attr-defined]


async def test_suggestions_have_limits_of_their_own():
    with offline() as rig:
        rig.bot.slash_command(name="find", description="x")(_find)
        assert await suggested(rig, *(complete("find") for _ in range(400))) == ["a"] * 60 + [""] * 340
        rig.receive(slash("find"))
        await rig.wait_until_idle()
        assert [event.result for event in rig.finished] == ["ok"]


async def test_disabled_command_and_stopping_bot_suggest_nothing():
    with offline() as rig:
        rig.bot.slash_command(name="find", description="x")(_find)
        rig.guilds.settings["5"] = GuildSettings(disabled=frozenset({"find"}))
        assert await suggested(rig, complete("find", guild="5"), complete("find", guild="6")) == ["", "a"]
        rig.guilds.error = ConnectionError("down")
        assert await suggested(rig, complete("find", guild="5")) == ["", "a", ""]
        await rig.bot.pipeline.drain(0)
        assert await suggested(rig, complete("find")) == ["", "a", "", ""]


async def _find(inter, what: str = commands.Param(default="", autocomplete=lambda _inter, _typed: ["a"])):
    await inter.response.send_message("found")


async def _reply(inter):
    await inter.response.send_message("one")


async def test_remembered_settings_are_limited_and_skip_default_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_REMEMBERED_GUILDS", 2)
    with offline() as rig:
        bot_pipeline = rig.bot.pipeline
        for guild in ("1", "2", "3"):
            rig.guilds.settings[guild] = GuildSettings(locale="de", revision=1)
        for guild in ("plain", "1", "2", "1", "3"):
            await bot_pipeline.admission.load_settings(guild)
        del rig.guilds.settings["3"]
        await bot_pipeline.admission.load_settings("3")
        rig.guilds.error = ConnectionError("down")
        locales = {
            guild: (await bot_pipeline.admission.load_settings(guild)).locale for guild in ("plain", "1", "2", "3")
        }
    assert locales == {"plain": None, "1": "de", "2": None, "3": None}
    assert set(bot_pipeline.admission._remembered) == {"1"}
