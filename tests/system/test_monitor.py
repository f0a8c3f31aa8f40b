"""`botctl monitor` with a running bot: to a pipe, as JSON, and in a real terminal."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import psutil

from tests.support.cli import BOTCTL, Process, Project
from tests.support.terminal import terminal
from tests.support.waiting import wait_for

LIVE = (*BOTCTL, "monitor")


def test_without_a_run_it_reports_that_and_starts_nothing(tmp_path: Path) -> None:
    """Exit code 7, also with --json; no store is started or created."""
    project = Project(tmp_path / "bot")
    done = project.call("monitor", "--once")
    assert (done.code, done.out) == (7, "")
    assert "No `botctl run` of this project is up" in done.err
    assert "Start it" in done.err
    as_json = project.call("monitor", "--json")
    assert (as_json.code, '"exit_code": 7' in as_json.err) == (7, True)
    health = project.call("health")
    assert (health.code, health.out) == (7, "")
    assert "No `botctl run` of this project is up" in health.err
    assert project.parts() == {}
    assert not (project.root / ".botctl" / "valkey").exists()


def test_running_bot_is_shown(tmp_path: Path) -> None:
    """Its commands, services, shard and process, as JSON and as text. A pipe needs no --once."""
    project = Project(tmp_path / "bot")
    with project.run() as bot:
        assert project.call("sandbox", "send", "/ping").code == 0
        found: list[dict[str, Any]] = []

        def has_command() -> bool:
            done = project.call("monitor", "--once", "--json")
            assert done.code == 0, done.err
            found.append(done.json)
            pinged = any(each["name"] == "logins" and each["detail"] for each in done.json["services"])
            return pinged and bool(done.json["last"]) and done.json["totals"]["redis_ms"] is not None

        wait_for(has_command, what="the command in a snapshot")
        done = project.call("monitor", COLUMNS="80")
        without_a_store_the_bot_is_asked_itself(project, bot)
    view = found[-1]
    (process,) = view["processes"]
    assert (view["v"], view["bot"]) == (1, "bot")
    assert process["proc"].endswith(f":{bot.pid}")
    assert process["presence"] == "up"
    assert "bot" in process["roles"]
    assert process["rss_bytes"] > 10_000_000
    assert (view["last"][0]["name"], view["last"][0]["result"]) == ("ping", "ok")
    assert view["totals"]["total"] == 1
    assert view["totals"]["p50_ms"] > 0
    assert {"redis", "mongo", "sandbox", "bot"} <= {service["name"] for service in view["services"]}
    assert [shard["id"] for shard in view["shards"]] == [0]
    (logins,) = (service["detail"] for service in view["services"] if service["name"] == "logins")
    assert re.fullmatch(r"(999|1,000) of 1,000 logins left until \d\d:\d\d UTC, 1 at a time", logins)
    assert (done.code, done.err) == (0, "")
    assert f"pid {bot.pid}" in done.out
    assert "\x1b" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def without_a_store_the_bot_is_asked_itself(project: Project, bot: Process) -> None:
    """Its Redis hangs; then the bot is stopped, continued, and killed."""
    wait_for(lambda: project.call("health").code == 0, what="a bot that is well")
    redis = psutil.Process(project.parts()["redis"])
    redis.suspend()
    try:
        wait_for(lambda: is_shown_by_itself(project), what="the bot, without its Redis")
    finally:
        redis.resume()

    bot.signal(signal.SIGSTOP)
    stopped = project.call("health")
    bot.signal(signal.SIGCONT)
    assert stopped.code == 1
    assert stopped.out.startswith(f"blocked: process {bot.pid} (bot, realtime, jobs, web) runs on this host, but")
    wait_for(lambda: project.call("health").code == 0, what="the bot again")
    bot.child.kill()
    bot.wait_for_exit()
    killed = project.call("health", "--json")
    assert (killed.code, "No `botctl run` of this project is up" in killed.err) == (7, True)


def is_shown_by_itself(project: Project) -> bool:
    shown = project.call("monitor", "--once", "--json", BOTCTL_REDIS__TIMEOUT_S="0.2").json
    asked = project.call("health", "--json")
    assert any("only processes of this host are shown" in trouble for trouble in shown["troubles"])
    if not shown["processes"] or asked.code != 0:
        return False  # on a busy machine it has not answered in time
    assert shown["health"]["verdict"] == "degraded"
    assert [process["roles"] for process in shown["processes"]] == [["bot", "jobs", "realtime", "web"]]
    assert shown["totals"]["total"] == 1
    return [process["proc"] for process in asked.json["processes"]] == [shown["processes"][0]["proc"]]


def test_live_screen_follows_the_bot_until_q(tmp_path: Path) -> None:
    """It waits for a bot, shows it at two sizes, survives its end, and q restores the terminal."""
    project = Project(tmp_path / "bot")
    with terminal(LIVE, project.root, 80, 24) as screen:
        screen.wait_for_text("Waiting for `botctl run` …", "No `botctl run` of this project is up")
        with project.run() as bot:
            screen.wait_for_text("q quits", f"pid {bot.pid}", "✓ redis", "✓ #0")
            assert project.call("sandbox", "send", "/roll sides:20").code == 0
            assert len(screen.wait_for_text("roll").rstrip("\n").split("\n")) <= 24
            screen.resize(200, 60)
            screen.wait_for_text("detail", "Valkey", "roll")
            screen.resize(80, 24)
            bot.child.kill()
            bot.wait_for_exit()
            screen.wait_for_text("Waiting for `botctl run` …")
        screen.press("q")
        assert "Waiting" not in screen.wait_for_text("ended with 0")


def test_ctrl_c_ends_the_waiting_screen(tmp_path: Path) -> None:
    """Exit code 130. Typed keys are not echoed."""
    project = Project(tmp_path / "bot")
    with terminal(LIVE, project.root, 60, 10) as screen:
        screen.wait_for_text("Waiting for `botctl run` …")
        screen.press("x", "y")
        screen.press("C-c")
        assert "xy" not in screen.wait_for_text("ended with 130")
