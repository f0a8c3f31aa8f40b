"""Two processes with jobs, killed and paused at random: no due time is run for twice, none is lost beyond policy.

The bodies of the jobs write a ledger of their own; it is held against the schedule and against what the records say.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from botctl.core.contracts.jobs import LEASE
from botctl.jobs.store import COLLECTION, MongoJobStore
from botctl.stores.leases import COLLECTION as LEASES
from botctl.stores.leases import read_lease
from tests.support.cli import BOTCTL, Project
from tests.support.job_process import NAMES, jobs
from tests.support.stores import Database
from tests.support.waiting import wait_for

Spawn = Callable[[int], subprocess.Popen[bytes]]


@dataclass(frozen=True)
class Entry:
    """A line of the ledger."""

    phase: str
    job: str
    due: int
    run: str
    fence: int
    pid: int


class Ledger:
    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Entry]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [
            Entry(p, job, int(due), run, int(fence), int(pid)) for p, job, due, run, fence, pid in map(str.split, lines)
        ]

    def grows(self, by: int) -> None:
        """Wait until there are that many more lines."""
        goal = len(self.read()) + by
        wait_for(lambda: len(self.read()) >= goal, limit_s=30, what="runs of jobs")

    def goes_on(self) -> None:
        """Wait until every job has begun another run: none is stuck."""
        before = len(self.read())

        def all_did() -> bool:
            return {entry.job for entry in self.read()[before:] if entry.phase == "begin"} == set(NAMES)

        wait_for(all_did, limit_s=30, what="another run of every job")


@contextmanager
def pair(spawn: Spawn) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes, or whichever stand in the list in the end; none is left behind."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes += [spawn(0), spawn(1)]
        yield processes
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(40)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def torment(spawn: Spawn, ledger: Ledger, random: Random, more: Callable[[int], bool]) -> None:
    """Kill or pause one of two processes again and again, as long as ``more(how often so far)``."""
    blows = 0
    with pair(spawn) as processes:
        ledger.grows(2)
        while more(blows):
            blows += 1
            index = random.randrange(2)
            if random.random() < 0.3:  # a paused process wakes up and believes for a moment what it believed before
                processes[index].send_signal(signal.SIGSTOP)
                ledger.grows(random.randint(3, 6))
                processes[index].send_signal(signal.SIGCONT)
            else:
                processes[index].kill()
                processes[index].wait()
                processes[index] = spawn(index)
            ledger.grows(random.randint(1, 6))
        ledger.goes_on()


async def judge(ledger: Ledger, database: Database, first_due: dict[str, datetime]) -> None:
    """Hold the ledger against the policy: what is not done to its end was begun by a holder that lost the lease."""
    entries = ledger.read()
    records = [record for record in await MongoJobStore(database[COLLECTION]).all() if record.name in NAMES]
    holders = (await read_lease(database[LEASES], LEASE)).fence
    began = [entry for entry in entries if entry.phase == "begin"]
    assert max(Counter((entry.job, entry.due) for entry in began).values()) == 1, "a due time was run for twice"
    assert max(Counter(entry.run for entry in began).values()) == 1
    ended = {entry.run for entry in entries if entry.phase == "end"}
    assert {record.name for record in records} == set(NAMES)
    for record in records:
        mine = [entry for entry in began if entry.job == record.name]
        dues = (record.next_due - first_due[record.name]).total_seconds()
        assert record.runs + record.skipped == dues, "a due time is not accounted for"
        under_way = int(record.run is not None)
        assert record.runs - record.lost - under_way <= len(mine) <= record.runs
        assert len([entry for entry in mine if entry.run not in ended]) <= holders
        assert record.lost + under_way <= holders
        assert all(first_due[record.name].timestamp() <= entry.due < record.next_due.timestamp() for entry in mine)


async def first_dues(database: Database, ledger: Path) -> dict[str, datetime]:
    book = MongoJobStore(database[COLLECTION])
    return {job.name: (await book.get(job, datetime.now(UTC))).next_due for job in jobs(ledger)}


def light(url: str, database: Database, ledger: Path, folder: Path) -> Spawn:
    def spawn(index: int) -> subprocess.Popen[bytes]:
        with (folder / f"process{index}.log").open("ab") as log:
            words = (sys.executable, "-m", "tests.support.job_process", url, database.name, str(ledger))
            return subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    return spawn


async def test_no_run_is_doubled_and_none_lost_beyond_policy(mongo_server, mongo_db, tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    first = await first_dues(mongo_db, ledger.path)
    spawn = light(mongo_server, mongo_db, ledger.path, tmp_path)
    torment(spawn, ledger, Random(7), lambda done: done < 3)
    await judge(ledger, mongo_db, first)


COMMANDS = """
import asyncio, os
from pathlib import Path
from botctl import JobRun, job
from tests.support.job_process import NAMES, note

LEDGER = Path(os.environ["LEDGER"])

async def body(run):
    note(LEDGER, "begin", run)
    await asyncio.sleep(NAMES[run.job])
    note(LEDGER, "end", run)

@job("every 1s")
async def quick(run: JobRun) -> None:
    await body(run)

@job("every 1s", missed="skip")
async def skips(run: JobRun) -> None:
    await body(run)

@job("every 1s")
async def slow(run: JobRun) -> None:
    await body(run)
"""


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_same_for_a_minute_with_botctl_run(seed, mongo_server, redis_server, mongo_db, tmp_path):
    """Two hosts, as far as they know: two projects, one bot, the same servers."""
    ledger = Ledger(tmp_path / "ledger")
    first = await first_dues(mongo_db, ledger.path)
    env = {
        "BOTCTL_BOT": f"soak{seed}",
        "BOTCTL_MONGO__URL": mongo_server,
        "BOTCTL_MONGO__DATABASE": mongo_db.name,
        "BOTCTL_REDIS__URL": redis_server,
        "BOTCTL_JOBS__LEASE_S": "1",
        "BOTCTL_MIGRATE__ON_START": "true",
        "LEDGER": str(ledger.path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    projects = [Project(tmp_path / name, env) for name in ("one", "two")]
    for project in projects:
        project.write("commands/ledger.py", COMMANDS)

    def spawn(index: int) -> subprocess.Popen[bytes]:
        project = projects[index]
        with (project.root / "said.txt").open("ab") as log:
            return subprocess.Popen(
                (*BOTCTL, "run", "--only", "jobs"),
                cwd=project.root,
                env=project.env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    end = time.monotonic() + 60
    torment(spawn, ledger, Random(seed), lambda _: time.monotonic() < end)
    await judge(ledger, mongo_db, first)
