"""A project whose parts hang or do not answer: each is a line, and the others are still checked."""

import sys
from pathlib import Path

from botctl.cli.init.scaffold import create
from botctl.core.config.loading import load
from botctl.doctor.finding import Mark
from botctl.run.oneshot import doctor
from tests.support.waiting import expires

HANGS = """
import threading

print("noise")
threading.Event().wait()
"""


async def test_command_file_that_hangs_is_a_fault_and_takes_no_output_away(tmp_path: Path, monkeypatch, capsys):
    create(tmp_path)
    (tmp_path / "commands" / "hangs.py").write_text(HANGS)
    monkeypatch.setattr(doctor, "LOAD_S", expires(0.5))
    found = await doctor.examine(load(tmp_path, None, {}, {}))
    sys.stdout.write("still seen\n")
    assert capsys.readouterr().out == "still seen\n"
    (commands,) = [finding for finding in found if finding.check == "commands"]
    assert commands.mark is Mark.FAULT
    assert "look for a loop" in commands.mend
    assert {finding.check for finding in found} >= {"python", "settings", "files", "disk", "redis", "token"}


async def test_stores_and_discord_that_do_not_answer_are_faults_without_secrets(tmp_path: Path, monkeypatch):
    create(tmp_path)
    env = {
        "BOTCTL_REDIS__URL": "redis://user:canary-redis@127.0.0.1:1",
        "BOTCTL_REDIS__TIMEOUT_S": "0.1",
        "BOTCTL_MONGO__URL": "mongodb://user:canary-mongo@127.0.0.1:1",
        "BOTCTL_MONGO__TIMEOUT_S": "0.1",
        "BOTCTL_DISCORD__TOKEN": "canary.token.abcdefghijklmnopqrstuvwxyz",
    }
    monkeypatch.setattr("botctl.doctor.discord_api.DISCORD", "http://127.0.0.1:1")
    found = await doctor.examine(load(tmp_path, None, env, {}))
    marks = {finding.check: finding.mark for finding in found}
    assert marks["redis"] is marks["mongodb"] is marks["token"] is Mark.FAULT
    assert marks["migrations"] is marks["logins"] is marks["clock"] is Mark.UNKNOWN
    assert "canary" not in str(found)
