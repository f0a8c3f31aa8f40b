"""The author's names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import botctl
from botctl.bot.command import marks, modal, on
from botctl.core.contracts.events import CommandFinished, CommandStarted


@pytest.mark.parametrize("name", botctl.__all__)
def test_every_name_is_there(name: str):
    assert getattr(botctl, name).__name__ == name


def test_a_name_that_is_not_there_is_an_error():
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = botctl.nothing_of_the_kind


def test_the_package_itself_loads_nothing_heavy():
    """`botctl --help` imports botctl: disnake comes when a command file asks for it."""
    code = "import sys, botctl; sys.exit('disnake' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_decorators_leave_notes_and_the_function_as_it_is():
    @modal("form")
    @on(CommandStarted, CommandFinished)
    def function() -> int:
        return 1

    assert function() == 1
    assert marks(function) == {"on": (CommandStarted, CommandFinished), "modal": "form"}
