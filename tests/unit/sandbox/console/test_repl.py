"""The lines of the prompt, and the client under them, against a real sandbox with a scripted bot."""

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
from botctl.sandbox.console.repl import run, suggest
from botctl.sandbox.console.repl_commands import WORDS, Leave, Note, assigned, words
from botctl.sandbox.console.schemas import MessageSchema, ReplySchema
from botctl.sandbox.console.user_session import UserSession, by_number
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.server import Access, Sandbox
from tests.support.discord import BOB, GENERAL, STAFF, served
from tests.support.fake_bot import fake_bot
from tests.support.fake_bot_scripts import ANSWERS, COMMANDS, said


def sandbox(url: str) -> Sandbox:
    world = default_world(url=url)
    return Sandbox(world, Access({"token": next(iter(world.applications))}, "secret"))


@pytest.fixture
async def talk() -> AsyncIterator[UserSession]:
    async with (
        served(sandbox) as running,
        fake_bot(running.url, "token", COMMANDS, ANSWERS),
        SandboxClient(running.url, "secret") as client,
    ):
        talk = UserSession(client, Identity(), timeout_s=2.0)
        await talk.settle()
        yield talk


async def replied(talk: UserSession, line: str) -> ReplySchema:
    outcome = await run(talk, line)
    assert isinstance(outcome, ReplySchema)
    return outcome


async def content(talk: UserSession, line: str) -> list[str]:
    return [message.content for message in (await replied(talk, line)).messages]


async def hints(talk: UserSession, line: str) -> list[str]:
    return [hint.text for hint in await suggest(talk, line, len(line))]


async def test_the_seat_is_the_first_person_and_channel(talk: UserSession) -> None:
    assert talk.seat == Identity("ann", "general", None)


async def test_commands_and_messages(talk: UserSession) -> None:
    assert await content(talk, "/roll sides:20") == ["You rolled **20**."]
    assert await content(talk, '/settings set key:locale value:"de DE"') == ["locale is now “de DE”."]
    assert await content(talk, "hello") == ["hello"]
    assert await content(talk, ":smile: hello") == [":smile: hello"]
    assert await content(talk, ":say :as bob") == [":as bob"]


async def test_buttons_menus_and_forms(talk: UserSession) -> None:
    await run(talk, "/poll")
    assert await hints(talk, ":click ") == ["Pizza", "Close", "A drink"]
    assert await content(talk, ":click pizza") == ["ann wants pizza"]
    assert await content(talk, ':pick "A drink" 2') == ["Chosen: m"]
    talk.timeout_s = 0.2
    assert (await replied(talk, ":click Close")).state == "deferred_update"
    assert (await replied(talk, "/feedback")).modal is not None
    assert await hints(talk, ":submit ") == ["subject=", "text="]
    assert await content(talk, ':submit subject="It works" text=well') == ["Thank you for “It works”."]
    assert talk.form is None


async def test_people_answer_change_react_and_delete(talk: UserSession) -> None:
    await run(talk, "tea at five @bob in #staff, not@bob @nobody")
    (said,) = await talk.client.messages(talk.seat, limit=1)
    assert said.content == f"tea at five <@{BOB}> in <#{STAFF}>, not@bob @nobody"
    await run(talk, ":as bob")
    assert (await replied(talk, ":reply gladly")).messages[0].reply_to == "ann"
    assert (await replied(talk, ":edit with pleasure")).messages[0].edited
    assert (await replied(talk, ":react 👍")).messages[0].reactions[0].emoji == "👍"
    assert (await replied(talk, ":unreact 👍")).messages[0].reactions == []
    assert await run(talk, ":delete") == Note("Deleted.")
    assert [one.content for one in await talk.client.messages(talk.seat)] == [said.content]
    assert (await replied(talk, ":react nonsense")).error == "Unknown Emoji."


async def test_two_write_with_each_other(talk: UserSession) -> None:
    assert await hints(talk, ":dm ") == ["bob", "cat", "botctl-bot"]
    await run(talk, ":dm bob")
    assert talk.place == "@bob"
    await run(talk, "a word")
    await run(talk, ":as bob")
    await run(talk, ":dm ann")
    assert [one.content for one in await talk.client.messages(talk.seat)] == ["a word"]
    await run(talk, ":channel general")
    assert (talk.place, list(await talk.client.messages(talk.seat))) == ("#general", [])


async def test_threads_are_channels_that_one_may_go_to(talk: UserSession) -> None:
    body = {"name": "plans", "type": 11}
    headers = {"Authorization": "Bot token"}
    async with (
        aiohttp.ClientSession(talk.client._url, headers=headers) as http,
        http.post(f"/api/v10/channels/{GENERAL}/threads", json=body) as made,
    ):
        assert made.status == 201
    await talk.look()
    assert await hints(talk, ":channel p") == ["plans"]
    await run(talk, ":channel plans")
    assert await content(talk, "in it") == ["in it"]


async def test_a_bad_day_and_the_clock(talk: UserSession) -> None:
    assert "op7-storm" in await hints(talk, ":incident op7")
    assert await run(talk, ":incident latency 10s delay_s=0") == Note(
        "latency has begun for 10 s: delay_s=0.0, jitter_s=0.5"
    )
    listed = await run(talk, ":incident")
    assert isinstance(listed, Note)
    assert listed.text.endswith("Now: latency.")
    assert await run(talk, ":incident stop latency") == Note("latency has ended.")
    before = await talk.client.advance(0)
    after = await run(talk, ":advance 15m")
    assert isinstance(after, Note)
    minutes = datetime.fromisoformat(after.text.split()[5]) - datetime.fromisoformat(before)
    assert timedelta(minutes=15) <= minutes < timedelta(minutes=16)
    with pytest.raises(UsageError, match="one length"):
        await run(talk, ":incident latency 10s 5s")


async def test_a_private_word_after_a_public_thought_is_waited_for(talk: UserSession) -> None:
    """The bot thinks for all to see, takes that back, and answers one person: that is what they see."""
    assert await content(talk, "/sorry") == ["Not for everyone."]


async def test_context_menus(talk: UserSession) -> None:
    assert await hints(talk, ":menu ") == ["Who is", "Shout"]
    assert await content(talk, ":menu Who is @cat") == ["cat"]
    await run(talk, "quiet")
    assert await content(talk, ":menu Shout last") == ["QUIET"]


async def test_a_silent_bot_is_no_error_and_no_answer(talk: UserSession) -> None:
    talk.timeout_s = 0.1
    reply = await replied(talk, "/silent")
    assert reply.state == "no_answer"
    assert not reply.answered


async def test_what_discord_would_not_send_is_refused(talk: UserSession) -> None:
    reply = await replied(talk, "/roll sides:1")
    assert (reply.state, reply.answered) == ("refused", False)
    assert "at least 2" in (reply.error or "")


async def test_somebody_else_elsewhere(talk: UserSession) -> None:
    await run(talk, "/secret")
    assert await hints(talk, ":as b") == ["bob"]
    assert await run(talk, ":as @bob") == Note("You are bob now.")
    seen = await run(talk, ":messages")
    assert seen == []  # what was for ann alone
    assert await run(talk, ":channel #staff") == []
    await run(talk, "hi")
    assert talk.seat == Identity("bob", "staff")
    assert await run(talk, ":guild Botctl Test Guild") == Note("You are in #general of Botctl Test Guild now.")


async def test_words_that_only_tell(talk: UserSession) -> None:
    who = await run(talk, ":who")
    assert isinstance(who, Note)
    assert "@ann, @bob, @cat" in who.text
    assert "botctl-bot" in who.text
    told = await run(talk, ":help")
    assert isinstance(told, Note)
    assert all(f":{word}" in told.text for word in WORDS)
    assert isinstance(await run(talk, ":quit"), Leave)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (":frob", 'There is no ":frob".'),
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
        (":menu Shout", "A command and whom it is used on must follow."),
        (":advance soon", "'soon' is no duration; write for example 30d or 1h30m."),
        (":incident latency 1x", "'1x' is no duration; write for example 30d or 1h30m."),
    ],
)
async def test_what_is_wrong_is_a_sentence(talk: UserSession, line: str, sentence: str) -> None:
    with pytest.raises(BotctlError) as caught:
        await run(talk, line)
    assert str(caught.value) == sentence


async def test_the_bot_completes_its_own_values(talk: UserSession) -> None:
    found = await suggest(talk, "/settings set key:lo", 20)
    assert [(hint.text, hint.start, hint.detail) for hint in found] == [
        ("locale", 18, "The locale"),
        ("log_channel", 18, "The log_channel"),
    ]
    assert await hints(talk, "/settings set key:locale v") == ["value:"]
    assert await hints(talk, ":c") == [":channel", ":click", ":pick", ":react", ":unreact", ":incident", ":advance"]
    assert await hints(talk, ":help ") == []


async def test_a_sandbox_that_is_gone_is_unreachable() -> None:
    async with served(sandbox) as running:
        pass
    with pytest.raises(Unreachable, match="does not answer") as caught:
        async with SandboxClient(running.url, "secret") as client:
            await client.state()
    assert caught.value.hint.startswith("Start it with: botctl run")


async def test_the_wrong_secret_is_refused_in_the_sandbox_s_own_words(talk: UserSession) -> None:
    async with SandboxClient(talk.client._url, "wrong") as client:
        with pytest.raises(BotctlError, match="control secret"):
            await client.state()


class Home:
    """A project whose sandbox and bot are what the test says."""

    def __init__(self, url: str, pid: int | None = None) -> None:
        self.url = url
        self.pid = pid

    def sandbox(self) -> tuple[str, str]:
        return self.url, "secret"

    def bot(self) -> int | None:
        return self.pid


@pytest.mark.parametrize("secret", ["secret", "the old one"])
async def test_a_sandbox_that_was_started_anew_is_found_again(talk: UserSession, secret: str) -> None:
    """At another port, or at the same one with another secret."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = f"http://127.0.0.1:{gone.getsockname()[1]}"
    url = talk.client._url
    async with SandboxClient(nobody if secret == "secret" else url, secret, Home(url)) as client:
        assert (await client.state()).guilds


async def test_while_the_bot_runs_and_is_not_connected_it_is_said_to_come() -> None:
    async with served(sandbox) as running:
        url = running.url
        async with fake_bot(url, "token", COMMANDS, ANSWERS):
            pass
        for home, said in ((Home(url, 42), "process 42\\) is reconnecting"), (Home(url), "No bot is connected")):
            async with SandboxClient(url, "secret", home) as client:
                with pytest.raises(Unreachable, match=said):
                    await client.send(SlashCall("ping"), Identity())


async def test_who_sends_says_where_they_stand(
    talk: UserSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file is given by its path, which may be relative."""
    asked: list[object] = []
    real = talk.client._ask_once

    async def ask_once(method: str, verb: str, given: dict[str, object]) -> tuple[int, object]:
        asked.append(given.get("json"))
        return await real(method, verb, given)

    monkeypatch.setattr(talk.client, "_ask_once", ask_once)
    monkeypatch.chdir(tmp_path)
    await talk.say("/ping")
    assert isinstance(asked[-1], dict)
    assert asked[-1]["folder"] == str(tmp_path)


async def test_quotes_around_what_follows_a_word_are_not_part_of_it(talk: UserSession) -> None:
    await run(talk, "/poll")
    assert "ann wants pizza" in str(await content(talk, ':click "Pizza"'))
    await run(talk, ":as 'bob'")
    await run(talk, ':channel "staff"')
    await run(talk, f':guild "{talk.guild.name if talk.guild else ""}"')
    assert (talk.seat.name, talk.seat.channel) == ("bob", "general")
    assert await content(talk, ':say "hello"') == ['"hello"']
    with pytest.raises(UsageError, match="Piz"):
        await run(talk, ':click "Piz')


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
async def test_what_the_sandbox_answers_becomes_an_error(
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


def test_numbers_stand_for_options_unless_an_option_is_called_so() -> None:
    options = [{"label": "2", "value": "two"}, {"label": "Red", "value": "r"}]
    shown = [message("x", components=[{"type": 1, "components": [{"type": 3, "custom_id": "c", "options": options}]}])]
    assert by_number(shown, "c", ["1"]) == ["two"]
    assert by_number(shown, "c", ["2", "Red", "7"]) == ["2", "Red", "7"]
    assert by_number(shown, "other", ["1"]) == ["1"]
    assert by_number([], "c", ["1"]) == ["1"]


def test_a_feed_tells_what_is_new_or_changed_once() -> None:
    feed = MessageDiff()
    feed.saw([message("a")])
    assert feed.news([message("a")]) == []
    assert feed.news([message("b")]) == [message("b")]
    assert feed.news([message("b")]) == []


def test_words_and_fields() -> None:
    assert words('a "b c"') == ["a", "b c"]
    assert assigned(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    with pytest.raises(UsageError):
        words("")


async def test_a_person_uses_commands_by_the_names_of_their_language() -> None:
    who = {"type": 3, "name": "who", "name_localizations": {"de": "wen"}, "description": "Whom", "required": True}
    greet = {"name": "greet", "name_localizations": {"de": "gruss"}, "description": "Greet", "options": [who]}
    async with (
        served(sandbox) as running,
        fake_bot(running.url, "token", [greet], {"greet": said("Hello!")}),
        SandboxClient(running.url, "secret") as client,
    ):
        running.sandbox.world.users[BOB].locale = "de"
        talk = UserSession(client, Identity("bob"))
        assert await content(talk, "/gruss wen:x") == ["Hello!"]
        assert await hints(talk, "/gr") == ["/gruss"]
        await run(talk, ":as ann")
        assert await hints(talk, "/gr") == ["/greet"]


async def test_what_discord_refuses_is_said_in_words(talk: UserSession) -> None:
    with pytest.raises(BotctlError, match="Invalid Form Body") as caught:
        await run(talk, "x" * 2001)
    assert caught.value.hint == "content: Must be 2000 or fewer in length."
