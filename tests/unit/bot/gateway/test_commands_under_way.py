"""The next process knows which commands have no answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from botctl.bot.gateway import commands_under_way
from botctl.bot.gateway.commands_under_way import CommandsUnderWay


def started(path: Path) -> tuple[CommandsUnderWay, dict[int, str]]:
    commands = CommandsUnderWay(path)
    return commands, commands.take_over()


def test_those_that_have_not_ended_are_left(tmp_path: Path) -> None:
    path = tmp_path / "gateway" / "commands"
    first, left = started(path)
    assert left == {}
    for number, name in ((1, "one"), (2, "ops status"), (3, "bad\n+4 name")):
        first.begin(number, name)
    first.end(1)
    second, left = started(path)
    assert left.keys() == {2, 3}
    assert left[2] == "ops status"
    assert path.stat().st_mode & 0o777 == 0o600
    assert started(path)[1] == {}, "they are told once"
    first.close()
    second.close()


def test_file_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands_under_way, "MAX_BYTES", 200)
    path = tmp_path / "commands"
    commands, _ = started(path)
    commands.begin(1, "long")
    for number in range(2, 100):
        commands.begin(number, "short")
        commands.end(number)
        assert path.stat().st_size < 300
    assert started(path)[1] == {1: "long"}
    commands.end(1)
    assert path.stat().st_size == 0
    commands.close()


def test_folder_that_cannot_be_written_costs_only_the_knowledge(tmp_path: Path) -> None:
    (tmp_path / "gateway").write_text("a file")
    commands, left = started(tmp_path / "gateway" / "commands")
    commands.begin(1, "one")
    commands.end(1)
    commands.close()
    assert left == {}
