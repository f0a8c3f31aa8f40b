"""Errors as messages and exit codes, and as one JSON object for every verb."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from botctl.cli import main
from botctl.cli.boundary import run_guarded
from botctl.core.config.reference import reference
from botctl.core.errors import ConfigError
from botctl.core.secret_parts import SECRET_NAME
from tests.support.raised import NO_EXCEPTIONS
from tests.support.verbs import CALLS, COMMANDS

FIELDS = {"error", "hint", "type", "exit_code"}
REQUIRED_ARGUMENTS = {
    path: [p for p in command.params if p.param_type_name == "argument" and p.required]
    for path, command in CALLS.items()
}
AS_JSON = [path for path, command in CALLS.items() if {"project", "as_json"} <= {p.name for p in command.params}]


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Call botctl; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["botctl", *words])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def read_error(capsys: pytest.CaptureFixture[str], code: int) -> dict[str, Any]:
    """The JSON object on stderr. Stdout must be empty."""
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    document: dict[str, Any] = json.loads(err)
    assert document.keys() == FIELDS
    assert document["exit_code"] == code
    return document


@pytest.mark.parametrize("path", COMMANDS)
def test_unknown_option_is_a_usage_error(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, with a hint to --help. (`settings set` reads it as a value.)"""
    assert call(monkeypatch, *path.split(), "--json", "--no-such-option") == 2
    error = read_error(capsys, 2)
    assert error["error"].startswith(("No such option", "Missing argument"))
    assert f"`botctl {path} --help`" in error["hint"]


@pytest.mark.parametrize("option", ["--discord-token", "--auth-secret", "--redis-url", "--password", "--api-key"])
def test_secret_as_an_option_is_refused_with_a_sentence(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its value is not shown. Other users of the machine could read it in the list of processes."""
    for words in ((option, "s3cr3t-value"), (f"{option}=s3cr3t-value",)):
        assert call(monkeypatch, "run", *words) == 2
        shown = capsys.readouterr().err
        assert "→ No secret is given on the command line" in shown
        assert call(monkeypatch, "run", *words, "--json") == 2
        shown += read_error(capsys, 2)["hint"]
        assert "docs/secrets.md" in shown.splitlines()[-1]
        assert "s3cr3t-value" not in shown


def test_no_option_takes_a_secret() -> None:
    names = {option.lstrip("-") for command in CALLS.values() for p in command.params for option in p.opts}
    assert "secret-file" in names  # the name of a file
    assert not [name for name in names if SECRET_NAME.search(name.replace("-", "_"))]
    assert not names & {setting.key.replace(".", "-").replace("_", "-") for setting in reference() if setting.secret}


@pytest.mark.parametrize("path", [path for path, wanted in REQUIRED_ARGUMENTS.items() if wanted and path in AS_JSON])
def test_missing_argument_is_a_usage_error(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *path.split(), "--json") == 2
    assert read_error(capsys, 2)["error"].startswith("Missing argument")


@pytest.mark.parametrize("path", AS_JSON)
def test_missing_project_is_a_config_error(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    user = "user:900000000000000101"
    given = {"SUBJECT": "global", "FIELD=VALUE...": "a=b", "GUILD": "900000000000000001"}
    given |= {"HOLDER": user, "WHO": user, "WHAT": "jobs:run"}
    words = [given.get(str(p.metavar), "1") for p in REQUIRED_ARGUMENTS[path]]
    words += [
        word for p in CALLS[path].params if p.param_type_name == "option" and p.required for word in (p.opts[0], "1")
    ]
    assert call(monkeypatch, *path.split(), *words, "--json", "--project", str(tmp_path / "none")) == 78
    assert str(tmp_path / "none") in read_error(capsys, 78)["error"]


@pytest.mark.parametrize("words", [("nonsense", "--json"), ("settings", "shwo", "--json"), ("--json",)])
def test_unknown_verb_is_a_usage_error(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *words) == 2
    assert read_error(capsys, 2)["error"].startswith("No such")


def test_arguments_after_two_dashes_are_no_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A user may want to send the text --json or --debug."""
    project = str(tmp_path / "none")
    assert call(monkeypatch, "sandbox", "send", "--project", project, "--", "--json") == 78
    assert capsys.readouterr().err.startswith("botctl: ")
    assert call(monkeypatch, "sandbox", "send", "--project", project, "--", "--debug") == 78
    assert "Traceback" not in capsys.readouterr().err


def test_usage_is_printed_without_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "settings", "shwo") == 2
    out, err = capsys.readouterr()
    assert (out, "Usage: " in err, "Did you mean" in err) == ("", True, True)


def test_unexpected_error_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Its hint names the file with the traceback."""
    assert run_guarded(lambda: 1 // 0, as_json=True) == 1
    error = read_error(capsys, 1)
    assert (error["type"], "ZeroDivisionError" in error["error"]) == ("ZeroDivisionError", True)
    crash = Path(error["hint"].split(" is in ")[1].split(". Add")[0])
    assert "1 // 0" in crash.read_text()
    crash.unlink()


def test_unanswered_question_needs_a_decision(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-D does not count as yes."""

    def ask() -> None:
        raise typer.Abort

    assert run_guarded(ask, as_json=True) == 5
    assert "no answer" in read_error(capsys, 5)["error"]


def test_json_error_has_no_log_lines_beside_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library's warning is not JSON. (Without --json Python prints it.)"""
    top = logging.getLogger()
    monkeypatch.setattr(top, "handlers", [])

    def fail() -> None:
        logging.getLogger("library").warning("look out")
        raise ConfigError("it is wrong.")

    assert run_guarded(fail) == 78
    assert "look out" in capsys.readouterr().err
    assert run_guarded(fail, as_json=True) == 78
    assert read_error(capsys, 78)["error"] == "it is wrong."


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_short_command_cleans_up_after_a_signal(signum: signal.Signals, code: int) -> None:
    """As after Ctrl-C, also when SIGINT is ignored, as in the background of a script."""
    cleaned_up = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signum)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned_up.append(True)

    assert run_guarded(lambda: asyncio.run(work())) == code
    if signum is not signal.SIGINT:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            assert run_guarded(lambda: asyncio.run(work())) == code
        finally:
            signal.signal(signal.SIGINT, before)
    assert all(cleaned_up)


def test_hangup_that_is_ignored_ends_no_command() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_guarded(lambda: os.kill(os.getpid(), signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("error", [*NO_EXCEPTIONS[:4], asyncio.CancelledError()], ids=repr)
def test_whatever_is_raised_is_one_json_object(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    def call() -> None:
        raise error

    assert run_guarded(call, as_json=True) == 1
    assert read_error(capsys, 1)["type"] == type(error).__name__
