"""Commands that are known by a line of help; their modules are imported when they are called."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


class LazyCommand(TyperCommand):
    """A command whose options are in the ``app`` of ``module``, which is loaded at the call.

    ``line`` is the first sentence of its help; ``panel`` is the group of commands it is listed in.
    """

    def __init__(self, name: str, line: str, module: str, *, panel: str = "Commands") -> None:
        super().__init__(name=name, help=line, rich_help_panel=panel)
        self.module = module

    def load(self) -> Any:
        """The Click command behind it."""
        command = typer.main.get_command(importlib.import_module(self.module).app)
        command.name = self.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Begin a call: from here on the loaded command takes over."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


class LazyGroup(TyperGroup):
    """A group that has the commands ``lazy`` besides its own. Help and completion load none of them."""

    lazy: ClassVar[tuple[LazyCommand, ...]] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for command in self.lazy:
            self.add_command(command)
