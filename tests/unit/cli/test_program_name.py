"""Printed commands work where a user pastes them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from botctl.cli.program_name import program_name


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """botctl in a folder with a blank in its name, called by its path."""
    path = tmp_path / "my env" / "botctl"
    path.parent.mkdir()
    path.write_text('#!/bin/sh\necho called "$@"\n')
    path.chmod(0o700)
    monkeypatch.setattr(sys, "argv", [str(path)])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return path


def test_name_is_used_if_it_is_on_path(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    assert program_name() == program_name(absolute=True) == "botctl"


def test_path_is_relative_or_absolute(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shlex.split(program_name()) == [str(program)]
    monkeypatch.chdir(program.parent.parent)
    assert program_name() == "'my env/botctl'"
    assert shlex.split(program_name(absolute=True)) == [str(program)]


def test_command_printed_by_init_works(program: Path) -> None:
    """Even if the folder has blanks, quotes and emoji in its name."""
    from botctl.cli.main import app

    folder = program.parent.parent / "sp ace" / "b\u00f6 t \U0001f916 'q"
    printed = CliRunner().invoke(app, ["init", str(folder)]).stderr
    line = printed.strip().splitlines()[-1].removeprefix("Start it: ")
    done = subprocess.run(("sh", "-c", line), capture_output=True, text=True, check=True)
    assert done.stdout == "called run\n"
