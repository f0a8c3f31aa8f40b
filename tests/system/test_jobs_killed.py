"""Two processes with jobs are killed and paused at random: no due time runs twice, and none is lost against policy.

The jobs write a ledger, which is compared with the schedule and with the stored records.
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
from botctl.stores.leases import database_of_leases, read_lease
from tests.support.cli import BOTCTL, Project
from tests.support.job_process import NAMES, jobs
from tests.support.stores import Database
from tests.support.waiting import LIMIT_S, wait_for

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

    def wait_for_lines(self, by: int) -> None:
        """Wait until there are ``by`` more lines."""
        goal = len(self.read()) + by
        wait_for(lambda: len(self.read()) >= goal, what="runs of jobs")

    def wait_for_every_job(self) -> None:
        """Wait until every job has started another run, so that none is stuck."""
        before = len(self.read())

        def every_job_started() -> bool:
            return {entry.job for entry in self.read()[before:] if entry.phase == "begin"} == set(NAMES)

        wait_for(every_job_started, what="another run of every job")


@contextmanager
def two_processes(spawn: Spawn) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start two processes; at the end, stop all processes of the list."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes += [spawn(0), spawn(1)]
        yield processes
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(LIMIT_S)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def kill_and_pause(spawn: Spawn, ledger: Ledger, random: Random, more: Callable[[int], bool]) -> None:
    """Repeatedly kill or pause one of two processes, as long as ``more(number of times so far)``."""
    times = 0
    with two_processes(spawn) as processes:
        ledger.wait_for_lines(2)
        while more(times):
            times += 1
            index = random.randrange(2)
            if random.random() < 0.3:  # a resumed process briefly believes that it still has the lease
                processes[index].send_signal(signal.SIGSTOP)
                ledger.wait_for_lines(random.randint(3, 6))
                processes[index].send_signal(signal.SIGCONT)
            else:
                processes[index].kill()
                processes[index].wait()
                processes[index] = spawn(index)
            ledger.wait_for_lines(random.randint(1, 6))
        ledger.wait_for_every_job()


async def check_ledger(ledger: Ledger, database: Database, first_due: dict[str, datetime]) -> None:
    """Check the ledger against the policy. A run without an end was started by a holder that lost the lease."""
    entries = ledger.read()
    records = [record for record in await MongoJobStore(database[COLLECTION]).all() if record.name in NAMES]
    holders = (await read_lease(database_of_leases(database)[LEASES], LEASE)).fence
    starts = [entry for entry in entries if entry.phase == "begin"]
    assert max(Counter((entry.job, entry.due) for entry in starts).values()) == 1, "a due time has run twice"
    assert max(Counter(entry.run for entry in starts).values()) == 1
    ended = {entry.run for entry in entries if entry.phase == "end"}
    assert {record.name for record in records} == set(NAMES)
    for record in records:
        mine = [entry for entry in starts if entry.job == record.name]
        dues = (record.next_due - first_due[record.name]).total_seconds()
        assert record.runs + record.skipped == dues, "a due time is not accounted for"
        running = int(record.run is not None)
        assert record.runs - record.lost - running <= len(mine) <= record.runs
        assert len([entry for entry in mine if entry.run not in ended]) <= holders
        assert record.lost + running <= holders
        assert all(first_due[record.name].timestamp() <= entry.due < record.next_due.timestamp() for entry in mine)


async def first_dues(database: Database, ledger: Path) -> dict[str, datetime]:
    store = MongoJobStore(database[COLLECTION])
    await read_lease(database_of_leases(database)[LEASES], LEASE)  # creates it, with fence 0: it counts the holders
    return {job.name: (await store.get(job, datetime.now(UTC))).next_due for job in jobs(ledger)}


def light_spawner(url: str, database: Database, ledger: Path, folder: Path) -> Spawn:
    def spawn(index: int) -> subprocess.Popen[bytes]:
        with (folder / f"process{index}.log").open("ab") as log:
            words = (sys.executable, "-m", "tests.support.job_process", url, database.name, str(ledger))
            return subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    return spawn


async def test_killed_processes_run_each_due_time_at_most_once(mongo_server, mongo_db, tmp_path):
    ledger = Ledger(tmp_path / "ledger")
    first = await first_dues(mongo_db, ledger.path)
    spawn = light_spawner(mongo_server, mongo_db, ledger.path, tmp_path)
    kill_and_pause(spawn, ledger, Random(7), lambda times: times < 3)
    await check_ledger(ledger, mongo_db, first)


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
async def test_killed_botctl_runs_run_each_due_time_at_most_once(seed, mongo_server, redis_server, mongo_db, tmp_path):
    """Two projects of one bot with the same servers act like two hosts. For one minute."""
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
        with (project.root / "output.txt").open("ab") as log:
            return subprocess.Popen(
                (*BOTCTL, "run", "--only", "jobs"),
                cwd=project.root,
                env=project.env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    end = time.monotonic() + 60
    kill_and_pause(spawn, ledger, Random(seed), lambda _: time.monotonic() < end)
    await check_ledger(ledger, mongo_db, first)
