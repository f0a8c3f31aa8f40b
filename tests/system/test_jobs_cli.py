"""`botctl jobs` with and without a running process."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest

from botctl.stores.mongo import connect
from tests.support.cli import READY, Project
from tests.support.waiting import LIMIT_S, wait_for

COMMANDS = '''
from pathlib import Path
from botctl import JobRun, job

@job("every 1s", missed="skip")
async def tick(run: JobRun) -> None:
    """Note the time."""
    with Path("ticks.txt").open("a") as file:
        print(run.due.isoformat(), file=file)

@job("0 3 * * *")
async def report() -> None:
    Path("report.txt").write_text("done")

@job("every 1h")
async def broken() -> None:
    raise ValueError("no luck")
'''


@pytest.fixture
def project(tmp_path, mongo_server, redis_server) -> Iterator[Project]:
    env = {
        "BOTCTL_MONGO__URL": mongo_server,
        "BOTCTL_MONGO__DATABASE": f"jobs_{uuid.uuid4().hex[:8]}",
        "BOTCTL_REDIS__URL": redis_server,
        "BOTCTL_MIGRATE__ON_START": "true",
    }
    project = Project(tmp_path / "jobs-cli", env)
    project.write("commands/jobs.py", COMMANDS)
    return project


def test_jobs_are_run_and_paused_with_a_running_scheduler(project):
    with project.run("--only", "jobs", until=READY) as process:
        wait_for((project.root / "ticks.txt").exists, what="the first tick")
        done = project.call("jobs", "run", "report")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("report: ok in ")
        assert "by the scheduler's process" in done.out
        assert (project.root / "report.txt").read_text() == "done"

        failed = project.call("jobs", "run", "broken", "--json")
        assert failed.code == 1
        assert failed.json["result"] == "failed"
        assert failed.json["error_id"] in process.output, "the log has the traceback under the same id"

        assert project.call("jobs", "pause", "tick", "--reason", "too noisy").out == "tick is paused\n"
        (paused,) = project.call("audit", "log", "--action", "job.pause", "--json").json
        assert paused["reason"] == "too noisy"
        found = {job["name"]: job for job in project.call("jobs", "list", "--json").json}
        assert {"trim-events", "sample-stores", "expire-keys", "tell-activity"} < set(found)
        assert (found["tick"]["paused"], found["tick"]["about"]) == (True, "Note the time.")
        assert (found["tick"]["outcome"], found["tick"]["lost"]) == ("ok", 0)
        assert found["report"]["outcome"] == "ok"
        process.signal(15)
        assert process.wait_for_exit() == 143

    alone = project.call("jobs", "run", "report")
    assert (alone.code, "in this process, because no" in alone.out) == (0, True), alone.err
    assert project.call("jobs", "pause", "tick", "--reason", "x" * 201).code == 2
    unknown = project.call("jobs", "resume", "nothing")
    assert unknown.code == 2
    assert "Choose from: broken, expire-keys, report" in unknown.err


PENDING = '''"""Not applied yet."""


async def up(db):
    await db["shape"].insert_one({"_id": "changed"})
'''


def test_broken_file_does_not_block_the_other_jobs(project):
    """Stored jobs can be shown and changed, jobs of other files can be run. One line names the broken file."""
    assert project.call("jobs", "run", "report").code == 3, "jobs run applies no migration"
    assert project.call("migrate", "up").code == 0
    assert project.call("jobs", "pause", "tick").code == 0

    project.write("commands/broken.py", "from botctl import job\n\n\n@job('never')\nasync def x(): ...\n")
    project.write("migrations/0003_half.py", "async def up(db): ...\n")
    listed = project.call("jobs", "list")
    assert (listed.code, "left out: commands/broken.py:4:" in listed.err) == (0, True), listed.err
    assert listed.err.count("\n") == 1
    assert project.call("jobs", "resume", "tick").out == "tick is scheduled\n"
    here = project.call("jobs", "run", "report")
    assert (here.code, "migrations/0003_half.py" in here.err) == (78, True), (
        "it is unknown which migrations are pending"
    )
    unknown = project.call("jobs", "run", "x")
    assert (unknown.code, "in the files that can be loaded" in unknown.err) == (78, True)

    (project.root / "migrations/0003_half.py").unlink()
    assert project.call("jobs", "run", "report").code == 0, "it is in another file"

    project.write("migrations/0003_more.py", PENDING)
    pending = project.call("jobs", "run", "report", "--json")
    assert (pending.code, pending.out) == (3, "")
    assert "1 migration is pending: 0003_more." in pending.err
    (project.root / "commands/jobs.py").rename(project.root / "commands/_jobs.py")
    jobs = {job["name"]: job for job in project.call("jobs", "list", "--json").json}
    assert (jobs["tick"]["declared"], jobs["tick"]["schedule"]) == (False, "every 1s")


UNRESPONSIVE = """
import asyncio
from botctl import job

@job("0 3 * * *", timeout_s=0.2)
async def deaf() -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""


def test_job_that_ignores_cancellation_is_not_waited_for(project):
    project.write("commands/deaf.py", UNRESPONSIVE)
    assert project.call("migrate", "up").code == 0
    here = project.call("jobs", "run", "deaf")
    assert here.code == 1
    sentence = "botctl: deaf took too long: it was cancelled after 0.2 s, ignores that and goes on."
    assert here.err.splitlines()[-2:] == [
        sentence,
        "  → It ends with this process. Change the job so that it does not catch asyncio.CancelledError.",
    ]


async def test_commands_show_the_rest_beside_malformed_documents(project, mongo_server):
    """Then they name the bad ones, with exit code 4."""
    async with connect(mongo_server, timeout_s=LIMIT_S) as client:
        database = client[project.env["BOTCTL_MONGO__DATABASE"]]
        for name in ("botctl_jobs", "botctl_api_keys", "botctl_migrations", "botctl_audit"):
            await database[name].insert_one({"_id": "bad"})
        listed = await asyncio.to_thread(project.call, "jobs", "list")
        keys = await asyncio.to_thread(project.call, "auth", "key", "list", "--json")
        rows = await asyncio.to_thread(project.call, "migrate", "status")
        log = await asyncio.to_thread(project.call, "audit", "log")
        await client.drop_database(database.name)
    assert ("report" in listed.out, listed.code) == (True, 4)
    assert "A document of botctl_jobs cannot be read: bad (rev is missing)." in listed.err
    assert (keys.json, keys.code) == ([], 4)
    assert "botctl_api_keys cannot be read: bad" in keys.err
    assert rows.code == 4
    assert "botctl_migrations cannot be read: bad" in rows.err
    assert (log.code, "the stored entry bad cannot be read" in log.out) == (0, True)
