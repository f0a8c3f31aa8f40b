"""What a command file may hold of plain disnake: cogs, commands outside a cog, and what botctl does not run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import disnake
from disnake.ext import commands

from botctl.bot.commands.compiled import Invokable
from botctl.bot.commands.discord_limits import payload, refusals
from botctl.bot.commands.load_errors import definition_line
from botctl.core.contracts.invocation import Kind

INVOKABLE = (commands.InvokableSlashCommand, commands.InvokableUserCommand, commands.InvokableMessageCommand)
_KINDS: Final = {
    disnake.ApplicationCommandType.chat_input: Kind.SLASH,
    disnake.ApplicationCommandType.user: Kind.USER,
    disnake.ApplicationCommandType.message: Kind.MESSAGE,
}
_PREFIX_COMMAND = "is a prefix command, which botctl does not run; write it as a slash command"


def kind_of_invokable(command: commands.InvokableApplicationCommand) -> Kind:
    """Return whether this is a slash command, or in the context menu of users or messages."""
    if isinstance(command, commands.InvokableUserCommand):
        return Kind.USER
    return Kind.MESSAGE if isinstance(command, commands.InvokableMessageCommand) else Kind.SLASH


def with_sub_commands(command: commands.InvokableApplicationCommand) -> Iterator[commands.InvokableApplicationCommand]:
    """``command``, its groups, and their commands."""
    yield command
    for child in getattr(command, "children", {}).values():
        yield from with_sub_commands(child)


def kind_of_type(command_type: disnake.ApplicationCommandType) -> Kind:
    """Return the kind that disnake calls ``command_type``."""
    return _KINDS.get(command_type, Kind.SLASH)


def location(function: Any, file: Path, folder: Path) -> tuple[Path, int]:
    """The file and line of ``function``; line 1 of ``file`` if it is in no file of ``folder``."""
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    path = Path(code.co_filename) if code is not None else file
    return (path, definition_line(function)) if path.is_relative_to(folder) else (file, 1)


def refused_parts(command: Invokable) -> Iterator[tuple[Any, str]]:
    """What Discord would refuse: the function of the command or sub-command that it is in, and a sentence."""
    for path, sentence in refusals(payload(command)):
        node: Any = command
        for name in path:
            node = getattr(node, "children", {}).get(name, node)
        yield node.callback, sentence


def cog_faults(cog: type[commands.Cog]) -> Iterator[tuple[Any, str]]:
    """What disnake or Discord would refuse in a cog: the function that it is about, and a sentence."""
    for name in ("bot_check", "bot_check_once"):
        if getattr(cog, name) is not getattr(commands.Cog, name):
            yield getattr(cog, name), f"{name} is for prefix commands; write bot_slash_command_check{name[9:]}"
    for command in cog.__cog_app_commands__:
        if isinstance(command, INVOKABLE):
            yield from refused_parts(command)


def prefix_commands(cog: type[commands.Cog] | commands.Cog) -> Iterator[tuple[Any, str]]:
    """The prefix commands of a cog, which is loaded without them: the function of each, and a sentence."""
    for command in cog.__cog_commands__:
        if command.parent is None:
            yield command.callback, f"{command.qualified_name} {_PREFIX_COMMAND}"


def reason_to_leave_out(name: str, value: Any, module: str) -> tuple[Any, str] | None:
    """What botctl does not run of the value ``name`` of a module: a function or class for its line, and a sentence."""
    if isinstance(value, commands.Command) and value.callback.__module__ == module:
        return (value.callback, f"{value.qualified_name} {_PREFIX_COMMAND}") if value.parent is None else None
    if isinstance(value, disnake.Client):
        return None, f"{name} is a bot of its own; botctl makes the bot, so its events and prefix commands are not run"
    if getattr(value, "__module__", None) != module:
        return None
    if isinstance(value, type) and issubclass(value, disnake.Client):
        return value, f"{name} is a bot class; botctl makes the bot, so it is not used"
    if inspect.isfunction(value) and hasattr(value, "__cog_listener__"):
        return value, f"{name} is a listener outside a cog; move it into a commands.Cog"
    return None
