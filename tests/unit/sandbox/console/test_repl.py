"""The prompt's lines and the client, against a real sandbox with a scripted bot."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from botctl.core.errors import BotctlError, Unreachable, UsageError
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from botctl.sandbox.console.message_diff import MessageDiff
from botctl.sandbox.console.repl import run_line, suggest
from botctl.sandbox.console.repl_commands import REPL_COMMANDS, Notice, Quit, parse_assignments, split_words
from botctl.sandbox.console.schemas import MessageSchema, ReplySchema
from botctl.sandbox.console.user_session import UserSession, resolve_numbers
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.process.serve import RunningSandbox
from botctl.sandbox.sandbox import Access, Sandbox
from tests.support.discord import BOB, GENERAL, PATIENT, STAFF, served, shown_so_far
from tests.support.fake_bot import fake_bot
from tests.support.fake_bot_scripts import ANSWERS, COMMANDS, reply_with
from tests.support.waiting import LIMIT_S, expires


def sandbox(url: str) -> Sandbox:
    world = default_world(url=url)
    return Sandbox(world, Access({"token": next(iter(world.applications))}, "secret"), limits=PATIENT)


@pytest.fixture
async def running() -> AsyncIterator[RunningSandbox]:
    async with served(sandbox) as running:
        yield running


@pytest.fixture
async def session(running: RunningSandbox) -> AsyncIterator[UserSession]:
    async with (
        fake_bot(running.url, "token", COMMANDS, ANSWERS),
        SandboxClient(running.url, "secret") as client,
    ):
        session = UserSession(client, Identity(), timeout_s=LIMIT_S)
        await session.resolve_defaults()
        yield session


async def replied(session: UserSession, line: str) -> ReplySchema:
    outcome = await run_line(session, line)
    assert isinstance(outcome, ReplySchema)
    return outcome


async def content(session: UserSession, line: str) -> list[str]:
    return [message.content for message in (await replied(session, line)).messages]


async def hints(session: UserSession, line: str) -> list[str]:
    return [hint.text for hint in await suggest(session, line, len(line))]


async def test_default_identity_is_first_person_and_channel(session: UserSession) -> None:
    assert session.identity == Identity("ann", "general", None)


async def test_lines_are_commands_or_messages(session: UserSession) -> None:
    assert await content(session, "/roll sides:20") == ["You rolled **20**."]
    assert await content(session, '/settings set key:locale value:"de DE"') == ["locale is now “de DE”."]
    assert await content(session, "hello") == ["hello"]
    assert await content(session, ":smile: hello") == [":smile: hello"]
    assert await content(session, ":say :as bob") == [":as bob"]


async def test_buttons_selects_and_modals_work(session: UserSession, running: RunningSandbox) -> None:
    await run_line(session, "/poll")
    assert await hints(session, ":click ") == ["Pizza", "Close", "A drink"]
    assert await content(session, ":click pizza") == ["ann wants pizza"]
    assert await content(session, ':pick "A drink" 2') == ["Chosen: m"]
    assert (await shown_so_far(running.sandbox, replied(session, ":click Close"))).state == "deferred_update"
    assert (await replied(session, "/feedback")).modal is not None
    assert await hints(session, ":submit ") == ["subject=", "text="]
    assert await content(session, ':submit subject="It works" text=well') == ["Thank you for “It works”."]
    assert session.modal is None


async def test_user_replies_edits_reacts_and_deletes(session: UserSession) -> None:
    await run_line(session, "tea at five @bob in #staff, not@bob @unknown")
    (said,) = await session.client.messages(session.identity, limit=1)
    assert said.content == f"tea at five <@{BOB}> in <#{STAFF}>, not@bob @unknown"
    await run_line(session, ":as bob")
    assert (await replied(session, ":reply gladly")).messages[0].reply_to == "ann"
    assert (await replied(session, ":edit with pleasure")).messages[0].edited
    assert (await replied(session, ":react 👍")).messages[0].reactions[0].emoji == "👍"
    assert (await replied(session, ":unreact 👍")).messages[0].reactions == []
    assert await run_line(session, ":delete") == Notice("Deleted.")
    assert [message.content for message in await session.client.messages(session.identity)] == [said.content]
    assert (await replied(session, ":react nonsense")).error == "Unknown Emoji."


async def test_two_users_exchange_direct_messages(session: UserSession) -> None:
    assert await hints(session, ":dm ") == ["bob", "cat", "botctl-bot"]
    await run_line(session, ":dm bob")
    assert session.location == "@bob"
    await run_line(session, "a word")
    await run_line(session, ":as bob")
    await run_line(session, ":dm ann")
    assert [message.content for message in await session.client.messages(session.identity)] == ["a word"]
    await run_line(session, ":channel general")
    assert (session.location, list(await session.client.messages(session.identity))) == ("#general", [])


async def test_user_can_enter_a_thread(session: UserSession) -> None:
    body = {"name": "plans", "type": 11}
    headers = {"Authorization": "Bot token"}
    async with (
        aiohttp.ClientSession(session.client._url, headers=headers) as http,
        http.post(f"/api/v10/channels/{GENERAL}/threads", json=body) as made,
    ):
        assert made.status == 201
    await session.refresh()
    assert await hints(session, ":channel p") == ["plans"]
    await run_line(session, ":channel plans")
    assert await content(session, "in it") == ["in it"]


async def test_incident_and_advance_commands_work(session: UserSession) -> None:
    assert "op7-storm" in await hints(session, ":incident op7")
    assert await run_line(session, ":incident latency 10s delay_s=0") == Notice(
        "latency has begun for 10 s: delay_s=0.0, jitter_s=0.5"
    )
    listed = await run_line(session, ":incident")
    assert isinstance(listed, Notice)
    assert listed.text.endswith("Active: latency.")
    assert await run_line(session, ":incident stop latency") == Notice("latency has ended.")
    before = await session.client.advance(0)
    after = await run_line(session, ":advance 15m")
    assert isinstance(after, Notice)
    minutes = datetime.fromisoformat(after.text.split()[4]) - datetime.fromisoformat(before)
    assert timedelta(minutes=15) <= minutes < timedelta(minutes=16)
    with pytest.raises(UsageError, match="one duration"):
        await run_line(session, ":incident latency 10s 5s")


async def test_private_followup_after_deleted_public_defer_is_awaited(session: UserSession) -> None:
    assert await content(session, "/sorry") == ["Not for everyone."]


async def test_context_menu_commands_work(session: UserSession) -> None:
    assert await hints(session, ":menu ") == ["Who is", "Shout"]
    assert await content(session, ":menu Who is @cat") == ["cat"]
    await run_line(session, "quiet")
    assert await content(session, ":menu Shout last") == ["QUIET"]


async def test_silent_bot_gives_no_answer_state(session: UserSession) -> None:
    session.timeout_s = expires(0.1)
    reply = await replied(session, "/silent")
    assert reply.state == "no_answer"
    assert not reply.answered


async def test_invalid_option_value_is_refused(session: UserSession) -> None:
    reply = await replied(session, "/roll sides:1")
    assert (reply.state, reply.answered) == ("refused", False)
    assert "at least 2" in (reply.error or "")


async def test_user_channel_and_guild_can_be_changed(session: UserSession) -> None:
    await run_line(session, "/secret")
    assert await hints(session, ":as b") == ["bob"]
    assert await run_line(session, ":as @bob") == Notice("You are bob now.")
    seen = await run_line(session, ":messages")
    assert seen == []  # what was for ann alone
    assert await run_line(session, ":channel #staff") == []
    await run_line(session, "hi")
    assert session.identity == Identity("bob", "staff")
    assert await run_line(session, ":guild Botctl Test Guild") == Notice(
        "You are in #general of Botctl Test Guild now."
    )


async def test_who_help_and_quit_commands_work(session: UserSession) -> None:
    who = await run_line(session, ":who")
    assert isinstance(who, Notice)
    assert "@ann, @bob, @cat" in who.text
    assert "botctl-bot" in who.text
    listing = await run_line(session, ":help")
    assert isinstance(listing, Notice)
    assert all(f":{word}" in listing.text for word in REPL_COMMANDS)
    assert isinstance(await run_line(session, ":quit"), Quit)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (":frob", 'There is no command ":frob".'),
        (":as bo", 'There is no person "bo".'),
        (":channel nowhere", 'There is no channel "nowhere".'),
        (":click", "A button must follow."),
        (":click Pizza", "No message in #general has a button or menu."),
        (':pick "open', "A quote has no closing quote."),
        (":submit subject", '"subject" is not FIELD=VALUE.'),
        (":submit a=b", "This form is not open."),
        ("/rol", 'There is no command "/rol" here.'),
        ("/ ping", "A command's name must follow the slash."),
        (":as", "The name of a person must follow."),
        (":react", "An emoji must follow."),
        (":menu Shout", "A command and its target must follow."),
        (":advance soon", "'soon' is no duration; write for example 30d or 1h30m."),
        (":incident latency 1x", "'1x' is no duration; write for example 30d or 1h30m."),
    ],
)
async def test_wrong_line_raises_its_message(session: UserSession, line: str, message: str) -> None:
    with pytest.raises(BotctlError) as caught:
        await run_line(session, line)
    assert str(caught.value) == message


async def test_bot_suggests_autocomplete_values(session: UserSession) -> None:
    found = await suggest(session, "/settings set key:lo", 20)
    assert [(hint.text, hint.start, hint.detail) for hint in found] == [
        ("locale", 18, "The locale"),
        ("log_channel", 18, "The log_channel"),
    ]
    assert await hints(session, "/settings set key:locale v") == ["value:"]
    assert await hints(session, ":c") == [":channel", ":click", ":pick", ":react", ":unreact", ":incident", ":advance"]
    assert await hints(session, ":help ") == []


async def test_stopped_sandbox_is_unreachable() -> None:
    async with served(sandbox) as running:
        pass
    with pytest.raises(Unreachable, match="does not answer") as caught:
        async with SandboxClient(running.url, "secret") as client:
            await client.state()
    assert caught.value.hint.startswith("Start it with: botctl run")


async def test_wrong_secret_raises_the_sandboxs_message(session: UserSession) -> None:
    async with SandboxClient(session.client._url, "wrong") as client:
        with pytest.raises(BotctlError, match="control secret"):
            await client.state()


class FixedLocator:
    def __init__(self, url: str, pid: int | None = None) -> None:
        self.url = url
        self.pid = pid

    def locate(self) -> tuple[str, str]:
        return self.url, "secret"

    def bot_pid(self) -> int | None:
        return self.pid


@pytest.mark.parametrize("secret", ["secret", "the old one"])
async def test_restarted_sandbox_is_found_again(session: UserSession, secret: str) -> None:
    """On another port, or on the same port with another secret."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        unused_url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    url = session.client._url
    async with SandboxClient(unused_url if secret == "secret" else url, secret, FixedLocator(url)) as client:
        assert (await client.state()).guilds


async def test_disconnected_bot_is_reported_as_reconnecting() -> None:
    async with served(sandbox) as running:
        url = running.url
        async with fake_bot(url, "token", COMMANDS, ANSWERS):
            pass
        for locator, message in (
            (FixedLocator(url, 42), "process 42\\) is reconnecting"),
            (FixedLocator(url), "No bot is connected"),
        ):
            async with SandboxClient(url, "secret", locator) as client:
                with pytest.raises(Unreachable, match=message):
                    await client.send(SlashCall("ping"), Identity())


async def test_send_includes_the_working_directory(
    session: UserSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An option can be the relative path of a file."""
    asked: list[object] = []
    real = session.client._request_once

    async def request_once(method: str, verb: str, given: dict[str, object]) -> tuple[int, object]:
        asked.append(given.get("json"))
        return await real(method, verb, given)

    monkeypatch.setattr(session.client, "_request_once", request_once)
    monkeypatch.chdir(tmp_path)
    await session.send_line("/ping")
    assert isinstance(asked[-1], dict)
    assert asked[-1]["folder"] == str(tmp_path)


async def test_quotes_around_an_argument_are_removed(session: UserSession) -> None:
    await run_line(session, "/poll")
    assert "ann wants pizza" in str(await content(session, ':click "Pizza"'))
    await run_line(session, ":as 'bob'")
    await run_line(session, ':channel "staff"')
    await run_line(session, f':guild "{session.guild.name if session.guild else ""}"')
    assert (session.identity.name, session.identity.channel) == ("bob", "general")
    assert await content(session, ':say "hello"') == ['"hello"']
    with pytest.raises(UsageError, match="Piz"):
        await run_line(session, ':click "Piz')


@pytest.mark.parametrize(
    ("status", "body", "kind", "sentence"),
    [
        (200, {"guilds": 3}, BotctlError, "does not understand"),
        (200, "no JSON", BotctlError, "does not understand"),
        (
            409,
            {"error": "No bot is connected.", "hint": "Start it.", "exit_code": 7},
            Unreachable,
            "No bot is connected.",
        ),
        (400, {"error": "There is no channel “x”.", "exit_code": 2}, UsageError, "no channel"),
        (500, [], BotctlError, "The sandbox refused with status 500."),
    ],
)
async def test_error_responses_become_exceptions(
    status: int, body: object, kind: type[BotctlError], sentence: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body) if isinstance(body, str) else web.json_response(body, status=status)

    app = web.Application()
    app.router.add_get("/_control/state", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with SandboxClient(f"http://127.0.0.1:{runner.addresses[0][1]}", "x") as client:
            with pytest.raises(BotctlError, match=sentence) as caught:
                await client.state()
            assert type(caught.value) is kind
    finally:
        await runner.cleanup()


def message(content: str, **more: object) -> MessageSchema:
    return MessageSchema.model_validate({"id": "1", "author": {"id": "2", "name": "dice"}, "content": content, **more})


def test_numbers_select_options_unless_they_are_option_names() -> None:
    options = [{"label": "2", "value": "two"}, {"label": "Red", "value": "r"}]
    shown = [message("x", components=[{"type": 1, "components": [{"type": 3, "custom_id": "c", "options": options}]}])]
    assert resolve_numbers(shown, "c", ["1"]) == ["two"]
    assert resolve_numbers(shown, "c", ["2", "Red", "7"]) == ["2", "Red", "7"]
    assert resolve_numbers(shown, "other", ["1"]) == ["1"]
    assert resolve_numbers([], "c", ["1"]) == ["1"]


def test_message_diff_returns_each_change_once() -> None:
    message_diff = MessageDiff()
    message_diff.mark_seen([message("a")])
    assert message_diff.take_changed([message("a")]) == []
    assert message_diff.take_changed([message("b")]) == [message("b")]
    assert message_diff.take_changed([message("b")]) == []


def test_words_and_assignments_are_parsed() -> None:
    assert split_words('a "b c"') == ["a", "b c"]
    assert parse_assignments(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    with pytest.raises(UsageError):
        split_words("")


async def test_commands_have_names_in_the_users_language() -> None:
    who = {"type": 3, "name": "who", "name_localizations": {"de": "wen"}, "description": "Whom", "required": True}
    greet = {"name": "greet", "name_localizations": {"de": "gruss"}, "description": "Greet", "options": [who]}
    async with (
        served(sandbox) as running,
        fake_bot(running.url, "token", [greet], {"greet": reply_with("Hello!")}),
        SandboxClient(running.url, "secret") as client,
    ):
        running.sandbox.world.users[BOB].locale = "de"
        session = UserSession(client, Identity("bob"))
        assert await content(session, "/gruss wen:x") == ["Hello!"]
        assert await hints(session, "/gr") == ["/gruss"]
        await run_line(session, ":as ann")
        assert await hints(session, "/gr") == ["/greet"]


async def test_discords_validation_error_is_the_hint(session: UserSession) -> None:
    with pytest.raises(BotctlError, match="Invalid Form Body") as caught:
        await run_line(session, "x" * 2001)
    assert caught.value.hint == "content: Must be 2000 or fewer in length."
