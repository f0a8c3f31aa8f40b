"""What a verb that does migrations prints while it does, and in the end."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import typer

from botctl.cli.migrate.view import ProgressView
from botctl.core.errors import Held
from botctl.migrate.files import Migration
from botctl.migrate.plan import Direction

FILE = Migration(1, "0001_a", Path("0001_a.py"), "It.", reversible=True, source=b"")
DONE = {"name": "0001_a", "direction": "up", "took_ms": 7}


def end(error: Exception | None, *, as_json: bool, did: bool = True) -> None:
    with suppress(Exception), ProgressView(as_json=as_json) as view:
        view.waits("process 7 on vps does migrations: waiting.")
        if did:
            view.begins(FILE, Direction.UP)
            view.ended(FILE, Direction.UP, 7)
        if error:
            raise error


@pytest.mark.parametrize(
    ("error", "did", "told"),
    [
        (None, True, {"done": [DONE], "stopped": False}),
        (None, False, {"done": [], "stopped": False}),
        (typer.Exit(130), True, {"done": [DONE], "stopped": True}),
    ],
)
def test_as_json_it_is_one_object_that_says_what_was_done(capsys, error, did, told):
    end(error, as_json=True, did=did)
    said = capsys.readouterr()
    assert json.loads(said.out) == told
    assert said.err == ""


def test_with_an_error_it_is_the_error_alone(capsys):
    """Which is JSON on stderr, and the boundary's to print; where things stand, `migrate status --json` says."""
    end(Held("no"), as_json=True)
    assert capsys.readouterr().out == ""


def test_for_people_each_is_told_when_it_is_done_and_who_is_waited_for(capsys):
    end(None, as_json=False)
    said = capsys.readouterr()
    assert said.out == "✓ 0001_a applied in 7 ms\n"
    assert said.err == "process 7 on vps does migrations: waiting.\n"
    end(None, as_json=False, did=False)
    assert capsys.readouterr().out == "Nothing to do.\n"
