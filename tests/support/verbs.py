"""Every verb and sub-verb of botctl, as typed, with its Click command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botctl.cli.lazy import LazyCommand
from botctl.cli.main import TOP_LEVEL_COMMANDS

LAZY: dict[str, LazyCommand] = {}
"""The commands whose module is imported when they are called."""


def _commands() -> Iterator[tuple[str, Any]]:
    for command in TOP_LEVEL_COMMANDS:
        yield from _walk(str(command.name), command)


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(command, LazyCommand):
        LAZY[name] = command
        command = command.load()
    yield name, command
    for child_name, child in getattr(command, "commands", {}).items():
        yield from _walk(f"{name} {child_name}", child)


COMMANDS = dict(_commands())
CALLS = {path: command for path, command in COMMANDS.items() if not getattr(command, "commands", None)}
"""The commands without subcommands."""
