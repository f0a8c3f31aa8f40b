"""Output to a pipe: lines are not wrapped and have no trailing blanks."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from botctl.cli.output import render_plain, show
from botctl.cli.sandbox import view
from botctl.sandbox.console.schemas import MessageSchema

LONG = " ".join(["word"] * 100)


def test_lines_in_a_pipe_are_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    show(Text(LONG, "bold"), Text("[x] :smile:"))
    assert capsys.readouterr().out == f"{LONG}\n[x] :smile:\n"


def test_lines_on_a_terminal_are_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    show(Text(LONG), stderr=True)
    assert len(terminal.getvalue().splitlines()) > 5


@given(st.lists(st.tuples(st.text("ab ", max_size=9), st.text("ab ", max_size=200)), min_size=1, max_size=5))
def test_table_in_a_pipe_has_one_line_per_row(rows: list[tuple[str, str]]) -> None:
    table = Table("setting", "value", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    lines = render_plain(table).split("\n")
    assert len(lines) == len(rows) + 1
    assert all(line == line.rstrip() for line in lines)


def test_embed_in_a_pipe_is_not_wrapped() -> None:
    fields = [{"name": f"n{n}", "value": f"v{n}", "inline": True} for n in range(3)]
    shown = {
        "id": "9",
        "author": {"id": "5", "name": "dice", "bot": True},
        "embeds": [{"title": LONG, "fields": fields}],
    }
    lines = render_plain(view.render_message(MessageSchema.model_validate(shown), {})).split("\n")
    assert lines[1] == f"  ▌ {LONG}"
    assert lines[2:] == ["  ▌ n0 n1 n2", "  ▌ v0 v1 v2"]
