"""ecosystem.config.js: its times agree with botctl's limits, and it finds the Python that has botctl."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from botctl.cli.init.scaffold import create, example_folder
from botctl.core.config.loading import load
from botctl.core.contracts.bus import Bus
from botctl.core.errors import ExitCode
from botctl.core.services.dependencies import Spec
from botctl.run.process_manager import pm2_warnings
from botctl.run.roles import ProcessRole, build_run_registry
from botctl.run.signals import EXIT_GRACE_S
from tests.support import ROOT

PRINT = "process.stdout.write(JSON.stringify(require(process.argv[1]).apps))"

# A restart may help after these. That includes signals that PM2 did not send: an out-of-memory killer sends SIGTERM, or
# SIGKILL, which PM2 reports as 0.
RESTARTED = {
    ExitCode.OK,
    ExitCode.FAILED,
    ExitCode.UNREACHABLE,
    ExitCode.HUNG_UP,
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
}


def read(file: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Read the file with Node, as PM2 does."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("pm2: there is no node")
    return subprocess.run((node, "-e", PRINT, str(file)), env=env, capture_output=True, text=True, check=False)


@cache
def shipped() -> dict[str, Any]:
    """The app that the repository's own file describes."""
    done = read(example_folder() / "ecosystem.config.js", BOTCTL_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    (app,) = json.loads(done.stdout)
    return app


@pytest.fixture
def plan(tmp_path: Path) -> tuple[Spec, ...]:
    """The services of a run with every role."""
    create(tmp_path)
    registry, types = build_run_registry(load(tmp_path, None, {}, {}), list(ProcessRole), bus=Bus())
    return registry.plan(*types)


def test_pm2_restarts_only_after_exit_codes_that_may_recover() -> None:
    """Every other exit code needs a person."""
    assert set(shipped()["stop_exit_codes"]) == set(ExitCode) - RESTARTED


def test_pm2_restarts_at_once_and_leaves_the_pauses_to_botctl() -> None:
    assert shipped()["restart_delay"] == 1000
    assert "exp_backoff_restart_delay" not in shipped()


def test_start_of_the_bot_has_no_limit_of_its_own(plan: tuple[Spec, ...]) -> None:
    """Logins of many shards take as long as Discord wants; the bot gives up by itself: see `botctl.bot.login`."""
    assert [spec.start_s for spec in plan if spec.name == "bot"] == [math.inf]


def test_pm2_waits_longer_than_the_longest_stop(plan: tuple[Spec, ...]) -> None:
    """The drain, the limits of all services one after the other, and the watchdog of the exit."""
    longest_s = 10.0 + sum(spec.stop_s for spec in plan) + EXIT_GRACE_S
    assert shipped()["kill_timeout"] > longest_s * 1000


def test_pm2_waits_longer_than_the_longest_start(plan: tuple[Spec, ...]) -> None:
    """The longest chain of dependencies, if each service takes its whole limit. Migrations have no limit."""
    by_key = {spec.key: spec for spec in plan}

    def ready_s(spec: Spec) -> float:
        needed = [by_key[key] for key in (*(p.key for p in spec.parameters), *spec.depends_on) if key in by_key]
        own_s = spec.start_s if math.isfinite(spec.start_s) else 0.0
        return own_s + max(map(ready_s, needed), default=0.0)

    assert shipped()["listen_timeout"] > max(map(ready_s, plan)) * 1000
    assert shipped()["wait_ready"] is True


def test_own_options_cause_no_pm2_warnings(plan: tuple[Spec, ...]) -> None:
    """PM2 puts the options into the environment as text."""
    options = {name: json.dumps(value) for name, value in shipped().items() if not isinstance(value, dict | list | str)}
    assert pm2_warnings({"pm_id": "0", **options}, max_stop_s=sum(spec.stop_s for spec in plan)) == []


def test_systemd_unit_in_the_docs_has_the_same_values() -> None:
    """Exit codes, and times: seconds in the unit, milliseconds in the PM2 file."""
    page = (ROOT / "docs" / "pm2.md").read_text(encoding="utf-8")
    lines = page.partition("```ini\n")[2].partition("```")[0].splitlines()
    unit = dict(line.split("=", 1) for line in lines if "=" in line)
    assert [int(code) for code in unit["RestartPreventExitStatus"].split()] == shipped()["stop_exit_codes"]
    for name, option in {
        "RestartSec": "restart_delay",
        "TimeoutStartSec": "listen_timeout",
        "TimeoutStopSec": "kill_timeout",
    }.items():
        assert int(unit[name]) * 1000 == shipped()[option], name


def test_new_bot_has_its_own_name_in_pm2(tmp_path: Path) -> None:
    create(tmp_path / "My Bot")
    done = read(tmp_path / "My Bot" / "ecosystem.config.js", BOTCTL_PYTHON=sys.executable)
    (app,) = json.loads(done.stdout)
    assert (app["name"], app["cwd"]) == ("my-bot", str(tmp_path / "My Bot"))


class TestWhichPython:
    """BOTCTL_PYTHON, else the project's Python, else that of `botctl init`, else the botctl on PATH."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        shutil.copy(example_folder() / "ecosystem.config.js", tmp_path)
        for program in (".venv/bin/python", "bin/botctl"):
            (tmp_path / program).parent.mkdir(parents=True)
            (tmp_path / program).write_text("")
        return tmp_path / "ecosystem.config.js"

    def command(self, file: Path, **env: str) -> list[str]:
        (app,) = json.loads(read(file, **env).stdout)
        assert app["interpreter"] == "none"
        words = [app["script"], *app["args"]]
        assert words[:3] == ["/bin/sh", "-c", 'exec "$0" "$@"']
        return words[3:]

    def test_botctl_python_comes_first(self, file: Path) -> None:
        assert self.command(file, BOTCTL_PYTHON="/py") == ["/py", "-P", "-m", "botctl", "run"]

    def test_python_of_the_project_comes_second(self, file: Path) -> None:
        command = self.command(file, PATH=str(file.parent / "bin"))
        assert command == [str(file.parent / ".venv/bin/python"), "-P", "-m", "botctl", "run"]

    def test_python_that_created_the_bot_comes_third(self, tmp_path: Path) -> None:
        """It is in another place. On a machine that does not have it, PATH is next."""
        create(tmp_path / "new")
        file = tmp_path / "new" / "ecosystem.config.js"
        assert self.command(file, PATH="/nowhere") == [sys.executable, "-P", "-m", "botctl", "run"]
        file.write_text(file.read_text().replace(json.dumps(sys.executable), json.dumps("/gone/python")))
        assert "There is no botctl" in read(file, PATH="/nowhere").stderr

    def test_botctl_on_path_comes_fourth(self, file: Path) -> None:
        """Its absolute path is used, because the project may have a folder named botctl."""
        (file.parent / ".venv/bin/python").unlink()
        assert self.command(file, PATH=f"/nowhere:{file.parent / 'bin'}") == [str(file.parent / "bin/botctl"), "run"]

    def test_missing_botctl_is_an_error_with_a_hint(self, file: Path) -> None:
        (file.parent / ".venv/bin/python").unlink()
        done = read(file, PATH="/nowhere")
        assert done.returncode != 0
        assert "There is no botctl. Install it" in done.stderr


def test_docs_state_the_longest_time_of_a_stop(plan: tuple[Spec, ...]) -> None:
    """docs/production.md gives it for the default settings."""
    limit_s = 10 + sum(spec.stop_s for spec in plan) + EXIT_GRACE_S
    page = ROOT / "docs" / "production.md"
    assert f"after {limit_s:g} s at the most" in page.read_text(encoding="utf-8")
