"""Load the files of ``commands/``: Commands, disnake cogs and commands, jobs and event handlers.

`load` imports and validates everything, without a bot. `Catalog.install` registers it with the bot. Both report all
faults together. What they leave out is in `Catalog.left_out`. `command_files` says which files are loaded.
"""

from __future__ import annotations

import inspect
import types
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import disnake
from disnake.ext import commands

from botctl.bot.client import Bot
from botctl.bot.command import Command, kind_of, metadata_of
from botctl.bot.command_builder import build
from botctl.bot.command_files import FoundFile, find_files, import_file
from botctl.bot.compiled import CompiledCommand, Invokable, ValidationContext
from botctl.bot.discord_limits import too_many
from botctl.bot.load_errors import PACKAGE_PREFIX, FaultCollector, definition_line, describe_error, error_line
from botctl.bot.plain_disnake import (
    INVOKABLE,
    cog_faults,
    kind_of_invokable,
    location,
    prefix_commands,
    reason_to_leave_out,
    refused_parts,
)
from botctl.core.contracts.events import Event
from botctl.core.contracts.invocation import Kind
from botctl.core.contracts.jobs import Job, JobRun, get_declared_job
from botctl.core.errors import ANYTHING, AssemblyError, ConfigError
from botctl.core.event_loop.tasks import is_own_cancellation
from botctl.core.files.project_imports import importable
from botctl.core.services.registry import Services
from botctl.core.signatures import label, parameters_of

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
        cogs = {key for file in self.files for cog in file.cogs for key in _cog_services(cog).values()}
        return ({p.key for p in (*commands_, *handlers) if not p.optional} | cogs) - {Bot}

    def locate(self, kind: Kind, name: str, bot: Bot) -> str:
        """Return where a command of the bot (without sub-commands) is defined, as a fault begins: ``file:line: ``."""
        found = [named for file in self.files for named in _named(file, self.folder) if named[:2] == (kind, name)]
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
        counts = _Counts()
        for command in bot.application_commands_iterator():
            for sentence in counts.add(kind_of_invokable(command), command.name, command.guild_ids or ()):
                faults.add(*location(command.callback, self.folder, self.folder), sentence)


class _Counts:
    """How many commands of each kind there are in each guild, and in all guilds."""

    def __init__(self) -> None:
        self._names: dict[tuple[Kind, int | None], list[str]] = defaultdict(list)

    def add(self, kind: Kind, name: str, guilds: Iterable[int]) -> Iterator[str]:
        """Count a command; yield a sentence if Discord does not allow that many. No ``guilds``: it is in all."""
        for guild in tuple(guilds) or (None,):
            self._names[kind, guild].append(name)
            if sentence := too_many(_COMMAND_TYPES[kind], self._names[kind, guild]):
                yield sentence


def load(folder: Path, context: ValidationContext, *, skip_broken: bool = False) -> Catalog:
    """Import and validate every file of ``folder``.

    Raises:
        ConfigError: the folder does not exist.
        CommandFaults: there are faults, and ``skip_broken`` is not set; else broken files are left out with a warning.
    """
    if not folder.is_dir():
        hint = "Create it, or set commands.folder (BOTCTL_COMMANDS__FOLDER) to an existing folder."
        raise ConfigError(f"commands.folder: there is no folder {folder}", hint=hint)
    loading = _Loading(folder, context)
    with importable(folder, PACKAGE_PREFIX) as package:
        for found in find_files(folder):
            loading.load(found, package)
    faults = loading.faults
    skipped = faults.files if skip_broken else set()
    remaining = [file for file in loading.files if file.path not in skipped]
    _check_unique_names(remaining, folder, faults)
    _check_jobs(remaining, context, faults)
    broken = faults.raise_or_skip(skip_broken=skip_broken)
    files = [file for file in loading.files if file.path not in broken]
    return Catalog(folder, files, skip_broken, bool(broken), loading.left_out)


class _Loading:
    """One call of `load`: the files so far, and what is wrong with them."""

    def __init__(self, folder: Path, context: ValidationContext) -> None:
        self.faults = FaultCollector(folder.parent)
        self.files: list[CommandFile] = []
        self.left_out: list[str] = []
        self._folder = folder
        self._context = context
        self._set_up: dict[Path, Any] = {}  # folders whose package registers its cogs itself, and its setup
        self._broken: set[Path] = set()  # folders whose package cannot be imported

    def load(self, found: FoundFile, package: str) -> None:
        """Import and validate one file."""
        path = found.path
        if not self._broken.isdisjoint(path.parents):
            return  # its package is reported
        if not found.has_importable_name:
            self.faults.add(
                path, 1, "Python cannot import a file with a dot in its name; rename it, or put _ before it"
            )
            return
        try:
            module = import_file(found, package)
        except ANYTHING as error:  # an author's file may raise anything
            self.faults.add(path, error_line(error, path), describe_error(error))
            if found.is_package:
                self._broken.add(path.parent)
            return
        file = self._collect(path, module)
        self.files.append(file)
        if found.is_package and file.setup is not None:
            self._set_up[path.parent] = file.setup

    def _collect(self, path: Path, module: types.ModuleType) -> CommandFile:
        """Validate what ``module``, imported from ``path``, defines, and return it."""
        setup = getattr(module, "setup", None)
        outer_setups = [self._set_up[folder] for folder in path.parents if folder in self._set_up]
        file = CommandFile(path, setup if inspect.isfunction(setup) else None, bool(outer_setups))
        before = len(self.left_out)
        for name, value in vars(module).items():
            self._collect_value(file, name, value, module.__name__)
        if file.is_set_up and file.setup is not None:
            if file.setup not in outer_setups:
                self._leave_out(file, file.setup, "setup is not called: that of the package around this file is")
            file.setup = None
        is_used = file.is_set_up or path.name.startswith("_") or path in self.faults.files
        if file.is_empty and not is_used and len(self.left_out) == before:
            sentence = "it has no command, cog, job or event handler; the name of a helper begins with _"
            self._leave_out(file, None, sentence)
        return file

    def _collect_value(self, file: CommandFile, name: str, value: Any, module: str) -> None:
        context, faults = self._context, self.faults
        if (left_out := reason_to_leave_out(name, value, module)) is not None:
            self._leave_out(file, *left_out)
        elif isinstance(value, INVOKABLE):
            if value.callback.__module__ == module and not any(value is other for other in file.plain):
                self._add_plain(file, value)
        elif getattr(value, "__module__", None) != module:
            return  # imported from another module
        elif isinstance(value, type) and issubclass(value, Command):
            _add_command(file, value, context, faults)
        elif isinstance(value, type) and issubclass(value, commands.Cog):
            for function, sentence in prefix_commands(value):
                self._leave_out(file, function, sentence)
            _add_cog(file, value, context, faults, self._folder)
        elif "on" in metadata_of(value):
            _add_handler(file, value, context, faults)
        elif (job := get_declared_job(value)) is not None:
            _add_job(file, job, context, faults)

    def _add_plain(self, file: CommandFile, command: Invokable) -> None:
        """Add a command that is in no cog, unless a ``setup`` registers it."""
        for function, sentence in refused_parts(command):
            self.faults.add(*location(function, file.path, self._folder), sentence)
        if file.setup is None and not file.is_set_up:
            file.plain.append(command)

    def _leave_out(self, file: CommandFile, definition: Any, sentence: str) -> None:
        line = 1 if definition is None else definition_line(definition)
        self.left_out.append(self.faults.locate(file.path, line, sentence))


def _add_command(file: CommandFile, cls: type[Command], context: ValidationContext, faults: FaultCollector) -> None:
    if cls.__name__.startswith("_"):
        return  # a base class
    compiled = build(
        cls, context, lambda definition, sentence: faults.add(file.path, definition_line(definition), sentence)
    )
    if compiled is not None:
        file.compiled.append(compiled)


def _add_cog(
    file: CommandFile, cog: type[commands.Cog], context: ValidationContext, faults: FaultCollector, folder: Path
) -> None:
    for function, sentence in cog_faults(cog):
        faults.add(*location(function, file.path, folder), sentence)
    if file.setup is not None or file.is_set_up:
        return  # setup makes and registers the cogs
    try:
        parameters = _cog_services(cog)
    except ANYTHING as error:  # an annotation is an expression, and may raise anything
        faults.add(file.path, definition_line(cog.__init__), f"an annotation of {cog.__name__} cannot be read: {error}")
        return
    for name, key in parameters.items():
        if key is None:
            faults.add(
                file.path, definition_line(cog.__init__), f"parameter {name} of {cog.__name__} has no annotation"
            )
        elif key is not Bot and not context.provides(key):
            sentence = f"{cog.__name__} needs {label(key)}, which no service provides"
            faults.add(file.path, definition_line(cog.__init__), sentence)
    file.cogs.append(cog)


def _add_handler(
    file: CommandFile, function: Callable[..., Any], context: ValidationContext, faults: FaultCollector
) -> None:
    handler = EventHandler(function, metadata_of(function)["on"])
    try:
        parameters = parameters_of(function)
    except AssemblyError as error:
        faults.add(file.path, definition_line(function), str(error))
        return
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        faults.add(file.path, definition_line(function), f"{function.__name__} yields, so calling it would run nothing")
    if not handler.events or not all(isinstance(e, type) and issubclass(e, Event) for e in handler.events):
        faults.add(file.path, definition_line(function), f"@on above {function.__name__} does not name events")
    elif not parameters:
        faults.add(
            file.path,
            definition_line(function),
            f"{function.__name__} takes no event; write `(event: {label(handler.events[0])})`",
        )
    for parameter in parameters[1:]:
        if not parameter.optional and parameter.key is not Bot and not context.provides(parameter.key):
            sentence = f"{function.__name__} needs {label(parameter.key)}, which no service provides"
            faults.add(file.path, definition_line(function), sentence)
    file.handlers.append(handler)


def _add_job(file: CommandFile, job: Job, context: ValidationContext, faults: FaultCollector) -> None:
    line = definition_line(job.function)
    try:
        parameters = parameters_of(job.function)
    except AssemblyError as error:
        faults.add(file.path, line, str(error))
        return
    for parameter in parameters:
        if parameter.key is Bot:
            faults.add(file.path, line, f"the job {job.name} needs {label(Bot)}, but may run in a process without it")
        elif not parameter.optional and parameter.key is not JobRun and not context.provides(parameter.key):
            sentence = f"the job {job.name} needs {label(parameter.key)}, which no service provides"
            faults.add(file.path, line, sentence)
    file.jobs.append(job)


def _named(file: CommandFile, folder: Path) -> Iterator[Named]:
    """The commands of ``file``, with their names at Discord."""
    for compiled in file.compiled:
        yield Named(kind_of(compiled.cls), compiled.name, file.path, definition_line(compiled.cls), ())
    in_cogs = [command for cog in file.cogs for command in cog.__cog_app_commands__]
    for command in (*file.plain, *in_cogs):
        if isinstance(command, INVOKABLE):
            path, line = location(command.callback, file.path, folder)
            yield Named(kind_of_invokable(command), command.name, path, line, tuple(command.guild_ids or ()))


def _check_unique_names(files: list[CommandFile], folder: Path, faults: FaultCollector) -> None:
    """Report names that two cogs or two commands of one kind have (kinds may share names), and too many commands."""
    first: dict[tuple[Kind, str], Path] = {}
    counts = _Counts()
    for file in files:
        for kind, name, path, line, guilds in _named(file, folder):
            if (kind, name) in first:
                faults.add(path, line, f"the command {name!r} is also in {_relative(first[kind, name], folder)}")
            first.setdefault((kind, name), file.path)
            for sentence in counts.add(kind, name, guilds):
                faults.add(path, line, sentence)
    cogs: dict[str, Path] = {}
    for file in files:
        for cog in file.cogs:
            if (other := cogs.setdefault(cog.__cog_name__, file.path)) is not file.path:
                sentence = f"a cog called {cog.__cog_name__} is also in {_relative(other, folder)}"
                faults.add(file.path, definition_line(cog), sentence)


def _check_jobs(files: list[CommandFile], context: ValidationContext, faults: FaultCollector) -> None:
    """Report names that two jobs have, or that are of botctl's own jobs."""
    first: dict[str, Path] = {}
    for file in files:
        for job in file.jobs:
            line = definition_line(job.function)
            if job.name in context.jobs:
                faults.add(file.path, line, f"the job {job.name!r} is one of botctl's own")
            if job.name in first:
                faults.add(file.path, line, f"the job {job.name!r} is also in {first[job.name].name}")
            first.setdefault(job.name, file.path)


def _relative(path: Path, folder: Path) -> Path:
    return path.relative_to(folder) if path.is_relative_to(folder) else path


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
    return {name: bot if key is Bot else services.get(key) for name, key in _cog_services(cog).items()}


def _cog_services(cog: type[commands.Cog]) -> dict[str, Any]:
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
