"""The file of PM2 and the unit of systemd: those of the docs are well, and each option that is missing is named."""

import re
from pathlib import Path

import pytest

from botctl.doctor.finding import Mark
from botctl.doctor.supervisor import SupervisorFile, assess_supervisors, belongs_to, started_program
from botctl.doctor.supervisor_probe import read_supervisor_files
from tests.support import ROOT

PM2 = (ROOT / "ecosystem.config.js").read_text()
(UNIT,) = re.findall(r"```ini\n(.*?)```", (ROOT / "docs" / "pm2.md").read_text(), re.DOTALL)
PREFIX = "/srv/my-bot/.venv"


def assess(file, prefix=PREFIX, drain_s=10.0):
    return assess_supervisors([file], prefix=prefix, drain_s=drain_s)


def pm2(text=PM2, *, drain_s=10.0, python=f"{PREFIX}/bin/python"):
    return assess(SupervisorFile("ecosystem.config.js", text, is_pm2=True, programs=(python,)), drain_s=drain_s)


def unit(text=UNIT, *, drain_s=10.0, prefix=PREFIX):
    programs = (started_program(text),)
    return assess(SupervisorFile("/etc/systemd/system/my-bot.service", text, False, programs), prefix, drain_s)


def test_files_of_the_docs_suit_a_bot():
    assert [finding.mark for finding in (*pm2(), *unit())] == [Mark.OK, Mark.OK]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("restart_delay: 1_000", "restart_delay: 90_000", "away for 90 s"),
        ("restart_delay: 1_000,", "// restart_delay: 1_000,", "16 quick ones"),
        ("kill_timeout: 240_000", "kill_timeout: 1600", "after 1.6 s"),
        ("treekill: false", "treekill: true", "embedded stores"),
        ("5, 6, 78]", "5, 6]", "only a person"),
    ],
)
def test_option_of_pm2_that_does_not_suit_is_a_fault(old, new, word):
    assert old in PM2
    (finding,) = pm2(PM2.replace(old, new))
    assert (finding.mark, word in finding.sentence, bool(finding.mend)) == (Mark.FAULT, True, True)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("RestartSec=1", "RestartSec=90", "away for 90 s"),
        ("RestartSec=1", "RestartSec=1min 1s", "away for 61 s"),
        ("KillMode=mixed", "", "embedded stores"),
        ("TimeoutStopSec=240", "TimeoutStopSec=5", "10 s"),
        ("WatchdogSec=60", "WatchdogSec=2", "2 s late"),
        ("RestartPreventExitStatus=2 3 4 5 6 78", "", "only a person"),
        ("/srv/my-bot/.venv/bin/botctl", "/usr/bin/botctl", "/usr/bin/botctl"),
    ],
)
def test_option_of_systemd_that_does_not_suit_is_a_fault(old, new, word):
    assert old in UNIT
    (finding,) = unit(UNIT.replace(old, new))
    assert (finding.mark, word in finding.sentence, bool(finding.mend)) == (Mark.FAULT, True, True)


def test_missing_watchdog_is_no_fault_and_is_named():
    (finding,) = unit(UNIT.replace("WatchdogSec=60\n", ""))
    assert (finding.mark, finding.mend) == (Mark.UNKNOWN, "WatchdogSec=60")


def test_other_ways_to_write_it_are_understood():
    assert unit(UNIT.replace("RestartSec=1", "RestartSec=500ms"))[0].mark is Mark.OK
    assert (
        unit(UNIT.replace("Restart=always", "Restart=no").replace("RestartSec=1", "RestartSec=90"))[0].mark is Mark.OK
    )
    assert pm2(PM2.replace("restart_delay:", '"restart_delay":'))[0].mark is Mark.OK


def test_another_interpreter_is_a_fault():
    (finding,) = pm2(python="/usr/bin/python3")
    assert (finding.mark, "/usr/bin/python3" in finding.sentence) == (Mark.FAULT, True)


def test_longer_drain_needs_longer_timeouts():
    assert "600 s" in pm2(drain_s=600.0)[0].sentence
    assert unit(drain_s=600.0)[0].mark is Mark.FAULT


def test_no_file_is_not_known():
    assert [f.mark for f in assess_supervisors([], prefix=PREFIX, drain_s=1)] == [Mark.UNKNOWN]


def test_unit_is_found_by_the_folder_of_the_project():
    assert belongs_to(UNIT, "/srv/my-bot")
    assert started_program("[Service]\nExecStart=-/usr/bin/botctl run") == "/usr/bin/botctl"
    assert started_program("[Service]\nExecStart=botctl run") is None
    assert started_program("[Service]\nExecStart='") is None
    assert not belongs_to(UNIT, "/srv/my")
    assert not belongs_to(UNIT.replace("botctl", "other"), "/srv/my-bot")


def test_files_are_found(tmp_path: Path):
    (tmp_path / "ecosystem.config.js").write_text(PM2)
    units = tmp_path / "home" / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    (units / "my-bot.service").write_text(UNIT.replace("/srv/my-bot", str(tmp_path)))
    (units / "other.service").write_text(UNIT)
    programs = tmp_path / ".venv" / "bin"
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / ".venv").symlink_to(tmp_path / "env")
    (programs / "python").symlink_to("/usr/bin/python3")
    env = {"HOME": str(tmp_path / "home")}
    found = read_supervisor_files(tmp_path, env)
    assert [(Path(file.path).name, file.programs) for file in found] == [
        ("ecosystem.config.js", (str(tmp_path / "env" / "bin" / "python"),)),
        ("my-bot.service", (str(tmp_path / "env" / "bin" / "botctl"),)),
    ]
    (named, _) = read_supervisor_files(tmp_path, env | {"BOTCTL_PYTHON": "/opt/python"})
    assert named.programs == ("/opt/python",)
    assert read_supervisor_files(tmp_path / "none", {}) == []
