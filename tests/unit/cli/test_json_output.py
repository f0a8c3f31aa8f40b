"""JSON on a terminal: no text in it acts on the terminal, and one place prints it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from botctl.cli import json_output
from botctl.cli.json_output import json_line, print_json

CLI = Path(json_output.__file__).parent


def stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "ascii", "latin-1"])
@pytest.mark.parametrize("text", ["\x9b2J", "\u202eabc", "naïve 🎲", "\udc9b"])
def test_line_can_be_written_and_means_the_same(encoding: str, text: str) -> None:
    line = json_line({"content": text}, stream(encoding))
    line.encode(encoding)
    assert line.isprintable()
    assert json.loads(line) == {"content": text}


def test_readable_characters_stay_where_they_can_be_written() -> None:
    assert json_line("naïve 🎲", stream("utf-8")) == '"naïve 🎲"'
    assert json_line("naïve", stream("latin-1")) == '"na\\u00efve"'
    assert json_line("ï", io.StringIO()) == '"\\u00ef"'  # its encoding is not known


def test_errors_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"error": "\x9b"}, stderr=True)
    assert capsys.readouterr() == ("", '{"error": "\\u009b"}\n')


def test_no_command_prints_json_by_itself() -> None:
    may = {"json_output.py", "scaffold.py"}  # the latter writes a file
    files = [path for path in CLI.rglob("*.py") if path.name not in may]
    assert len(files) > 20
    assert [str(path.relative_to(CLI)) for path in files if "json.dump" in path.read_text(encoding="utf-8")] == []
