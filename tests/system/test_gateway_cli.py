"""`botctl gateway` and one bot for each token, with the real command line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from botctl.core.config.settings import Settings
from botctl.core.processes.runtime import Runtime
from tests.support.cli import BOTCTL, READY, Process, Project
from tests.support.starts import write_starts
from tests.support.waiting import LIMIT_S, wait_for

Running = tuple[Project, Process]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A bot with its sandbox. It has crashed a few times, and a person wants it now."""
    project = Project(tmp_path_factory.mktemp("gateway") / "first-bot")
    write_starts(project, 8, exit_code=1, logins=1)
    with project.process("run", "--now", until=READY) as process:
        yield project, process


def test_status_plan_and_restart(running: Running) -> None:
    project, process = running
    status = wait_for_status(project, is_ready)
    assert status["logins"] | {"resets_at": ""} == {
        "total": 1000,
        "left": 999,
        "spendable": 949,
        "reserve": 50,
        "used_24h": 1,
        "max_concurrency": 1,
        "resets_at": "",
    }
    assert (status["holder"]["pid"], status["holder"]["project"]) == (process.pid, "first-bot")
    assert [(shard["id"], shard["state"]) for shard in status["shards"]] == [(0, "ready")]
    plan = project.call("gateway", "plan", "--json").json
    assert plan["shards"] == [{"shard": 0, "how": "resume", "at_s": 0.0, "why": ""}]
    assert (plan["logins"], plan["left_after"], plan["waits_until"]) == (0, 999, None)
    changed = project.call("gateway", "plan", "--json", BOTCTL_DISCORD__INTENTS="guilds").json
    assert (changed["logins"], changed["shards"][0]["how"]) == (1, "login")
    assert changed["shards"][0]["why"] == "discord.intents was default, and is guilds"
    assert project.call("gateway", "restart").out == "shard 0: reconnecting.\n"
    assert wait_for_status(project, is_ready)["logins"]["left"] == 999, "a RESUME is no login"
    assert project.call("gateway", "restart", "--fresh").out == "shard 0: logging in again.\n"
    wait_for_status(project, lambda status: bool(status["logins"]["left"] == 998))
    audited = project.call("audit", "log", "--json").out
    assert audited.count('"gateway.start_now"') == 1
    assert "waiting" not in process.output
    assert audited.count('"gateway.reconnect"') == 2


def test_start_can_be_told_to_log_in(tmp_path: Path) -> None:
    project = Project(tmp_path / "bot")
    rows = project.call("run", "--fresh", "--explain-config", "--json").json
    assert [row["value"] for row in rows if row["key"] == "discord.resume"] == ["false"]
    assert Settings().discord.resume


def is_ready(status: dict[str, Any]) -> bool:
    return [shard["state"] for shard in status["shards"]] == ["ready"]


def wait_for_status(project: Project, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What `botctl gateway status` says when ``condition`` holds."""
    status: dict[str, Any] = {}

    def ask() -> bool:
        status.update(project.call("gateway", "status", "--json").json)
        return condition(status)

    wait_for(ask, what="a status")
    return status


def test_second_bot_with_the_token_is_refused_before_it_connects(running: Running, tmp_path: Path) -> None:
    """It has another name, another project and other stores; only the sandbox is the same."""
    first, process = running
    second = Project(tmp_path / "second-bot")
    part = Runtime(first.root).live()["sandbox"]
    runtime = Runtime(second.root, long_lived=True)
    with runtime.lock("sandbox"):  # as if this process were the owner of the project's sandbox
        runtime.publish("sandbox", pid=os.getpid(), address=part.address, secret=part.secret)
        done = subprocess.run(
            (*BOTCTL, "run"),
            cwd=second.root,
            env=second.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert done.returncode == 6, done.stderr
    assert f"botctl: A bot with the same token runs already, in process {process.pid} on " in done.stderr, done.stderr
    assert "(project first-bot, since 20" in done.stderr
    assert "✓ bot" not in done.stderr


def test_without_a_bot_the_file_is_read(tmp_path: Path) -> None:
    project = Project(tmp_path / "bot", {"BOTCTL_DISCORD__TOKEN": "a.token.of-this-test"})
    nothing = project.call("gateway", "status")
    assert nothing.code == 0, nothing.err
    assert "1,000 of 1,000 logins left" in nothing.out
    assert "No `botctl run` of this project is up." in nothing.out
    none = project.call("gateway", "restart")
    assert none.code == 7
    assert "no bot with this token runs" in none.err
