"""`botctl jobs` beside a running process, and alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cli import READY, Project
from tests.support.waiting import wait_for

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
    env = {"BOTCTL_MONGO__URL": mongo_server, "BOTCTL_REDIS__URL": redis_server, "BOTCTL_MIGRATE__ON_START": "true"}
    project = Project(tmp_path / "jobs-cli", env)
    project.write("commands/jobs.py", COMMANDS)
    return project


def test_a_person_asks_the_process_that_schedules(project):
    with project.run("--only", "jobs", until=READY) as process:
        wait_for((project.root / "ticks.txt").exists, what="the first tick")
        done = project.call("jobs", "run", "report")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("report: ok in ")
        assert "by the process that schedules" in done.out
        assert (project.root / "report.txt").read_text() == "done"

        failed = project.call("jobs", "run", "broken", "--json")
        assert failed.code == 1
        assert failed.json["result"] == "failed"
        assert failed.json["error_id"] in process.said, "the log has the traceback under the same id"

        assert project.call("jobs", "pause", "tick").out == "tick is paused\n"
        found = {job["name"]: job for job in project.call("jobs", "list", "--json").json}
        assert {"trim-events", "sample-stores", "expire-keys", "tell-activity"} < set(found)
        assert (found["tick"]["paused"], found["tick"]["about"]) == (True, "Note the time.")
        assert (found["tick"]["outcome"], found["tick"]["lost"]) == ("ok", 0)
        assert found["report"]["outcome"] == "ok"
        process.signal(15)
        assert process.ended() == 143

    alone = project.call("jobs", "run", "report")
    assert (alone.code, "here, since nothing schedules" in alone.out) == (0, True), alone.err
    unknown = project.call("jobs", "resume", "nothing")
    assert unknown.code == 2
    assert "Choose from: broken, expire-keys, report" in unknown.err
