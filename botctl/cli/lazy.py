"""Commands whose modules are imported only when they are called."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


class LazyCommand(TyperCommand):
    """A command that is defined by the ``app`` of ``module``.

    ``summary`` is the first sentence of its help; ``panel`` is its heading in the list of commands.
    """

    def __init__(self, name: str, summary: str, module: str, *, panel: str = "Commands") -> None:
        super().__init__(name=name, help=summary, rich_help_panel=panel)
        self.module = module

    def load(self) -> Any:
        """Import the module; returns its Click command."""
        command = typer.main.get_command(importlib.import_module(self.module).app)
        command.name = self.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Replace this command with the loaded one when it is called."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


class LazyGroup(TyperGroup):
    """A group with the commands ``lazy`` in addition to its own. Help and completion import none of them."""

    lazy: ClassVar[tuple[LazyCommand, ...]] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for command in self.lazy:
            self.add_command(command)
