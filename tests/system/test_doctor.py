"""`botctl doctor` through the real command line, in a project whose bot runs in the sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Process, Project
from tests.support.waiting import wait_for

CARETAKER = """
from disnake.ext import commands


class Caretaker(commands.Cog):
    def __init__(self, bot):
        self.bot = bot

    @commands.Cog.listener()
    async def on_member_join(self, member):
        await member.guild.system_channel.send("welcome")

    @commands.Cog.listener()
    async def on_message(self, message):
        if "important" in message.content:
            await message.pin()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doctor")


@pytest.fixture(scope="module")
def rehearsal(folder: Path) -> Iterator[Process]:
    """A rehearsal without the members intent, which runs beside the other tests."""
    project = Project(folder / "rehearsed")
    project.write("commands/caretaker.py", CARETAKER)
    project.add_settings('[discord]\nintents = ["default", "members", "message_content"]\n')
    with project.process("doctor", "intents", "--without", "members", "--json") as process:
        yield process


@pytest.fixture(scope="module")
def bot(folder: Path, rehearsal: Process) -> Iterator[Project]:
    project = Project(folder / "bot")
    with project.run():
        yield project


def marks(rows: list[dict[str, str]]) -> dict[str, set[str]]:
    """The marks of each check."""
    found: dict[str, set[str]] = {}
    for row in rows:
        assert row.keys() == {"check", "mark", "sentence", "mend"}
        found.setdefault(row["check"], set()).add(row["mark"])
    return found


def test_bot_that_runs_is_well(bot: Project) -> None:
    wait_for(lambda: bot.call("health").out.startswith("healthy"), what="a snapshot made after the start")
    done = bot.call("doctor", "--json")
    assert done.code == 0, done.out
    assert {mark for seen in marks(done.json).values() for mark in seen} == {"ok", "unknown"}
    assert marks(done.json)["clock"] == {"unknown"}
    assert [check for check, seen in marks(done.json).items() if seen == {"unknown"}] == ["clock"]


def test_what_is_broken_is_a_fault_with_its_mend(bot: Project) -> None:
    bot.write(".env", "BOTCTL_REALTIME__CONNECTIONS=100000\n")
    (bot.root / ".env").chmod(0o644)
    bot.write("commands/broken.py", "import nothing_of_this_name\n")
    bot.write("migrations/0003_more.py", '"""More."""\n\n\nasync def up(db):\n    await db["x"].drop()\n')
    try:
        done = bot.call("doctor", BOTCTL_MIGRATE__ON_START="false")
    finally:
        (bot.root / "commands" / "broken.py").unlink()
        (bot.root / "migrations" / "0003_more.py").unlink()
        (bot.root / ".env").unlink()
    assert done.code == 1
    assert done.err == ""
    for line in (
        "✘ files        .env has mode 0644: other users may use it, and it holds secrets",
        "               → chmod go= .env",
        "✘ descriptors  ",
        "✘ commands     commands/broken.py:1: ",
        "✘ migrations   1 pending: 0003_more",
    ):
        assert line in done.out


def test_intents_that_the_code_needs_are_shown_against_what_is_requested(bot: Project) -> None:
    bot.write("commands/caretaker.py", CARETAKER)
    try:
        silent = bot.call("doctor", "intents", "--json")
        asking = bot.call("doctor", "intents", BOTCTL_DISCORD__INTENTS="default,members,message_content")
        named = bot.call("doctor", "permissions", "900000000000000001", "--json")
        unknown = bot.call("doctor", "permissions", "Atlantis")
    finally:
        (bot.root / "commands" / "caretaker.py").unlink()
    assert silent.code == 1
    faults = [row["sentence"] for row in silent.json if row["mark"] == "fault"]
    assert [sentence.rpartition(" (")[2] for sentence in faults] == [
        "commands/caretaker.py:10)",
        "commands/caretaker.py:15)",
    ]
    assert asking.code == 0, asking.out
    assert "granted by Discord after a review" in asking.out
    assert "at most 4 users in 1 guilds" in asking.out
    assert len([row["sentence"] for row in named.json if row["check"] == "guilds"]) == 1
    assert "PIN_MESSAGES: guessed: the listener Caretaker.on_message calls message.pin()" in named.out
    assert "https://discord.com/oauth2/authorize?client_id=900000000000000010&" in named.json[-1]["sentence"]
    assert (unknown.code, "no guild 'Atlantis'" in unknown.err) == (2, True)


def test_wrong_settings_are_lines_and_the_rest_is_not_known(bot: Project) -> None:
    done = bot.call("doctor", "--json", BOTCTL_REALTIME__PORT="-1", BOTCTL_LOGS__KEEP="many")
    assert done.code == 1
    found = marks(done.json)
    assert len([row for row in done.json if row["check"] == "settings" and row["mark"] == "fault"]) == 2
    assert found["redis"] == found["token"] == {"unknown"}
    assert found["python"] == {"ok"}


def test_nothing_runs_and_nothing_is_made(bot: Project) -> None:
    other = Project(bot.root.parent / "other")
    before = sorted(path for path in other.root.rglob("*"))
    done = other.call("doctor")
    assert done.code == 0, done.out
    assert " redis        embedded, and not running" in done.out
    assert sorted(path for path in other.root.rglob("*")) == before


def test_rehearsal_says_what_breaks_and_leaves_no_trace(rehearsal: Process) -> None:
    assert rehearsal.wait_for_exit() == 1, rehearsal.output
    found = json.loads(rehearsal.output)
    faults = [row["sentence"] for row in found if row["mark"] == "fault"]
    assert len(faults) == 2, rehearsal.output
    assert "4014" in faults[0]
    assert "(exit code 78)" in faults[0]
    assert faults[1] == "the listener Caretaker.on_member_join never runs (member_join)"
    assert "run as before: Caretaker.on_message" in rehearsal.output
    assert "the bot knows 1 of 4 people" in rehearsal.output
    made = {path.name for path in rehearsal.log.parent.rglob("*")}
    assert not made & {".botctl", "logs", "__pycache__"}
