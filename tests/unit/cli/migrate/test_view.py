"""What `botctl migrate` prints while it works and at its end."""

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


def migrate(error: Exception | None, *, as_json: bool, has_applied: bool = True) -> None:
    with suppress(Exception), ProgressView(as_json=as_json) as view:
        view.waiting("process 7 on vps runs migrations: waiting.")
        if has_applied:
            view.started(FILE, Direction.UP)
            view.finished(FILE, Direction.UP, 7)
        if error:
            raise error


@pytest.mark.parametrize(
    ("error", "has_applied", "expected"),
    [
        (None, True, {"done": [DONE], "stopped": False}),
        (None, False, {"done": [], "stopped": False}),
        (typer.Exit(130), True, {"done": [DONE], "stopped": True}),
    ],
)
def test_json_is_one_object_with_applied_migrations(capsys, error, has_applied, expected):
    migrate(error, as_json=True, has_applied=has_applied)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == expected
    assert printed.err == ""


def test_json_is_not_printed_after_an_error(capsys):
    """The boundary prints the error as JSON on stderr."""
    migrate(Held("no"), as_json=True)
    assert capsys.readouterr().out == ""


def test_text_names_each_applied_migration_and_each_wait(capsys):
    migrate(None, as_json=False)
    printed = capsys.readouterr()
    assert printed.out == "✓ 0001_a applied in 7 ms\n"
    assert printed.err == "process 7 on vps runs migrations: waiting.\n"
    migrate(None, as_json=False, has_applied=False)
    assert capsys.readouterr().out == "Nothing to do.\n"
