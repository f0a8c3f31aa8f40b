"""ecosystem.config.js: its numbers follow from botctl's own, and it finds the Python that has botctl."""

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

from botctl.cli.init.scaffold import create, example
from botctl.core.config.loading import load
from botctl.core.contracts.bus import Bus
from botctl.core.errors import ExitCode
from botctl.core.services.dependencies import Spec
from botctl.run.roles import ProcessRole, run_registry
from botctl.run.signals import DEPART_S
from botctl.run.supervisor import IDENTIFY_S, warnings
from tests.support import ROOT

PRINT = "process.stdout.write(JSON.stringify(require(process.argv[1]).apps))"

# What another start may put right. A signal that PM2 did not send is one too: an out-of-memory killer sends SIGTERM, or
# SIGKILL, which PM2 takes for 0.
AGAIN = {ExitCode.OK, ExitCode.FAILED, ExitCode.UNREACHABLE, ExitCode.INTERRUPTED, ExitCode.TERMINATED}


def read(file: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Let Node read the file as PM2 does."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("pm2: there is no node")
    return subprocess.run((node, "-e", PRINT, str(file)), env=env, capture_output=True, text=True, check=False)


@cache
def shipped() -> dict[str, Any]:
    """The app that the repository's own file describes."""
    done = read(example() / "ecosystem.config.js", BOTCTL_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    (app,) = json.loads(done.stdout)
    return app


@pytest.fixture
def plan(tmp_path: Path) -> tuple[Spec, ...]:
    """The services of a run with every role."""
    create(tmp_path)
    registry, types = run_registry(load(tmp_path, None, {}, {}), list(ProcessRole), bus=Bus())
    return registry.plan(*types)


def test_only_what_may_help_is_tried_again() -> None:
    """Every exit code is either worth another start or waits for a person."""
    assert set(shipped()["stop_exit_codes"]) == set(ExitCode) - AGAIN


def test_a_crash_loop_for_a_whole_day_leaves_logins_over() -> None:
    """Discord: 1,000 a day. PM2's own backoff would end at 15 s."""
    assert shipped()["restart_delay"] >= IDENTIFY_S * 1000
    assert "exp_backoff_restart_delay" not in shipped()
    assert not {"cron_restart", "max_memory_restart"} & set(shipped()), "these two heed no delay"


def test_pm2_waits_longer_than_the_longest_stop(plan: tuple[Spec, ...]) -> None:
    """The drain, every service's limit one after the other, and what hangs in the end."""
    longest_s = 10.0 + sum(spec.stop_s for spec in plan) + DEPART_S
    assert shipped()["kill_timeout"] > longest_s * 1000


def test_pm2_waits_longer_than_the_longest_start(plan: tuple[Spec, ...]) -> None:
    """Every service takes all the time it has, on the longest chain of needs; migrations have no limit."""
    by_key = {spec.key: spec for spec in plan}

    def ready_s(spec: Spec) -> float:
        needed = [by_key[key] for key in (*(p.key for p in spec.parameters), *spec.depends_on) if key in by_key]
        own_s = spec.start_s if math.isfinite(spec.start_s) else 0.0
        return own_s + max(map(ready_s, needed), default=0.0)

    assert shipped()["listen_timeout"] > max(map(ready_s, plan)) * 1000
    assert shipped()["wait_ready"] is True


def test_botctl_has_no_misgivings_about_its_own_file(plan: tuple[Spec, ...]) -> None:
    """What PM2 hands on of it, as text."""
    handed = {name: json.dumps(value) for name, value in shipped().items() if not isinstance(value, dict | list | str)}
    assert warnings({"pm_id": "0", **handed}, stop_s=sum(spec.stop_s for spec in plan)) == []


def test_the_systemd_unit_of_the_docs_says_the_same() -> None:
    """Codes and times; seconds there, milliseconds here."""
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


def test_a_new_bot_has_its_own_name_under_pm2(tmp_path: Path) -> None:
    """As in botctl.toml."""
    create(tmp_path / "My Bot")
    done = read(tmp_path / "My Bot" / "ecosystem.config.js", BOTCTL_PYTHON=sys.executable)
    (app,) = json.loads(done.stdout)
    assert (app["name"], app["cwd"]) == ("my-bot", str(tmp_path / "My Bot"))


class TestWhichPython:
    """The one that is named, else the project's, else the botctl on PATH."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        shutil.copy(example() / "ecosystem.config.js", tmp_path)
        for program in (".venv/bin/python", "bin/botctl"):
            (tmp_path / program).parent.mkdir(parents=True)
            (tmp_path / program).write_text("")
        return tmp_path / "ecosystem.config.js"

    def started(self, file: Path, **env: str) -> list[str]:
        (app,) = json.loads(read(file, **env).stdout)
        assert app["interpreter"] == "none"
        return [app["script"], *app["args"]]

    def test_the_named_one_first(self, file: Path) -> None:
        """BOTCTL_PYTHON."""
        assert self.started(file, BOTCTL_PYTHON="/py") == ["/py", "-P", "-m", "botctl", "run"]

    def test_then_the_one_of_the_project(self, file: Path) -> None:
        """Wherever PM2 was called, and whatever PATH says."""
        found = self.started(file, PATH=str(file.parent / "bin"))
        assert found == [str(file.parent / ".venv/bin/python"), "-P", "-m", "botctl", "run"]

    def test_then_the_one_on_path(self, file: Path) -> None:
        """By its absolute path: a folder called botctl in the project is not meant."""
        (file.parent / ".venv/bin/python").unlink()
        assert self.started(file, PATH=f"/nowhere:{file.parent / 'bin'}") == [str(file.parent / "bin/botctl"), "run"]

    def test_or_a_sentence(self, file: Path) -> None:
        """And what to do."""
        (file.parent / ".venv/bin/python").unlink()
        done = read(file, PATH="/nowhere")
        assert done.returncode != 0
        assert "There is no botctl: make" in done.stderr


def test_the_page_states_how_long_a_stop_may_take(plan: tuple[Spec, ...]) -> None:
    """What docs/production.md says of it, with the defaults."""
    limit_s = 10 + sum(spec.stop_s for spec in plan) + DEPART_S
    page = ROOT / "docs" / "production.md"
    assert f"after {limit_s:g} s at the most" in page.read_text(encoding="utf-8")
