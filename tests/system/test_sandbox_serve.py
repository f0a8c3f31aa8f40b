"""``botctl sandbox serve`` with several bots, and how the other commands find it."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from botctl.cli.sandbox.connection import ProjectLocator, UrlLocator, resolve_locator
from botctl.cli.sandbox.serve import _connection_info, _print_info
from botctl.core.errors import BotctlError, ConfigError, Unreachable, UsageError
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from botctl.sandbox.console.repl import run_line
from botctl.sandbox.console.schemas import ReplySchema
from botctl.sandbox.console.user_session import UserSession
from botctl.sandbox.model import permissions
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.tokens import bot_token, client_secret
from botctl.sandbox.process.client_libraries import setup_lines
from botctl.sandbox.process.secret import load_or_create_secret, secret_from_environment
from botctl.sandbox.sandbox import Access, Sandbox
from botctl.sandbox.storage import world_file
from tests.support.cli import Project
from tests.support.discord import BOT, GUILD, served
from tests.support.fake_bot import fake_bot
from tests.support.fake_bot_scripts import reply_with

PING: Any = [{"name": "ping", "description": "Ping"}, {"name": "Who", "type": 2}]


async def test_serve_runs_several_bots_and_commands_find_it(tmp_path: Path) -> None:
    """It prints a ready line, refuses a second copy, is found by the environment, and stops at Ctrl-C."""
    project, secret = Project(tmp_path / "bot"), tmp_path / "secret"
    options = ("--app", "dice", "--app", "cards", "--secret-file", str(secret), "--state", str(tmp_path / "w.json"))
    with project.process("sandbox", "serve", "--port", "0", *options, "--json", until="}\n") as served:
        ready = json.loads(served.output)
        bots = ready["applications"]
        assert [one["name"] for one in bots] == ["dice", "cards"]
        assert "control_secret" not in ready  # it is in the file
        port = ready["url"].rpartition(":")[2]
        second = project.call("sandbox", "serve", "--port", port)
        assert (second.code, second.out) == (6, "")
        assert f"cannot listen on port {port}" in second.err
        async with fake_bot(ready["url"], bots[1]["token"], PING, {"ping": reply_with("Pong!")}):
            told = {"BOTCTL_SANDBOX_URL": ready["url"], "BOTCTL_SANDBOX_SECRET_FILE": str(secret)}
            sent = await asyncio.to_thread(lambda: project.call("sandbox", "send", "/ping", **told))
            assert sent.out.splitlines() == ["cards BOT · ann used /ping", "  Pong!"]
        served.signal(signal.SIGINT)
        assert served.wait_for_exit() == 0
    world = world_file.load(tmp_path / "w.json", bots=["dice", "music"])
    assert [one.name for one in world.applications.values()] == ["dice", "cards", "music"]


async def test_banner_has_tokens_setup_lines_and_generated_secret(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Only a generated secret is printed; otherwise the path of the secret file is."""

    def make(url: str) -> Sandbox:
        return Sandbox(default_world(url=url), Access({bot_token("s3cret"): BOT}, "s3cret"))

    async with served(make) as running:
        sandbox, url = running.sandbox, running.url
        _print_info(_connection_info(sandbox, "s3cret"), None)
        text = capsys.readouterr().out
        assert f"\n\nbotctl-bot, application {BOT}\n" in text
        assert text.endswith(f"The sandbox listens on {url}. Ctrl-C stops it.\n")
        assert all(
            one in text for one in (bot_token("s3cret"), client_secret("s3cret", BOT), *setup_lines(url).values())
        )
        assert f"BOTCTL_SANDBOX_URL={url} BOTCTL_SANDBOX_SECRET=s3cret\n" in text
        _print_info(_connection_info(sandbox, None), tmp_path / "a secret")
    text = capsys.readouterr().out
    assert "s3cret" not in text
    assert f"BOTCTL_SANDBOX_SECRET_FILE='{tmp_path / 'a secret'}'" in text


async def test_send_names_the_connected_bots_to_choose() -> None:
    deal: Any = [{"name": "deal", "description": "Deal"}]

    def make(url: str) -> Sandbox:
        world = default_world(bots=["dice", "cards", "music"], url=url)
        return Sandbox(world, Access({bot_token("s", one): one for one in world.applications}, "s"))

    async with served(make) as running:
        url = running.url
        dice, cards, music = running.sandbox.access.tokens
        async with fake_bot(url, dice, [*PING, *deal], {}):
            pass
        running.sandbox.sessions.by_id.clear()  # a bot that has just left could come back in time
        async with (
            fake_bot(url, cards, PING, {"ping": reply_with("from cards")}),
            fake_bot(url, music, PING, {}),
            SandboxClient(url, "s", UnusedLocator()) as client,
        ):
            session = UserSession(client, Identity())
            with pytest.raises(Unreachable, match="dice, which has “ping”, is not connected") as caught:
                await run_line(session, "/ping@dice")
            assert caught.value.hint == "Choose another bot: /ping@cards or /ping@music."
            with pytest.raises(Unreachable, match="dice, which has “deal”, is not connected") as caught:
                await run_line(session, "/deal")
            assert caught.value.hint == "Start dice. Connected: cards, music."
            reply = await client.send(SlashCall("ping"), Identity())
            assert reply.messages[0].content == "from cards"


class UnusedLocator:
    """A project whose own bot runs, beside the bots that are connected."""

    def locate(self) -> tuple[str, str]:
        raise AssertionError("the sandbox answers")

    def bot_pid(self) -> int:
        return 42


async def test_two_bots_share_one_world() -> None:
    def make(url: str) -> Sandbox:
        world = default_world(bots=["dice", "cards"], url=url)
        return Sandbox(world, Access({bot_token("s", one): one for one in world.applications}, "s"))

    async with served(make) as running:
        url = running.url
        first, second = running.sandbox.access.tokens
        async with (
            fake_bot(url, first, PING, {"ping": reply_with("from dice")}),
            fake_bot(url, second, [*PING, {"name": "deal", "description": "Deal"}], {"ping": reply_with("from cards")}),
            SandboxClient(url, "s") as client,
        ):
            session = UserSession(client, Identity())
            for line, answer in (("/ping@dice", "from dice"), ("/ping@cards", "from cards")):
                reply = await run_line(session, line)
                assert isinstance(reply, ReplySchema)
                assert (reply.messages[0].content, reply.messages[0].author.name) == (answer, answer.split()[1])
            with pytest.raises(UsageError, match="Several bots have /ping"):
                await run_line(session, "/ping")
            with pytest.raises(UsageError) as caught:
                await run_line(session, ":menu Who @bob")
            assert "Who@dice" in caught.value.hint
            assert [one["name"] for one in (await client.state()).commands_in(None)] == [
                *("ping@dice", "Who@dice", "ping@cards", "Who@cards", "deal")
            ]


def test_each_bot_has_its_own_role_below_the_owner() -> None:
    world = default_world(bots=["dice", "cards"])
    guild = world.guilds[GUILD]
    dice, cards = (guild.members[one] for one in world.applications)
    assert dice.roles != cards.roles
    assert permissions.outranks(guild, guild.members[guild.owner_id], cards)
    assert default_world().applications[BOT].name == "botctl-bot"


@pytest.mark.parametrize("bots", [["ann"], ["dice", "Dice"], ["two words"], ["x"], ["dice", "a@b"]])
def test_invalid_bot_name_is_refused(bots: list[str]) -> None:
    with pytest.raises(UsageError, match=r"cannot be the name|is already taken"):
        default_world(bots=bots)


def test_tokens_derive_from_secret_in_discords_format() -> None:
    """Discordeno and serenity read the application's id out of a token."""
    head, stamp, proof = bot_token("s", BOT).split(".")
    assert base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)).decode() == BOT
    assert (len(stamp), len(proof)) == (6, 38)
    assert bot_token("s", BOT) == bot_token("s", BOT) != bot_token("t", BOT)


def test_secret_file_is_kept_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    made = load_or_create_secret(path)
    assert len(made) > 40
    assert (load_or_create_secret(path), stat.S_IMODE(path.stat().st_mode)) == (made, 0o600)
    assert secret_from_environment({"BOTCTL_SANDBOX_SECRET_FILE": str(path)}) == made
    assert secret_from_environment({}) is None
    path.write_text("\n")
    with pytest.raises(BotctlError, match=r"secret file .* is empty"):
        load_or_create_secret(path)
    with pytest.raises(BotctlError, match="cannot be read or written"):
        load_or_create_secret(tmp_path / "none" / "secret")


def test_option_beats_environment_when_choosing_a_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Project(tmp_path / "bot")
    root = tmp_path / "bot"
    monkeypatch.delenv("BOTCTL_SANDBOX_URL", raising=False)
    monkeypatch.delenv("BOTCTL_SANDBOX_SECRET", raising=False)
    assert resolve_locator(root, None) == ProjectLocator(root)
    monkeypatch.setenv("BOTCTL_SANDBOX_URL", "http://127.0.0.1:1")
    assert resolve_locator(None, None) == UrlLocator("http://127.0.0.1:1")
    assert resolve_locator(root, None) == ProjectLocator(root)
    assert resolve_locator(root, "http://127.0.0.1:2") == UrlLocator("http://127.0.0.1:2")
    with pytest.raises(ConfigError, match="control secret of the sandbox"):
        UrlLocator("http://127.0.0.1:1").locate()
    monkeypatch.setenv("BOTCTL_SANDBOX_SECRET", "x")
    assert UrlLocator("http://127.0.0.1:1").locate() == ("http://127.0.0.1:1", "x")
