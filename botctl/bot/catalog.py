"""What the files of ``commands/`` contain, and its registration with the bot. `loader` makes it."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import disnake
from disnake.ext import commands

from botctl.bot.client import Bot
from botctl.bot.commands.command import kind_of
from botctl.bot.commands.compiled import CompiledCommand, Invokable
from botctl.bot.commands.discord_limits import too_many
from botctl.bot.commands.load_errors import FaultCollector, definition_line, describe_error, error_line
from botctl.bot.commands.plain_disnake import (
    INVOKABLE,
    kind_of_invokable,
    location,
    refused_parts,
    with_sub_commands,
)
from botctl.core.contracts.events import Event
from botctl.core.contracts.invocation import Kind
from botctl.core.contracts.jobs import Job
from botctl.core.errors import ANYTHING
from botctl.core.event_loop.tasks import is_own_cancellation
from botctl.core.services.registry import Services
from botctl.core.signatures import parameters_of

COG_LOAD_S: Final = 1.0
"""How long the bot waits for ``cog_load`` before it connects. Some wait for the connection."""
_COMMAND_TYPES: Final = {Kind.SLASH: 1, Kind.USER: 2, Kind.MESSAGE: 3}


@dataclass(frozen=True, slots=True)
class EventHandler:
    """A function with ``@on``, and the events that it handles."""

    function: Callable[..., Any]
    events: tuple[type[Event], ...]


@dataclass(slots=True, eq=False)
class CommandFile:
    """What one file contains.

    ``setup`` is the function with which a file registers its cogs and plain commands itself. ``is_set_up``: the
    ``setup`` of the package around it does that.
    """

    path: Path
    setup: Callable[[Bot], object] | None = None
    is_set_up: bool = False
    compiled: list[CompiledCommand] = field(default_factory=list)
    plain: list[Invokable] = field(default_factory=list)  # disnake's commands outside a cog
    cogs: list[type[commands.Cog]] = field(default_factory=list)
    handlers: list[EventHandler] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        content = (self.compiled, self.plain, self.cogs, self.handlers, self.jobs)
        return self.setup is None and not any(content)


class Named(NamedTuple):
    """A command of a file, of botctl or of disnake, and where it is defined."""

    kind: Kind
    name: str
    path: Path
    line: int
    guilds: tuple[int, ...]  # empty: everywhere, or in discord.test_guilds


@dataclass(slots=True, eq=False)
class Catalog:
    """The validated files of a folder.

    ``has_skipped_files``: whether a broken file was left out. ``left_out``: lines for people about files or parts of
    them that are not used, although nothing is wrong with them.
    """

    folder: Path
    files: list[CommandFile]
    skip_broken: bool = False
    has_skipped_files: bool = False
    left_out: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The names of the Commands, sorted."""
        return sorted(compiled.name for file in self.files for compiled in file.compiled)

    @property
    def command_roles(self) -> dict[tuple[Kind, str], tuple[str, ...]]:
        """The roles of each command that can be called, by kind and full name: `CommandRoles`. Plain ones have none."""
        compiled = (command for file in self.files for command in file.compiled)
        own = {key: policy.roles for command in compiled for key, policy in command.policies.items()}
        nodes = (node for file in self.files for command in plain_commands(file) for node in with_sub_commands(command))
        names = (
            (kind_of_invokable(node), node.qualified_name) for node in nodes if not getattr(node, "children", None)
        )
        roles: dict[tuple[Kind, str], tuple[str, ...]] = dict.fromkeys(names, ())
        return roles | {key: value for key, value in own.items() if key[0] in _COMMAND_TYPES}

    @property
    def handlers(self) -> list[EventHandler]:
        """All functions with ``@on``."""
        return [handler for file in self.files for handler in file.handlers]

    @property
    def jobs(self) -> list[Job]:
        """All functions with ``@job``."""
        return [job for file in self.files for job in file.jobs]

    @property
    def dependencies(self) -> set[Any]:
        """Types of the services that the files use. They must run before the bot."""
        commands_ = [p for file in self.files for b in file.compiled for cls in b.classes for p in parameters_of(cls)]
        handlers = [p for handler in self.handlers for p in parameters_of(handler.function)[1:]]
        cogs = {key for file in self.files for cog in file.cogs for key in cog_services(cog).values()}
        return ({p.key for p in (*commands_, *handlers) if not p.optional} | cogs) - {Bot}

    def locate(self, kind: Kind, name: str, bot: Bot) -> str:
        """Return where a command of the bot (without sub-commands) is defined, as a fault begins: ``file:line: ``."""
        found = [
            named for file in self.files for named in named_commands(file, self.folder) if named[:2] == (kind, name)
        ]
        path, line = (found[0].path, found[0].line) if found else (self.folder, 1)
        for command in bot.application_commands_iterator() if not found else ():
            if (kind_of_invokable(command), command.name) == (kind, name):  # a setup has registered it
                path, line = location(command.callback, self.folder, self.folder)
        return FaultCollector(self.folder.parent).locate(path, line, "")

    async def install(self, bot: Bot, services: Services) -> None:
        """Register everything with ``bot``. Raises CommandFaults if a step fails, unless ``skip_broken`` is set."""
        faults = FaultCollector(self.folder.parent)
        for file in self.files:
            for step in _install_steps(file, bot, services):
                try:
                    result = step()
                    if inspect.isawaitable(result):
                        await result
                except ANYTHING as error:  # a cog's own code may raise anything
                    if is_own_cancellation(error):
                        raise
                    faults.add(file.path, error_line(error, file.path), describe_error(error))
        await self._add_cog_load_faults(bot, faults, COG_LOAD_S)
        self._check_installed(bot, faults)
        broken = faults.raise_or_skip(skip_broken=self.skip_broken)
        self.files = [file for file in self.files if file.path not in broken]

    async def finish_cog_loads(self, bot: Bot, limit_s: float) -> list[str]:
        """Wait for every ``cog_load`` that waited for the connection; return the names of cogs that still load.

        Raises CommandFaults if one failed, unless ``skip_broken`` is set.
        """
        faults = FaultCollector(self.folder.parent)
        await self._add_cog_load_faults(bot, faults, limit_s)
        faults.raise_or_skip(skip_broken=self.skip_broken)
        return [type(cog).__name__ for cog in bot.cog_loads.leave()]

    async def _add_cog_load_faults(self, bot: Bot, faults: FaultCollector, limit_s: float) -> None:
        for cog, error in await bot.cog_loads.finish(limit_s):
            path, line = location(type(cog).cog_load, self.folder, self.folder)
            faults.add(
                path, max(line, error_line(error, path)), f"cog_load of {type(cog).__name__}: {describe_error(error)}"
            )

    def _check_installed(self, bot: Bot, faults: FaultCollector) -> None:
        """Report what Discord would refuse of all commands, also those that a ``setup`` registered.

        Such a command is removed, so that the others can be registered if ``skip_broken`` is set.
        """
        for command in list(bot.application_commands_iterator()):
            refused = list(refused_parts(command)) if isinstance(command, INVOKABLE) else []
            for function, sentence in refused:
                faults.add(*location(function, self.folder, self.folder), sentence)
            if refused:
                bot.remove_application_command(command)
        counts = Counts()
        for command in list(bot.application_commands_iterator()):
            excess = list(counts.add(kind_of_invokable(command), command.name, command.guild_ids or ()))
            for sentence in excess:
                faults.add(*location(command.callback, self.folder, self.folder), sentence)
            if excess:
                bot.remove_application_command(command)


class Counts:
    """How many commands of each kind there are in each guild, and in all guilds."""

    def __init__(self) -> None:
        self._names: dict[tuple[Kind, int | None], list[str]] = defaultdict(list)

    def add(self, kind: Kind, name: str, guilds: Iterable[int]) -> Iterator[str]:
        """Count a command; yield a sentence if Discord does not allow that many. No ``guilds``: it is in all."""
        for guild in tuple(guilds) or (None,):
            self._names[kind, guild].append(name)
            if sentence := too_many(_COMMAND_TYPES[kind], self._names[kind, guild]):
                yield sentence


def named_commands(file: CommandFile, folder: Path) -> Iterator[Named]:
    """The commands of ``file``, with their names at Discord."""
    for compiled in file.compiled:
        yield Named(kind_of(compiled.cls), compiled.name, file.path, definition_line(compiled.cls), ())
    for command in plain_commands(file):
        path, line = location(command.callback, file.path, folder)
        yield Named(kind_of_invokable(command), command.name, path, line, tuple(command.guild_ids or ()))


def plain_commands(file: CommandFile) -> Iterator[Any]:
    """The commands of disnake in ``file``, also those in cogs; not those that a ``setup`` will register."""
    in_cogs = [command for cog in file.cogs for command in cog.__cog_app_commands__]
    yield from (command for command in (*file.plain, *in_cogs) if isinstance(command, INVOKABLE))


def _install_steps(file: CommandFile, bot: Bot, services: Services) -> Iterator[Callable[[], object]]:
    """Yield the steps that install ``file``; each may fail on its own."""
    for compiled in file.compiled:
        yield lambda compiled=compiled: _register(bot, compiled, services)  # type: ignore[misc]
    for command in file.plain:
        yield lambda command=command: _add_to_bot(bot, command)  # type: ignore[misc]
    if file.setup is not None:
        yield lambda: file.setup(bot)  # type: ignore[misc]
    for cog in file.cogs:
        yield lambda cog=cog: bot.add_cog(cog(**_cog_arguments(cog, bot, services)))  # type: ignore[misc]


def _register(bot: Bot, compiled: CompiledCommand, services: Services) -> None:
    """Instantiate a command and register it with disnake and the pipeline."""
    methods = compiled.bind(services.resolve)
    _add_to_bot(bot, compiled.invokable)
    bot.pipeline.register(compiled, methods)


def _add_to_bot(bot: Bot, invokable: Invokable) -> None:
    match invokable:
        case commands.InvokableUserCommand() as command:
            bot.add_user_command(command)
        case commands.InvokableMessageCommand() as command:
            bot.add_message_command(command)
        case command:
            bot.add_slash_command(command)


def _cog_arguments(cog: type[commands.Cog], bot: Bot, services: Services) -> dict[str, Any]:
    return {name: bot if key is Bot else services.get(key) for name, key in cog_services(cog).items()}


def cog_services(cog: type[commands.Cog]) -> dict[str, Any]:
    """Return the type of each parameter of a disnake cog: `Bot` (also for the name ``bot``), or that of a service."""
    hints = inspect.get_annotations(cog.__init__, eval_str=True)
    parameters: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(cog.__init__).parameters.items())[1:]:
        hint = hints.get(name)
        origin = getattr(hint, "__origin__", hint)
        if (hint is None and name == "bot") or (isinstance(origin, type) and issubclass(origin, disnake.Client)):
            parameters[name] = Bot
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            parameters[name] = hint
    return parameters
