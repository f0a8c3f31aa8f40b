"""``botctl sandbox serve``: alone, for several bots of any library; and how others find it."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from botctl.cli.sandbox.connection import Elsewhere, OfProject, home
from botctl.cli.sandbox.serve import _ready, _show
from botctl.core.errors import BotctlError, ConfigError, UsageError
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.repl import run
from botctl.sandbox.console.schemas import ReplySchema
from botctl.sandbox.console.user_session import UserSession
from botctl.sandbox.model import permissions
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.tokens import bot_token, client_secret
from botctl.sandbox.process.client_libraries import pointed
from botctl.sandbox.process.secret import kept_secret, secret_of
from botctl.sandbox.server import Access, Sandbox
from botctl.sandbox.storage import world_file
from tests.support.cli import Project
from tests.support.discord import BOT, GUILD, served
from tests.support.fake_bot import fake_bot
from tests.support.fake_bot_scripts import said

PING: Any = [{"name": "ping", "description": "Ping"}, {"name": "Who", "type": 2}]


async def test_it_runs_alone_for_several_bots_and_people_find_it(tmp_path: Path) -> None:
    """A ready line for scripts, a second copy is refused, the verbs come by the environment, Ctrl-C ends it."""
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
        async with fake_bot(ready["url"], bots[1]["token"], PING, {"ping": said("Pong!")}):
            told = {"BOTCTL_SANDBOX_URL": ready["url"], "BOTCTL_SANDBOX_SECRET_FILE": str(secret)}
            sent = await asyncio.to_thread(lambda: project.call("sandbox", "send", "/ping", **told))
            assert sent.out.splitlines() == ["cards BOT · ann used /ping", "  Pong!"]
        served.signal(signal.SIGINT)
        assert served.wait_for_exit() == 0
    world = world_file.load(tmp_path / "w.json", bots=["dice", "music"])
    assert [one.name for one in world.applications.values()] == ["dice", "cards", "music"]


async def test_a_person_is_told_all_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The secret stands there only where it was made up, and the file's name where it is in one."""

    def make(url: str) -> Sandbox:
        return Sandbox(default_world(url=url), Access({bot_token("s3cret"): BOT}, "s3cret"))

    async with served(make) as running:
        sandbox, url = running.sandbox, running.url
        _show(_ready(sandbox, "s3cret"), None)
        text = capsys.readouterr().out
        assert f"\n\nbotctl-bot, application {BOT}\n" in text
        assert text.endswith(f"The sandbox listens on {url}. Ctrl-C ends it.\n")
        assert all(one in text for one in (bot_token("s3cret"), client_secret("s3cret", BOT), *pointed(url).values()))
        assert f"BOTCTL_SANDBOX_URL={url} BOTCTL_SANDBOX_SECRET=s3cret\n" in text
        _show(_ready(sandbox, None), tmp_path / "a secret")
    text = capsys.readouterr().out
    assert "s3cret" not in text
    assert f"BOTCTL_SANDBOX_SECRET_FILE='{tmp_path / 'a secret'}'" in text


async def test_two_bots_live_in_one_world() -> None:
    def make(url: str) -> Sandbox:
        world = default_world(bots=["dice", "cards"], url=url)
        return Sandbox(world, Access({bot_token("s", one): one for one in world.applications}, "s"))

    async with served(make) as running:
        url = running.url
        first, second = running.sandbox.access.tokens
        async with (
            fake_bot(url, first, PING, {"ping": said("from dice")}),
            fake_bot(url, second, [*PING, {"name": "deal", "description": "Deal"}], {"ping": said("from cards")}),
            SandboxClient(url, "s") as client,
        ):
            talk = UserSession(client, Identity())
            for line, answer in (("/ping@dice", "from dice"), ("/ping@cards", "from cards")):
                reply = await run(talk, line)
                assert isinstance(reply, ReplySchema)
                assert (reply.messages[0].content, reply.messages[0].author.name) == (answer, answer.split()[1])
            with pytest.raises(UsageError, match="Several bots have /ping"):
                await run(talk, "/ping")
            with pytest.raises(UsageError) as caught:
                await run(talk, ":menu Who @bob")
            assert "Who@dice" in caught.value.hint
            assert [one["name"] for one in (await client.state()).commands_in(None)] == [
                *("ping@dice", "Who@dice", "ping@cards", "Who@cards", "deal")
            ]


def test_each_bot_is_a_member_with_a_role_of_its_own_and_the_owner_stands_above() -> None:
    world = default_world(bots=["dice", "cards"])
    guild = world.guilds[GUILD]
    dice, cards = (guild.members[one] for one in world.applications)
    assert dice.roles != cards.roles
    assert permissions.outranks(guild, guild.members[guild.owner_id], cards)
    assert default_world().applications[BOT].name == "botctl-bot"


@pytest.mark.parametrize("bots", [["ann"], ["dice", "Dice"], ["two words"], ["x"], ["dice", "a@b"]])
def test_a_name_that_no_bot_can_have_is_refused(bots: list[str]) -> None:
    with pytest.raises(UsageError, match=r"cannot be the name|Somebody is called"):
        default_world(bots=bots)


def test_tokens_follow_from_the_secret_and_look_like_discord_s() -> None:
    """Discordeno and serenity read the application's id out of a token."""
    head, stamp, proof = bot_token("s", BOT).split(".")
    assert base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)).decode() == BOT
    assert (len(stamp), len(proof)) == (6, 38)
    assert bot_token("s", BOT) == bot_token("s", BOT) != bot_token("t", BOT)


def test_a_secret_in_a_file_stays_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    made = kept_secret(path)
    assert len(made) > 40
    assert (kept_secret(path), stat.S_IMODE(path.stat().st_mode)) == (made, 0o600)
    assert secret_of({"BOTCTL_SANDBOX_SECRET_FILE": str(path)}) == made
    assert secret_of({}) is None
    path.write_text("\n")
    with pytest.raises(BotctlError, match="There is no secret"):
        kept_secret(path)
    with pytest.raises(BotctlError, match="cannot be had"):
        kept_secret(tmp_path / "none" / "secret")


def test_which_sandbox_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option before the environment, a project that is named before a URL that is not."""
    Project(tmp_path / "bot")
    root = tmp_path / "bot"
    monkeypatch.delenv("BOTCTL_SANDBOX_URL", raising=False)
    monkeypatch.delenv("BOTCTL_SANDBOX_SECRET", raising=False)
    assert home(root, None) == OfProject(root)
    monkeypatch.setenv("BOTCTL_SANDBOX_URL", "http://127.0.0.1:1")
    assert home(None, None) == Elsewhere("http://127.0.0.1:1")
    assert home(root, None) == OfProject(root)
    assert home(root, "http://127.0.0.1:2") == Elsewhere("http://127.0.0.1:2")
    with pytest.raises(ConfigError, match="control secret of the sandbox"):
        Elsewhere("http://127.0.0.1:1").sandbox()
    monkeypatch.setenv("BOTCTL_SANDBOX_SECRET", "x")
    assert Elsewhere("http://127.0.0.1:1").sandbox() == ("http://127.0.0.1:1", "x")
