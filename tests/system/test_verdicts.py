"""Every failure has its verdict: a real bot, real stores and the sandbox, with the intervals of the health checks 1:20.

docs/monitor.md has the table. What is judged is what `botctl health` reads. Each row is also tried with its detector
switched off: then the same evidence must not give the verdict, so the row would fail.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from botctl.core.contracts.health import Health, worst
from botctl.core.errors import Unreachable
from botctl.core.processes.runtime import Runtime
from botctl.monitor import verdict
from botctl.monitor.health_answer import parse_answer
from botctl.monitor.health_client import LIMIT_S as ANSWER_S
from botctl.monitor.health_client import hear_processes
from botctl.monitor.rows import ProcessReport
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from botctl.stores import mongo
from botctl.stores import redis as redis_clients
from tests.support.cli import READY, Project
from tests.support.load import load
from tests.support.waiting import LIMIT_S, until

QUICK = (sys.executable, "-m", "tests.support.quick_run")
ROOT = Path(__file__).parents[2]
COMMANDS = '''
import asyncio
import time

from botctl import Command, Context


class Block(Command):
    """Block the event loop."""

    async def execute(self, ctx: Context, ms: int) -> None:
        await ctx.reply("I block")
        time.sleep(ms / 1000)


class Slow(Command):
    """Take a while."""

    async def execute(self, ctx: Context) -> None:
        await ctx.reply("I am slow")
        await asyncio.sleep(1.5)
'''


@dataclass(frozen=True)
class Sample:
    """What a process, or the silence of all, says at one moment. ``fields``: its whole answer."""

    verdict: Health
    why: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def ask(root: Path, silent_s: float) -> Sample:
    heard = hear_processes(Runtime(root), limit_s=silent_s)
    if heard.silent:
        return Sample(Health.BLOCKED, "it does not answer")
    if not heard.answers:
        return Sample(Health.ABSENT, "no one answers")
    (fields,) = heard.answers
    return Sample(Health(fields["health"]["verdict"]), fields["health"]["why"], fields)


class Watch:
    """Asks all the time, in a thread, so that no verdict is missed that does not last."""

    def __init__(self, root: Path, silent_s: float = 0.3) -> None:
        self._root = root
        self._silent_s = silent_s
        self.samples: list[Sample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            self.samples.append(ask(self._root, self._silent_s))

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join(LIMIT_S)

    async def until(self, expected: Health, *, says: str = "", since: int = 0) -> Sample:
        """The first sample after ``since`` with this verdict and reason."""
        try:
            await until(lambda: self.find(expected, says, since) is not None, what=expected)
        except AssertionError as error:
            error.add_note(f"{says!r} was looked for, and seen: {self.seen(since)}")
            raise
        sample = self.find(expected, says, since)
        assert sample is not None
        return sample

    def find(self, expected: Health, says: str, since: int) -> Sample | None:
        fits = (each for each in self.samples[since:] if each.verdict is expected and says in each.why)
        return next(fits, None)

    async def until_healthy(self) -> None:
        await until(lambda: self.samples[-1].verdict is Health.HEALTHY, what=f"healthy; {self.samples[-1].why}")

    def seen(self, since: int = 0) -> set[Health]:
        return {sample.verdict for sample in self.samples[since:]}


@dataclass
class Bot:
    """The bot of a test, and what can be done to it."""

    project: Project
    pid: int
    people: SandboxClient
    watch: Watch

    async def incident(self, name: str, **settings: Any) -> None:
        await self.people.incidents({"name": name, "settings": settings})

    async def incidents_end(self) -> None:
        await self.people.incidents({"stop": "all"})

    async def command(self, name: str, **options: str) -> None:
        """Send a command. It may get no answer."""
        with suppress(Unreachable):  # the guild is away
            await self.people.send(SlashCall(name, options), Identity(), timeout_s=LIMIT_S)

    async def commands(self, name: str = "ping", count: int = 4) -> None:
        """At once, because one that gets no answer takes 3 s."""
        await asyncio.gather(*(self.command(name) for _ in range(count)))

    async def redis(self, *words: str | int) -> None:
        async with redis_clients.connect(self._address("redis"), timeout_s=LIMIT_S) as client:
            await client.execute_command(*words)

    async def drop_database(self) -> None:
        async with mongo.connect(self._address("mongo"), timeout_s=LIMIT_S) as client:
            await client.drop_database("botctl_bot")

    def _address(self, part: str) -> str:
        return Runtime(self.project.root).live()[part].address

    def signal(self, part: str, number: int) -> None:
        os.kill(self.pid if part == "bot" else self.project.parts()[part], number)


Act = Callable[[Bot], Any]


@dataclass(frozen=True)
class Row:
    """A failure. ``detector``: the function of `monitor.verdict` without which it is not found; None: not there."""

    name: str
    begin: Act
    end: Act
    expected: Health
    detector: str | None
    says: str = ""


async def nothing(bot: Bot) -> None:
    """It ends by itself."""


async def use_until(
    bot: Bot, expected: Health, says: str = "", name: str = "ping", count: int = 4, **options: str
) -> None:
    """Use commands until that is seen: on a busy host some come too late, and are not run."""
    since = len(bot.watch.samples)
    async with asyncio.timeout(LIMIT_S):
        while bot.watch.find(expected, says, since) is None:
            await asyncio.gather(*(bot.command(name, **options) for _ in range(count)))


async def ban(bot: Bot) -> None:
    await bot.incident("cloudflare-ban")
    await use_until(bot, Health.BANNED, "has banned", count=1)


async def end_and_use(bot: Bot) -> None:
    await bot.incidents_end()
    await use_until(bot, Health.HEALTHY)


async def limit(bot: Bot) -> None:
    await bot.incident("too-many-requests")
    await use_until(bot, Health.LIMITED, "429")


async def fail(bot: Bot) -> None:
    await bot.incident("http-5xx")
    await use_until(bot, Health.DEGRADED, "5xx")


def killed(part: str) -> Act:
    async def act(bot: Bot) -> None:
        bot.signal(part, signal.SIGKILL)

    return act


def frozen(part: str) -> Act:
    async def act(bot: Bot) -> None:
        bot.signal(part, signal.SIGSTOP)

    return act


def continued(part: str) -> Act:
    async def act(bot: Bot) -> None:
        bot.signal(part, signal.SIGCONT)

    return act


def redis(*words: str | int) -> Act:
    async def act(bot: Bot) -> None:
        await bot.redis(*words)

    return act


async def be_deaf(bot: Bot) -> None:
    """Its own reconnections do not help."""
    await bot.incident("deaf", new_connections=True)


async def incidents_end(bot: Bot) -> None:
    await bot.incidents_end()


async def block(bot: Bot) -> None:
    await use_until(bot, Health.BLOCKED, "/block", "block", count=1, ms="1500")


ROWS = (
    Row("cloudflare-ban", ban, end_and_use, Health.BANNED, "_refusals", "has banned the address"),
    Row("too-many-requests", limit, end_and_use, Health.LIMITED, "_refusals", "429"),
    Row("http-5xx", fail, end_and_use, Health.DEGRADED, "_refusals", "5xx"),
    Row("Redis frozen", frozen("redis"), continued("redis"), Health.DEGRADED, "_services", "redis of"),
    Row("Redis killed", killed("redis"), nothing, Health.DEGRADED, "_services", "redis"),
    Row(
        "Redis full",
        redis("CONFIG", "SET", "maxmemory", 1),
        redis("CONFIG", "SET", "maxmemory", 0),
        Health.DEGRADED,
        "_services",
        "takes no write",
    ),
    Row(
        "Redis read-only",
        redis("CONFIG", "SET", "min-replicas-to-write", 1),
        redis("CONFIG", "SET", "min-replicas-to-write", 0),
        Health.DEGRADED,
        "_services",
        "takes no write",
    ),
    Row("MongoDB frozen", frozen("mongo"), continued("mongo"), Health.DEGRADED, "_services", "mongo of"),
    Row("MongoDB killed", killed("mongo"), nothing, Health.DEGRADED, "_services", "mongo"),
    Row("blocked loop", block, nothing, Health.BLOCKED, None, "/block"),
    Row("deaf", be_deaf, incidents_end, Health.DEAF, "_shards", "is deaf"),
    Row("process stopped", frozen("bot"), continued("bot"), Health.BLOCKED, None),
)


@contextmanager
def quick_run(project: Project, *, scale: float = 20.0) -> Iterator[Any]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with project.process("run", until=READY, command=QUICK, PYTHONPATH=path, BOTCTL_TEST_SCALE=str(scale)) as process:
        yield process


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "bot")
    made.write("commands/bad.py", COMMANDS)
    made.add_settings("[sandbox.limits]\nresponse_s = 0.5\n")  # a command that gets no answer takes so long
    return made


async def test_every_failure_has_its_verdict_and_is_forgotten_when_it_ends(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `starting` to `absent`, with all rows of the table that one process can have."""
    watch = Watch(project.root)
    with watch.running(), quick_run(project) as process:
        part = Runtime(project.root).live()["sandbox"]
        async with SandboxClient(part.address, part.secret or "") as people:
            bot = Bot(project, process.pid, people, watch)
            await watch.until(Health.STARTING)
            await watch.until_healthy()
            for row in ROWS:
                await try_row(bot, row, monkeypatch)
            await try_wiped(bot, monkeypatch)
            await bot.command("slow")
            process.signal(signal.SIGTERM)
            await watch.until(Health.DRAINING)
            await asyncio.to_thread(process.wait_for_exit)
            await until(lambda: watch.samples[-1].verdict is Health.ABSENT)


async def try_row(bot: Bot, row: Row, monkeypatch: pytest.MonkeyPatch) -> float:
    """Returns how long it took until the failure was found, in seconds."""
    clock_s = asyncio.get_running_loop().time
    await bot.watch.until_healthy()
    begun, began_s = len(bot.watch.samples), clock_s()
    await row.begin(bot)
    found = await bot.watch.until(row.expected, says=row.says, since=begun)
    took_s = clock_s() - began_s
    if row.detector is not None:
        assert judged(found) is row.expected
        with monkeypatch.context() as patch:
            patch.setattr(verdict, row.detector, lambda *_: iter(()))
            assert judged(found) is not row.expected, f"{row.name} is found without {row.detector}"
    await row.end(bot)
    await bot.watch.until_healthy()
    return took_s


def judged(sample: Sample) -> Health:
    """The verdict on the evidence in ``sample``, judged again here."""
    answer = parse_answer(sample.fields)
    assert answer is not None
    assert answer.snapshot is not None
    report = ProcessReport(answer.proc, answer.snapshot, answer.age_s or 0.0, alive=True)
    return worst(verdict.judge_report(report, datetime.now(UTC))).verdict


async def try_wiped(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the next start, which accepts what is there."""
    for name, act in (("redis", lambda: bot.redis("FLUSHALL")), ("mongo", bot.drop_database)):
        await act()
        await until(
            lambda name=name: any(
                f"{name} of" in finding["why"] and "emptied" in finding["why"]
                for finding in bot.watch.samples[-1].fields.get("diagnoses", ())
            ),
            what=f"that {name} was emptied",
        )
    found = bot.watch.samples[-1]
    assert found.verdict is Health.DEGRADED
    assert judged(found) is Health.DEGRADED
    with monkeypatch.context() as patch:
        patch.setattr(verdict, "_services", lambda *_: iter(()))
        assert judged(found) is Health.HEALTHY


@pytest.mark.soak
async def test_every_failure_is_found_within_15_s_of_true_time(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deaf: within two intervals of the probe, 20 s."""
    watch = Watch(project.root, ANSWER_S)
    with watch.running(), quick_run(project, scale=1) as process:
        part = Runtime(project.root).live()["sandbox"]
        async with SandboxClient(part.address, part.secret or "") as people:
            bot = Bot(project, process.pid, people, watch)
            lasting = [row for row in ROWS if "killed" not in row.name]  # an embedded store is back within a second
            for row in (replace(row, begin=block_long) if row.name == "blocked loop" else row for row in lasting):
                took_s = await try_row(bot, row, monkeypatch)
                assert took_s <= (20.0 if row.name == "deaf" else 15.0), (row.name, took_s)


async def block_long(bot: Bot) -> None:
    await use_until(bot, Health.BLOCKED, "/block", "block", count=1, ms="9000")


NORMAL: Sequence[tuple[str, dict[str, Any]]] = (
    ("big-guild", {"members": 5_000}),
    ("clock-skew", {}),
    ("guild-outage", {}),
    ("join-flood", {"members": 500}),
    ("latency", {}),
    ("missed-acks", {}),
    ("op7-storm", {}),
    ("op9", {}),
    ("permission-loss", {}),
    ("repeated-deliveries", {}),
    ("slow-bodies", {}),
)
"""Incidents that a bot can bear."""


@pytest.mark.soak
async def test_no_false_alarm_in_what_a_bot_can_bear(project: Project) -> None:
    """A deploy, a slow disk, a load of 20, and incidents of Discord, each for some intervals of the probe."""
    watch = Watch(project.root, ANSWER_S)
    alarms = {Health.BANNED, Health.LIMITED, Health.DEAF, Health.BLOCKED}
    with watch.running():
        for _ in range(2):  # a deploy
            with quick_run(project, scale=1) as process:
                await watch.until_healthy()
                part = Runtime(project.root).live()["sandbox"]
                async with SandboxClient(part.address, part.secret or "") as people:
                    bot = Bot(project, process.pid, people, watch)
                    await bot.commands()
        begun = len(watch.samples)
        with quick_run(project, scale=1) as process:
            await watch.until_healthy()
            part = Runtime(project.root).live()["sandbox"]
            async with SandboxClient(part.address, part.secret or "") as people:
                bot = Bot(project, process.pid, people, watch)
                for name, settings in NORMAL:
                    await bot.incident(name, **settings)
                    await bot.commands()
                    await asyncio.sleep(12.0)
                    await bot.incidents_end()
                    assert not watch.seen(begun) & alarms, (name, watch.seen(begun))
                await watch.until_healthy()
                for _ in range(15):  # a slow disk
                    bot.signal("mongo", signal.SIGSTOP)
                    await asyncio.sleep(0.8)
                    bot.signal("mongo", signal.SIGCONT)
                    await asyncio.sleep(0.2)
                with load(20):
                    for _ in range(60):
                        await bot.commands(count=1)
                        await asyncio.sleep(1.0)
        assert not watch.seen(begun) & alarms, watch.seen(begun)
