"""The names that authors of commands import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import botctl
from botctl.bot.commands.command import metadata_of, modal, on
from botctl.core.contracts.events import CommandFinished, CommandStarted


@pytest.mark.parametrize("name", botctl.__all__)
def test_every_public_name_can_be_imported(name: str):
    assert getattr(botctl, name).__name__ == name


def test_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = botctl.nothing_of_the_kind


def test_importing_the_package_loads_neither_disnake_nor_pydantic():
    """`botctl --help` imports the package, and must start fast."""
    code = "import sys, botctl; sys.exit('disnake' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_decorators_store_metadata_and_keep_the_function():
    @modal("form")
    @on(CommandStarted, CommandFinished)
    def function() -> int:
        return 1

    assert function() == 1
    assert metadata_of(function) == {"on": (CommandStarted, CommandFinished), "modal": "form"}
