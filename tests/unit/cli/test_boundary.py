"""Errors as words and exit codes; with --json, as one object, for every verb there is."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from botctl.cli import main
from botctl.cli.boundary import run_guarded
from botctl.core.errors import ConfigError
from tests.support.verbs import CALLS, COMMANDS

FIELDS = {"error", "hint", "type", "exit_code"}
TAKES = {
    path: [p for p in command.params if p.param_type_name == "argument" and p.required]
    for path, command in CALLS.items()
}
AS_JSON = [path for path, command in CALLS.items() if {"project", "as_json"} <= {p.name for p in command.params}]


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of botctl, called so."""
    monkeypatch.setattr(sys, "argv", ["botctl", *words])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def the_error(capsys: pytest.CaptureFixture[str], code: int) -> dict[str, Any]:
    """The one object on stderr, beside nothing on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    said: dict[str, Any] = json.loads(err)
    assert said.keys() == FIELDS
    assert said["exit_code"] == code
    return said


@pytest.mark.parametrize("path", COMMANDS)
def test_an_option_that_does_not_exist(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every verb: exit code 2, in Typer's words, and where to look. (To `settings set` it is a value.)"""
    assert call(monkeypatch, *path.split(), "--json", "--no-such-option") == 2
    said = the_error(capsys, 2)
    assert said["error"].startswith(("No such option", "Missing argument"))
    assert f"`botctl {path} --help`" in said["hint"]


@pytest.mark.parametrize("path", [path for path, wanted in TAKES.items() if wanted and path in AS_JSON])
def test_an_argument_that_is_missing(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every verb that needs one."""
    assert call(monkeypatch, *path.split(), "--json") == 2
    assert the_error(capsys, 2)["error"].startswith("Missing argument")


@pytest.mark.parametrize("path", AS_JSON)
def test_an_error_of_botctl_itself(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of every verb that knows --json: here is no project."""
    given = {"SUBJECT": "global", "FIELD=VALUE...": "a=b", "GUILD": "900000000000000001"}
    words = [given.get(str(p.metavar), "1") for p in TAKES[path]]
    words += [
        word for p in CALLS[path].params if p.param_type_name == "option" and p.required for word in (p.opts[0], "1")
    ]
    assert call(monkeypatch, *path.split(), *words, "--json", "--project", str(tmp_path / "none")) == 78
    assert str(tmp_path / "none") in the_error(capsys, 78)["error"]


@pytest.mark.parametrize("words", [("nonsense", "--json"), ("settings", "shwo", "--json"), ("--json",)])
def test_a_verb_that_does_not_exist(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where no verb stands at all."""
    assert call(monkeypatch, *words) == 2
    assert the_error(capsys, 2)["error"].startswith("No such")


def test_what_stands_after_two_dashes_is_no_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A person may want to say --json, or --debug."""
    project = str(tmp_path / "none")
    assert call(monkeypatch, "sandbox", "send", "--project", project, "--", "--json") == 78
    assert capsys.readouterr().err.startswith("botctl: ")
    assert call(monkeypatch, "sandbox", "send", "--project", project, "--", "--debug") == 78
    assert "Traceback" not in capsys.readouterr().err


def test_to_a_person_usage_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json."""
    assert call(monkeypatch, "settings", "shwo") == 2
    out, err = capsys.readouterr()
    assert (out, "Usage: " in err, "Did you mean" in err) == ("", True, True)


def test_a_fault_is_an_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the file that has the traceback."""
    assert run_guarded(lambda: 1 // 0, as_json=True) == 1
    said = the_error(capsys, 1)
    assert (said["type"], "ZeroDivisionError" in said["error"]) == ("ZeroDivisionError", True)
    crash = Path(said["hint"].split(" is in ")[1].split(";")[0])
    assert "1 // 0" in crash.read_text()
    crash.unlink()


def test_a_question_without_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-D is no yes."""

    def ask() -> None:
        raise typer.Abort

    assert run_guarded(ask, as_json=True) == 5
    assert "no answer" in the_error(capsys, 5)["error"]


def test_nothing_is_logged_beside_an_object(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a library warns of is no JSON. (Without --json it is shown, as Python does.)"""
    top = logging.getLogger()
    monkeypatch.setattr(top, "handlers", [])

    def fail() -> None:
        logging.getLogger("somebody").warning("look out")
        raise ConfigError("it is wrong.")

    assert run_guarded(fail) == 78
    assert "look out" in capsys.readouterr().err
    assert run_guarded(fail, as_json=True) == 78
    assert the_error(capsys, 78)["error"] == "it is wrong."
