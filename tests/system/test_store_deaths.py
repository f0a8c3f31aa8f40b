"""kill -9 of the embedded stores while commands run: the bot answers, health shows it, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from botctl.core.processes.runtime import Runtime
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.console.command_parser import SlashCall
from botctl.stores import mongo
from botctl.stores import redis as redis_clients
from tests.support.cli import Project
from tests.support.waiting import until

COMMANDS = '''
import json
from pathlib import Path

from redis.asyncio import Redis

from botctl import Command, Context, on
from botctl.core.contracts.events import ServiceChanged, StoreRestarted
from botctl.stores.mongo import Database

NEWS = Path(__file__).parent.parent / "news.jsonl"


class Deposit(Command):
    """Keep a number in both stores, and say so only when both have it."""

    throttle = "100000/1s per user"

    def __init__(self, redis: Redis, database: Database) -> None:
        self.redis = redis
        self.deposits = database["deposits"]

    async def execute(self, ctx: Context, number: int) -> None:
        await self.deposits.insert_one({"_id": f"{number:08}", "n": number})
        await self.redis.sadd("deposits", number)
        await ctx.reply(f"kept {number}")


class Free(Command):
    """Touch no store."""

    throttle = "100000/1s per user"

    async def execute(self, ctx: Context) -> None:
        await ctx.reply("still here")


@on(ServiceChanged, StoreRestarted)
def tell(event: ServiceChanged | StoreRestarted) -> None:
    with NEWS.open("a") as file:
        if isinstance(event, StoreRestarted):
            file.write(json.dumps({"restarted": event.store, "status": event.exit_status}) + "\\n")
        else:
            file.write(json.dumps({"service": event.service, "new": event.new}) + "\\n")
'''


class Ledger:
    """What people were told, kept by the test alone."""

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.failed = 0
        self.interactions: list[str] = []
        self.unanswered: list[str] = []
        self.numbers = iter(range(1, 1_000_000))

    async def deposit(self, people: SandboxClient) -> None:
        number = next(self.numbers)
        reply = await people.send(SlashCall("deposit", {"number": str(number)}), Identity(), timeout_s=20)
        self.interactions.append(str(reply.interaction))
        if not reply.answered:
            self.unanswered.append(f"deposit {number}: {reply}")
        elif reply.messages and reply.messages[-1].content == f"kept {number}":
            self.kept.append(number)
        else:  # the person was told that it failed, or sees "thinking…" go away and is told in a moment
            self.failed += 1  # it may be there or not

    async def free(self, people: SandboxClient) -> None:
        reply = await people.send(SlashCall("free", {}), Identity(name="bob"))
        self.interactions.append(str(reply.interaction))
        if not reply.answered or reply.messages[-1].content != "still here":
            self.unanswered.append(f"free: {reply}")


async def live_through(project: Project, kills: list[str], dice: random.Random) -> Ledger:
    """Let people use the bot while the stores named in ``kills`` are killed, one after the other."""
    ledger = Ledger()
    part = Runtime(project.root).live()["sandbox"]
    over = asyncio.Event()

    async def person(people: SandboxClient) -> None:
        while not over.is_set():
            await ledger.deposit(people)
            await ledger.free(people)

    async with SandboxClient(part.address, part.secret or "") as people, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(person(people))
        for store in kills:
            more = len(ledger.kept) + dice.randint(3, 12)
            await until(lambda more=more: len(ledger.kept) >= more, what="more deposits", limit_s=30)
            before = project.parts()[store]
            project.kill(store)
            await until(lambda s=store, b=before: project.parts().get(s, b) != b, what=f"a new {store}", limit_s=30)
        more = len(ledger.kept) + 20
        await until(lambda: len(ledger.kept) >= more, what="deposits after the last kill", limit_s=30)
        over.set()
    return ledger


async def check(project: Project, ledger: Ledger) -> None:
    """Hold the stores against the ledger; the bot has stopped, and its stores are started once more."""
    runtime = Runtime(project.root)
    parts = runtime.live()
    async with mongo.connect(parts["mongo"].address, timeout_s=10) as client:
        database = client["botctl_bot"]
        documents = Counter([d["n"] async for d in database["deposits"].find({})])
        recorded = Counter([json.loads(d["b"]).get("req") async for d in database["botctl_audit"].find({})])
    async with redis_clients.connect(parts["redis"].address, timeout_s=10) as redis:
        members = {int(member) for member in await redis.smembers("deposits")}
    assert set(ledger.kept) <= documents.keys()
    assert set(ledger.kept) <= members
    assert max(documents.values()) == 1
    missing = [i for i in ledger.interactions if recorded[i] != 1]
    assert not missing, f"{len(missing)} of {len(ledger.interactions)} commands are not recorded exactly once"


def news(project: Project) -> list[dict[str, object]]:
    return [json.loads(line) for line in (project.root / "news.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kills", [["redis", "mongo", "redis", "mongo"]], ids=["each twice"])
async def test_killed_stores_lose_nothing_that_was_acknowledged(tmp_path: Path, kills: list[str]) -> None:
    """The ledger's kept numbers are all there, once; every command is in the audit log, once."""
    await scenario(tmp_path, kills, random.Random(7))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
async def test_many_kills(tmp_path: Path, seed: int) -> None:
    """The same with forty random kills."""
    dice = random.Random(seed)
    await scenario(tmp_path, dice.choices(["redis", "mongo"], k=40), dice)


async def scenario(tmp_path: Path, kills: list[str], dice: random.Random) -> None:
    project = Project(tmp_path / "bot")
    project.write("commands/deposit.py", COMMANDS)
    with project.run() as process:
        ledger = await live_through(project, kills, dice)
        told = news(project)
        for store in set(kills):
            assert {"service": store, "new": "degraded"} in told, "health did not show it"
            back = [one for one in told if one.get("restarted") == store]
            assert [one["status"] for one in back] == [-9] * kills.count(store)
        assert not ledger.unanswered, ledger.unanswered[:3]
        process.signal(15)
        assert process.ended() == 143
    with project.process("run", "--only", "stores", until="project"):
        await check(project, ledger)
