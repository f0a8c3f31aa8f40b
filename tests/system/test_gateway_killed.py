"""`botctl run` is restarted and killed in the middle of commands: no login, no event lost, doubled or out of order.

The sandbox runs in this process, so its own record of logins, events and interactions is at hand. A listener of the bot
writes what it hears into a file, which is compared with that.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from random import Random

import pytest

from botctl.core.errors import BotctlError
from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.gateway.session import LoginResult
from botctl.sandbox.model.interactions import Interaction
from botctl.sandbox.model.tokens import bot_token
from botctl.sandbox.process.serve import RunningSandbox
from botctl.sandbox.sandbox import Access, Sandbox
from tests.support.cli import READY, Process, Project
from tests.support.discord import BOT, PATIENT, SECRET, served
from tests.support.stores import Database
from tests.support.waiting import NO_WAIT_S, until

COMMANDS = """
import asyncio
import os

from disnake.ext import commands

from botctl import Command, CommandFinished, Context, on


def write(line):
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(line + "\\n")


class Work(Command):
    "It takes a while."

    async def execute(self, ctx: Context) -> None:
        await asyncio.sleep(0.05)
        await ctx.reply("done")


class Ears(commands.Cog):
    @commands.Cog.listener()
    async def on_message(self, message):
        write(f"message {message.id}")


@on(CommandFinished)
async def finished(event: CommandFinished) -> None:
    write(f"finished {event.invocation}")
"""


@dataclass
class Bench:
    """A project whose bot is at the sandbox ``discord``, and the commands that people have sent to it."""

    project: Project
    discord: RunningSandbox
    client: SandboxClient
    ledger: Path
    outputs: list[Process] = field(default_factory=list)

    @property
    def sandbox(self) -> Sandbox:
        return self.discord.sandbox

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Process]:
        """A `botctl run`, which the block ends. This process never waits for it: the sandbox is in it."""
        with self.project.process("run", "--only", "bot") as process:
            self.outputs.append(process)
            try:
                await until(lambda: READY in process.output or process.child.poll() is not None, what="a start")
                assert process.child.poll() is None, process.output
                yield process
            finally:
                if process.child.poll() is None:
                    process.child.kill()
                await until(lambda: process.child.poll() is not None, what="the end of the bot")

    async def end(self, process: Process, how: int) -> None:
        process.signal(how)
        await until(lambda: process.child.poll() is not None, what="the end of the bot")

    def lines(self, kind: str) -> list[list[str]]:
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [words for words in map(str.split, lines) if words[0] == kind]

    @property
    def interactions(self) -> list[Interaction]:
        return list(self.sandbox.interactions._by_token.values())

    @property
    def sent(self) -> list[str]:
        """The messages of which the sandbox has told the bot, in this order."""
        (session,) = self.sandbox.sessions.by_id.values()
        frames = [json.loads(frame) for _, frame in session.sent]
        return [frame["d"]["id"] for frame in frames if frame["t"] == "MESSAGE_CREATE"]

    def explained(self) -> set[str]:
        """The interactions without an answer that the logs of the bots name, with a reason."""
        text = "\n".join(process.output for process in self.outputs)
        killed = re.findall(r"\((\d+)\) was under way when the last process ended, and has no answer", text)
        return {*killed, *re.findall(r"is not handled.* interaction=(\d+)", text)}

    def unexplained(self) -> list[str]:
        known = self.explained()
        return [one.id for one in self.interactions if not one.is_final and one.id not in known]

    async def load(self) -> None:
        """People write and use commands, ten times a second. Never returns."""
        ann = Identity("ann")
        while True:
            for call in ("hello", SlashCall("work")):
                with suppress(BotctlError):  # the answer has not come yet
                    await self.client.send(call, ann, timeout_s=NO_WAIT_S)
            await asyncio.sleep(0.1)


@pytest.fixture
async def bench(redis_server: str, mongo_server: str, mongo_db: Database, tmp_path: Path) -> AsyncIterator[Bench]:
    token, ledger = bot_token(SECRET), tmp_path / "ledger"

    def make(url: str) -> Sandbox:
        return Sandbox(default_world(url=url), Access({token: BOT}, SECRET), limits=PATIENT.replace({"buffer": 20_000}))

    project = Project(
        tmp_path / "bot",
        {
            "BOTCTL_REDIS__URL": redis_server,
            "BOTCTL_MONGO__URL": mongo_server,
            "BOTCTL_MONGO__DATABASE": mongo_db.name,
            "BOTCTL_MIGRATE__ON_START": "true",
            "BOTCTL_COMMANDS__THROTTLE": "1000/1s per user",
            "LEDGER": str(ledger),
        },
    )
    project.write("commands/ledger.py", COMMANDS)
    async with served(make) as discord, SandboxClient(discord.url, SECRET) as client:
        runtime = Runtime(project.root, long_lived=True)
        with ExitStack() as stack:
            stack.enter_context(runtime.lock("sandbox"))
            runtime.publish("sandbox", pid=os.getpid(), address=discord.url, secret=SECRET)
            yield Bench(project, discord, client, ledger)


async def run_rounds(bench: Bench, signals: Sequence[int], random: Random) -> None:
    """Run a bot for each of ``signals``, which ends it at a random moment, and one more."""
    loading: asyncio.Task[None] | None = None
    for how in signals:
        async with bench.running() as process:
            loading = loading or asyncio.create_task(bench.load())
            goal = len(bench.lines("message")) + random.randrange(4, 12)
            await until(lambda goal=goal: len(bench.lines("message")) >= goal, what="messages")
            await asyncio.sleep(random.uniform(0.0, 0.1))  # at any moment, not always when a line has been written
            await bench.end(process, how)
    async with bench.running() as process:
        assert loading is not None
        goal = len(bench.lines("finished")) + 3
        await until(lambda: len(bench.lines("finished")) >= goal, what="answers")
        loading.cancel()
        await asyncio.wait({loading})
        await until(lambda: not bench.unexplained(), what="an answer or a reason for each command")
        await until(lambda: len(bench.lines("message")) >= len(bench.sent), what="all events")
        await bench.end(process, signal.SIGTERM)


async def check_rounds(bench: Bench, signals: Sequence[int]) -> None:
    results = [str(login.result) for login in bench.sandbox.sessions.logins]
    assert results == [LoginResult.IDENTIFIED] + [LoginResult.RESUMED] * len(signals)
    heard = [number for _, number in bench.lines("message")]
    assert [number for number, _ in groupby(heard)] == bench.sent
    # A process that is killed between the first step of a listener and the mark of its event hears that event again.
    assert len(heard) - len(bench.sent) <= sum(how == signal.SIGKILL for how in signals)
    finished = Counter(words[1] for words in bench.lines("finished"))
    assert set(finished.values()) == {1}, "a command ran twice"
    assert not bench.unexplained()
    answered = [one for one in bench.interactions if one.is_final]
    assert len(answered) >= len(signals)


@pytest.mark.parametrize(
    ("signals", "seed"),
    [
        ((signal.SIGTERM, signal.SIGKILL), 1),
        pytest.param((signal.SIGTERM,) * 20, 2, marks=pytest.mark.soak),
        pytest.param((signal.SIGKILL,) * 20, 3, marks=pytest.mark.soak),
    ],
    ids=["both", "stops", "kills"],
)
async def test_ended_in_the_middle_of_commands(bench: Bench, signals: Sequence[int], seed: int) -> None:
    await run_rounds(bench, signals, Random(seed))
    await check_rounds(bench, signals)
