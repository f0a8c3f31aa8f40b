"""`botctl run` is restarted and killed in the middle of commands: no login, no event lost, doubled or out of order.

The sandbox runs in this process, so its own record of logins, events and interactions is at hand. A listener of the bot
writes what it hears into a file, which is compared with that, process by process: each begins with the event after the
number of its RESUME, and ends with the one that the next process names.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from random import Random
from statistics import median

import pytest

from botctl.core.errors import BotctlError
from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.gateway.session import GatewaySession, LoginResult
from botctl.sandbox.model.interactions import Interaction
from botctl.sandbox.model.tokens import bot_token
from botctl.sandbox.process.serve import RunningSandbox
from botctl.sandbox.sandbox import Access, Sandbox
from tests.support.cli import READY, Process, Project
from tests.support.discord import BOT, PATIENT, SECRET, served
from tests.support.stores import Database
from tests.support.waiting import NO_WAIT_S, until

FROZEN = -signal.SIGKILL
"""A kill while a listener begins: the one moment from which an event comes again."""
MAX_OPEN = 80  # commands without an answer or a reason; `answering._MAX_NAMED` is more
ANSWER_S = 5.0
"""Within this, and the time of a start, something is answered after a kill."""
COMMANDS = """
import asyncio
import os
import time
from contextlib import suppress

from disnake.ext import commands

from botctl import Command, CommandFinished, Context, on


def write(line):
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(line + "\\n")


class Work(Command):
    "It takes a while."

    async def execute(self, ctx: Context) -> None:
        write(f"ran {ctx.inter.id}")
        await asyncio.sleep(0.05)
        await ctx.reply("done")


class Ears(commands.Cog):
    @commands.Cog.listener()
    async def on_message(self, message):
        write(f"message {message.id} {os.getpid()}")
        with suppress(FileNotFoundError):
            os.unlink(os.environ["LEDGER"] + ".freeze")
            time.sleep(600)


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
    resumed_from: list[int]
    outputs: list[Process] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)  # how long each start took
    answers_s: list[tuple[int, float]] = field(default_factory=list)  # number of the start, from the kill to an answer

    @property
    def sandbox(self) -> Sandbox:
        return self.discord.sandbox

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Process]:
        """A `botctl run`, which the block ends. This process never waits for it: the sandbox is in it."""
        began_s = time.monotonic()
        with self.project.process("run", "--only", "bot") as process:
            self.outputs.append(process)
            try:
                await until(lambda: READY in process.output or process.child.poll() is not None, what="a start")
                assert process.child.poll() is None, process.output
                self.starts_s.append(time.monotonic() - began_s)
                yield process
            finally:
                if process.child.poll() is None:
                    process.child.kill()
                await until(lambda: process.child.poll() is not None, what="the end of the bot")

    async def end(self, process: Process, how: int) -> float:
        """Returns when that was."""
        if how == FROZEN:
            freeze = self.ledger.with_suffix(".freeze")
            freeze.touch()
            await until(lambda: not freeze.exists(), what="a listener that begins")
        at_s = time.monotonic()
        process.signal(abs(how))
        await until(lambda: process.child.poll() is not None, what="the end of the bot")
        return at_s

    def lines(self, kind: str) -> list[list[str]]:
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [words for words in map(str.split, lines) if words[0] == kind]

    @property
    def interactions(self) -> list[Interaction]:
        return list(self.sandbox.interactions._by_token.values())

    @property
    def sent(self) -> dict[int, str]:
        """The messages of which the sandbox has told the bot, by the number of the event, in this order."""
        (session,) = self.sandbox.sessions.by_id.values()
        frames = [json.loads(frame) for _, frame in session.sent]
        return {frame["s"]: frame["d"]["id"] for frame in frames if frame["t"] == "MESSAGE_CREATE"}

    def heard(self) -> list[list[str]]:
        """The messages that each process has heard."""
        return [[number for _, number, _ in lines] for _, lines in groupby(self.lines("message"), lambda line: line[2])]

    async def watch_answer(self, killed_s: float) -> None:
        """Note how long it takes from a kill, whose process has just ended, until something is answered."""
        start, before = len(self.starts_s), {one.id for one in self.interactions if one.is_final}
        await until(lambda: any(one.is_final and one.id not in before for one in self.interactions), what="an answer")
        self.answers_s.append((start, time.monotonic() - killed_s))

    def explained(self) -> set[str]:
        """The interactions without an answer that the logs of the bots name, with a reason."""
        text = "\n".join(process.output for process in self.outputs)
        killed = re.findall(r"\((\d+)\) was under way when the last process ended, and has no answer", text)
        return {*killed, *re.findall(r"(?:is not handled|expired|got no answer).* interaction=(\d+)", text)}

    def unexplained(self) -> list[str]:
        known = self.explained()
        return [one.id for one in self.interactions if not one.is_final and one.id not in known]

    async def load(self) -> None:
        """People write and use commands, ten times a second. Never returns.

        On a busy host a start takes so long that more commands come too late than the log names. Then they wait.
        """
        ann = Identity("ann")
        while True:
            open_ = sum(not one.is_final for one in self.interactions)
            many = open_ > MAX_OPEN and len(self.unexplained()) > MAX_OPEN
            for call in ("hello",) if many else ("hello", SlashCall("work")):
                with suppress(BotctlError):  # the answer has not come yet
                    await self.client.send(call, ann, timeout_s=NO_WAIT_S)
            await asyncio.sleep(0.1)


@pytest.fixture
async def bench(
    redis_server: str, mongo_server: str, mongo_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    token, ledger, resumed_from = bot_token(SECRET), tmp_path / "ledger", list[int]()
    frames_after = GatewaySession.frames_after

    def record_resume(session: GatewaySession, seq: int) -> list[str] | None:
        resumed_from.append(seq)
        return frames_after(session, seq)

    monkeypatch.setattr(GatewaySession, "frames_after", record_resume)

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
            yield Bench(project, discord, client, ledger, resumed_from)


async def run_rounds(bench: Bench, signals: Sequence[int], random: Random) -> None:
    """Run a bot for each of ``signals``, which ends it at a random moment, and one more."""
    loading: asyncio.Task[None] | None = None
    watching: list[asyncio.Task[None]] = []
    for how in signals:
        async with bench.running() as process:
            loading = loading or asyncio.create_task(bench.load())
            goal = len(bench.lines("message")) + random.randrange(4, 12)
            await until(lambda goal=goal: len(bench.lines("message")) >= goal, what="messages")
            await asyncio.gather(*watching)
            await asyncio.sleep(random.uniform(0.0, 0.1))  # at any moment, not always when a line has been written
            at_s = await bench.end(process, how)
            watching = [asyncio.create_task(bench.watch_answer(at_s))] if abs(how) == signal.SIGKILL else []
    async with bench.running() as process:
        assert loading is not None
        goal = len(bench.lines("finished")) + 3
        await until(lambda: len(bench.lines("finished")) >= goal, what="answers")
        loading.cancel()
        await asyncio.wait({loading})
        await asyncio.gather(*watching)
        await until(lambda: not bench.unexplained(), what="an answer or a reason for each command")
        last = list(bench.sent.values())[-1]
        await until(lambda: bench.heard()[-1][-1] == last, what="all events")
        await bench.end(process, signal.SIGTERM)


def check_events(bench: Bench, signals: Sequence[int]) -> int:
    """Each process hears the events between its RESUME and the next one, once and in order. Returns the repetitions.

    One that is killed may have begun with one event more. Then the next process hears that again, and says so.
    """
    sent, repeated = bench.sent, 0
    begins = [0, *bench.resumed_from]
    ends = [*bench.resumed_from, max(sent)]
    heard = bench.heard()
    assert len(begins) == len(heard) == len(signals) + 1
    for begin, end, numbers, how, after in zip(
        begins, ends, heard, [*signals, None], [*bench.outputs[1:], None], strict=True
    ):
        expected = [number for seq, number in sent.items() if begin < seq <= end]
        assert how != FROZEN or numbers != expected
        if numbers != expected:
            assert how in (signal.SIGKILL, FROZEN)
            assert numbers == [*expected, sent.get(end + 1)]
            assert after is not None
            assert "MESSAGE_CREATE comes again" in after.output
            repeated += 1
    return repeated


def check_rounds(bench: Bench, signals: Sequence[int]) -> dict[str, float]:
    """Returns figures."""
    results = [str(login.result) for login in bench.sandbox.sessions.logins]
    assert results == [LoginResult.IDENTIFIED] + [LoginResult.RESUMED] * len(signals)
    repeated = check_events(bench, signals)
    for kind in ("ran", "finished"):
        times = Counter(words[1] for words in bench.lines(kind))
        assert set(times.values()) == {1}, f"{kind} twice"
    assert not bench.unexplained()
    answered = [one for one in bench.interactions if one.is_final]
    assert len(answered) >= len(signals)
    late_s = [answer_s - bench.starts_s[start] for start, answer_s in bench.answers_s]
    assert len(late_s) == sum(abs(how) == signal.SIGKILL for how in signals)
    assert max(late_s) <= ANSWER_S
    return {
        "events": len(bench.sent),
        "repeated and named": repeated,
        "commands": len(bench.interactions),
        "answered": len(answered),
        "named without an answer": len(bench.interactions) - len(answered),
        "start, median_s": round(median(bench.starts_s), 2),
        "first answer after a kill, median_s": round(median(answer_s for _, answer_s in bench.answers_s), 2),
        "the same without its start, slowest_s": round(max(late_s), 2),
    }


MANY = [signal.SIGTERM, signal.SIGINT] * 10 + [signal.SIGKILL] * 20


@pytest.mark.parametrize(
    ("signals", "seed"),
    [
        ((signal.SIGINT, FROZEN), 1),  # PM2 sends SIGINT for a restart, also because of its clock or of the memory
        pytest.param(Random(2).sample(MANY, len(MANY)), 2, marks=pytest.mark.soak),
    ],
    ids=["both", "many"],
)
async def test_ended_in_the_middle_of_commands(bench: Bench, signals: Sequence[int], seed: int) -> None:
    await run_rounds(bench, signals, Random(seed))
    print(json.dumps(check_rounds(bench, signals), indent=1))  # noqa: T201  the figures of a long run
