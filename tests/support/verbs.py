"""Every verb and sub-verb of botctl, as typed, with its Click command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from botctl.cli import main


def _commands() -> Iterator[tuple[str, Any]]:
    if not main.app.registered_commands:
        main._register()
    root: Any = typer.main.get_command(main.app)
    yield from _walk("", root)


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    for child_name, child in getattr(command, "commands", {}).items():
        path = f"{name} {child_name}".strip()
        yield path, child
        yield from _walk(path, child)


COMMANDS = dict(_commands())
CALLS = {path: command for path, command in COMMANDS.items() if not getattr(command, "commands", None)}
"""Those that do something themselves."""
