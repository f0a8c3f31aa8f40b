"""Secrets with the real command line: from files and credentials, and replaced while the bot runs."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from tests.support.bots import BOT, last_text
from tests.support.cli import Project
from tests.support.project_files import DISCORD_URL_MODULE
from tests.support.waiting import LIMIT_S, wait_for


@pytest.fixture(scope="module")
def discord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose sandbox plays Discord for the bots of other projects."""
    project = Project(tmp_path_factory.mktemp("discord") / "discord")
    with project.process("run", "--only", "stores", until="project"):
        yield project


@pytest.fixture
def bot(tmp_path: Path, discord: Project) -> Project:
    """A bot with a token of its own, as on the real Discord. The token is in no source yet."""
    project = Project(tmp_path / "bot")
    project.add_settings('[services]\ndiscord-url = "discord_url:discord_url"\n')
    project.write("discord_url.py", DISCORD_URL_MODULE.format(url=Runtime(discord.root).live()["sandbox"].address))
    return project


def people(discord: Project) -> SandboxClient:
    sandbox = Runtime(discord.root).live()["sandbox"]
    return SandboxClient(sandbox.address, sandbox.secret or "")


def current_token(discord: Project) -> str:
    async def ask() -> str:
        async with people(discord) as client:
            return await client.token(BOT)

    return asyncio.run(ask())


def reset_token(discord: Project) -> str:
    """Reset the token, as in Discord's developer portal; returns the new one."""

    async def reset() -> None:
        async with people(discord) as client:
            await client.incidents({"name": "token-reset"})

    asyncio.run(reset())
    return current_token(discord)


def is_connected(discord: Project) -> bool:
    async def ask() -> bool:
        async with people(discord) as client:
            return any(bot.connected for bot in (await client.state()).bots)

    return asyncio.run(ask())


def ping(discord: Project) -> str:
    async def send() -> str:
        async with people(discord) as client:
            return last_text(await client.send(SlashCall("ping", {}), Identity("ann"), timeout_s=LIMIT_S))

    return asyncio.run(send())


def write_secret(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def rows(project: Project, **env: str) -> dict[str, dict[str, str]]:
    done = project.call("run", "--explain-config", "--json", **env)
    assert done.code == 0, done.err
    return {row["key"]: row for row in done.json}


def log_text(project: Project) -> str:
    return "".join(path.read_text() for path in (project.root / "logs").iterdir())


def test_reset_token_is_read_again_and_the_same_one_ends_the_run(bot: Project, discord: Project) -> None:
    """Exit code 78 only when the file has no other token. Neither token is written anywhere."""
    first = current_token(discord)
    path = write_secret(bot.root / "secrets" / "token", f"{first}\n")
    with bot.run(BOTCTL_DISCORD__TOKEN_FILE="secrets/token") as running:
        assert "Pong!" in ping(discord)
        running.signal(signal.SIGSTOP)  # so that the new token is in the file when the bot hears of the reset
        second = reset_token(discord)
        path.write_text(f"{second}\r\n")
        running.signal(signal.SIGCONT)
        said = "logs in with the other one that is in secrets/token (BOTCTL_DISCORD__TOKEN_FILE) now"
        wait_for(lambda: said in log_text(bot), what="the other token")
        wait_for(lambda: is_connected(discord), what="the bot with its new token")
        assert "Pong!" in ping(discord)
        third = reset_token(discord)
        assert running.wait_for_exit() == 78
    refused = "Discord refuses the token, and secrets/token (BOTCTL_DISCORD__TOKEN_FILE) has no other one"
    assert f"botctl: {refused}" in running.output
    for text in (running.output, log_text(bot)):
        assert not [token for token in (first, second, third) if token.rpartition(".")[2] in text]


def test_sources_of_secrets_are_named_and_their_values_are_not(bot: Project) -> None:
    for name, text in (("token", "s3cr3t-token"), ("redis", "redis://u:s3cr3t-1@h/0"), ("signing", "s3cr3t-" * 8)):
        write_secret(bot.root / "secrets" / name, text)
    write_secret(bot.root / "credentials" / "botctl.mongo.url", "mongodb://u:s3cr3t-2@h/")
    write_secret(bot.root / ".env", "BOTCTL_REDIS__URL_FILE=secrets/redis\nBOTCTL_DISCORD__TOKEN=s3cr3t-other\n")
    env = {
        "BOTCTL_DISCORD__TOKEN_FILE": "secrets/token",
        "BOTCTL_AUTH__SECRET_FILE": str(bot.root / "secrets" / "signing"),
        "CREDENTIALS_DIRECTORY": str(bot.root / "credentials"),
    }
    found = rows(bot, **env)
    assert {key: found[key]["origin"] for key in ("discord.token", "redis.url", "mongo.url", "auth.secret")} == {
        "discord.token": "secrets/token (BOTCTL_DISCORD__TOKEN_FILE)",
        "redis.url": "secrets/redis (.env:1)",
        "mongo.url": "credential botctl.mongo.url",
        "auth.secret": f"{bot.root}/secrets/signing (BOTCTL_AUTH__SECRET_FILE)",
    }
    shown = bot.call("run", "--explain-config", **env)
    assert "s3cr3t" not in json.dumps(found) + shown.out + shown.err
    assert shown.err == (
        "discord.token has another value in .env:2 than in secrets/token (BOTCTL_DISCORD__TOKEN_FILE), which counts.\n"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "The file secrets/token, which BOTCTL_DISCORD__TOKEN_FILE names, does not exist."),
        ("", "The file secrets/token, which BOTCTL_DISCORD__TOKEN_FILE names, is empty."),
        ("s3cr3t\ns3cr3t", "The file secrets/token, which BOTCTL_DISCORD__TOKEN_FILE names, has more than one line"),
    ],
)
def test_wrong_secret_file_prevents_the_start(bot: Project, content: str | None, sentence: str) -> None:
    """Exit code 78, and the bot does not start in the sandbox instead."""
    path = write_secret(bot.root / "secrets" / "token", content or "")
    if content is None:
        path.unlink()
    done = bot.call("run", BOTCTL_DISCORD__TOKEN_FILE="secrets/token")
    assert (done.code, "s3cr3t" in done.err) == (78, False)
    assert f"botctl: {sentence}" in done.err
    assert not (bot.root / ".botctl").exists()


def test_signing_secret_is_replaced_without_losing_a_key(bot: Project) -> None:
    """The steps of docs/secrets.md: both secrets, sign again, remove the old one."""
    with bot.process("run", "--only", "stores", until="project"):  # or each call would start them
        replace_signing_secret(bot)


def replace_signing_secret(bot: Project) -> None:
    old_file = bot.root / ".botctl" / "auth-secret"
    key = bot.call("auth", "key", "create", "robot", "--json").json
    assert bot.call("auth", "grant", "operator", "900000000000000103", "--reason", "on call").code == 0
    assert old_file.exists()
    secret = f"BOTCTL_AUTH__SECRET={'n3w-s3cr3t-' * 4}\n"
    previous = "BOTCTL_AUTH__PREVIOUS_SECRET_FILE=.botctl/auth-secret\n"
    write_secret(bot.root / ".env", secret)
    lost = bot.call("auth", "key", "list")
    assert (lost.code, key["id"] in lost.err) == (4, True)
    write_secret(bot.root / ".env", secret + previous)
    assert key["id"] in bot.call("auth", "key", "list").out
    signed = bot.call("auth", "sign-again")
    assert (signed.code, signed.out) == (
        0,
        "Signed again with auth.secret: 2 of 2 keys and grants. auth.previous_secret can be removed now.\n",
    )
    write_secret(bot.root / ".env", secret)
    assert (bot.call("auth", "key", "list").code, bot.call("auth", "who").code) == (0, 0)
    assert bot.call("auth", "sign-again", "--json").json == {"total": 2, "signed": 0, "unknown": 0}
    write_secret(bot.root / ".env", secret.replace("n3w", "0th3r"))
    done = bot.call("auth", "sign-again")
    assert (done.code, "2 of 2 keys and grants are signed with neither secret" in done.err) == (4, True)
    (entry,) = bot.call("audit", "log", "--action", "auth.sign-again", "--json").out.splitlines()
    assert "s3cr3t" not in entry
