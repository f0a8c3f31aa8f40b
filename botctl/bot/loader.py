"""Load the files of ``commands/``: Commands, plain disnake cogs, jobs, and functions that listen to events.

`load` imports and checks everything without a bot and before anything is started; `Catalog.install` then makes what was
found. Both report all faults together. A file that begins with ``_`` is a helper: the others may import it.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
import types
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import disnake
from disnake.ext import commands

from botctl.bot.client import Bot
from botctl.bot.command import Command, MessageCommand, UserCommand, marks
from botctl.bot.command_builder import build
from botctl.bot.compiled import Checks, CompiledCommand
from botctl.bot.load_errors import PACKAGE, LoadFaults, line, line_of, words
from botctl.core.contracts.events import Event
from botctl.core.contracts.jobs import Job, JobRun, get_declared_job
from botctl.core.errors import ANYTHING, AssemblyError, ConfigError
from botctl.core.services.registry import Services
from botctl.core.signatures import label, parameters_of


@dataclass(frozen=True, slots=True)
class Handler:
    """A function with ``@on``: what it listens to, and which of its parameters are services."""

    function: Callable[..., Any]
    events: tuple[type[Event], ...]


@dataclass(slots=True, eq=False)
class CommandFile:
    """What one file holds."""

    path: Path
    setup: Callable[[Bot], None] | None = None
    compiled: list[CompiledCommand] = field(default_factory=list)
    cogs: list[type[commands.Cog]] = field(default_factory=list)
    handlers: list[Handler] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Catalog:
    """All that was found in a folder, checked. ``skip_broken`` as given to `load`; ``left_out``: whether any was."""

    folder: Path
    files: list[CommandFile]
    skip_broken: bool = False
    left_out: bool = False

    @property
    def names(self) -> list[str]:
        """The names of the Commands, sorted."""
        return sorted(compiled.name for file in self.files for compiled in file.compiled)

    @property
    def handlers(self) -> list[Handler]:
        """Everything with ``@on``."""
        return [handler for file in self.files for handler in file.handlers]

    @property
    def jobs(self) -> list[Job]:
        """Everything with ``@job``."""
        return [job for file in self.files for job in file.jobs]

    @property
    def needs(self) -> set[Any]:
        """Types of the services that the files ask for, so that those are ready before the bot."""
        commands_ = [p for file in self.files for b in file.compiled for cls in b.classes for p in parameters_of(cls)]
        handlers = [p for handler in self.handlers for p in parameters_of(handler.function)[1:]]
        cogs = {key for file in self.files for cog in file.cogs for key in _asked(cog).values()}
        return ({p.key for p in (*commands_, *handlers) if not p.optional} | cogs) - {Bot}

    def install(self, bot: Bot, services: Services) -> None:
        """Make what was found, and register it with ``bot``.

        Raises:
            CommandFaults: something could not be made or registered, unless broken files are to be skipped.
        """
        faults = LoadFaults(self.folder.parent)
        for file in self.files:
            for step in _steps(file, bot, services):
                try:
                    step()
                except ANYTHING as error:  # a cog's own code may raise anything
                    faults.add(file.path, line_of(error, file.path), words(error))
        broken = faults.settle(skip_broken=self.skip_broken)
        self.files = [file for file in self.files if file.path not in broken]


def load(folder: Path, checks: Checks, *, skip_broken: bool = False) -> Catalog:
    """Import and check every file of ``folder``.

    Raises:
        ConfigError: there is no such folder.
        CommandFaults: all that is wrong, unless ``skip_broken``: then broken files are left out with a warning.
    """
    if not folder.is_dir():
        hint = "Make it, or correct commands.folder (BOTCTL_COMMANDS__FOLDER)."
        raise ConfigError(f"commands.folder: there is no folder {folder}", hint=hint)
    faults = LoadFaults(folder.parent)
    files: list[CommandFile] = []
    with _importable(folder) as package:
        for path in sorted(folder.glob("[!_]*.py")):
            try:
                module = importlib.import_module(f"{package}.{path.stem}")
            except ANYTHING as error:  # an author's file may raise anything while it is imported
                faults.add(path, line_of(error, path), words(error))
            else:
                files.append(_sort_out(path, module, checks, faults))
    left_out = faults.files if skip_broken else set()
    _check_names([file for file in files if file.path not in left_out], checks, faults)
    broken = faults.settle(skip_broken=skip_broken)
    return Catalog(folder, [file for file in files if file.path not in broken], skip_broken, bool(broken))


@contextmanager
def _importable(folder: Path) -> Iterator[str]:
    """A private package over ``folder``; files in it find each other by relative import and, while loading, by name.

    What was imported by name is forgotten afterwards: another folder may have a helper of the same name.
    """
    package = f"{PACKAGE}{zlib.crc32(str(folder.resolve()).encode()):08x}"
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[package] = importlib.util.module_from_spec(spec)
    paths = [str(folder), str(folder.parent)]  # at the end: an author's random.py does not hide the library's
    sys.path.extend(paths)
    before = set(sys.modules)
    importlib.invalidate_caches()
    try:
        yield package
    finally:
        for path in paths:
            sys.path.remove(path)
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if not name.startswith(package) and file and Path(file).is_relative_to(folder):
                del sys.modules[name]


def _sort_out(path: Path, module: types.ModuleType, checks: Checks, faults: LoadFaults) -> CommandFile:
    setup = getattr(module, "setup", None)
    file = CommandFile(path, setup if inspect.isfunction(setup) else None)
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue  # imported, not written here
        if isinstance(value, type) and issubclass(value, Command):
            _take_command(file, value, checks, faults)
        elif isinstance(value, type) and issubclass(value, commands.Cog):
            _take_cog(file, value, checks, faults)
        elif "on" in marks(value):
            _take_handler(file, value, checks, faults)
        elif (job := get_declared_job(value)) is not None:
            _take_job(file, job, checks, faults)
    return file


def _take_command(file: CommandFile, cls: type[Command], checks: Checks, faults: LoadFaults) -> None:
    if cls.__name__.startswith("_"):
        return  # a base class of others
    compiled = build(cls, checks, lambda where, sentence: faults.add(file.path, line(where), sentence))
    if compiled is not None:
        file.compiled.append(compiled)


def _take_cog(file: CommandFile, cog: type[commands.Cog], checks: Checks, faults: LoadFaults) -> None:
    if file.setup is not None:
        return  # a file with setup makes its cogs itself
    try:
        asked = _asked(cog)
    except Exception as error:  # noqa: BLE001  an annotation is an expression, and may raise anything
        faults.add(file.path, line(cog.__init__), f"an annotation of {cog.__name__} cannot be read: {error}")
        return
    for name, key in asked.items():
        if key is None:
            faults.add(file.path, line(cog.__init__), f"parameter {name} of {cog.__name__} has no annotation")
        elif key is not Bot and not checks.provides(key):
            sentence = f"{cog.__name__} needs {label(key)}, which no service provides"
            faults.add(file.path, line(cog.__init__), sentence)
    file.cogs.append(cog)


def _take_handler(file: CommandFile, function: Callable[..., Any], checks: Checks, faults: LoadFaults) -> None:
    handler = Handler(function, marks(function)["on"])
    try:
        parameters = parameters_of(function)
    except AssemblyError as error:
        faults.add(file.path, line(function), str(error))
        return
    if not handler.events or not all(isinstance(e, type) and issubclass(e, Event) for e in handler.events):
        faults.add(file.path, line(function), f"@on above {function.__name__} does not name events")
    elif not parameters:
        faults.add(
            file.path,
            line(function),
            f"{function.__name__} takes no event; write `(event: {label(handler.events[0])})`",
        )
    for parameter in parameters[1:]:
        if not parameter.optional and parameter.key is not Bot and not checks.provides(parameter.key):
            sentence = f"{function.__name__} needs {label(parameter.key)}, which no service provides"
            faults.add(file.path, line(function), sentence)
    file.handlers.append(handler)


def _take_job(file: CommandFile, job: Job, checks: Checks, faults: LoadFaults) -> None:
    where = line(job.function)
    try:
        parameters = parameters_of(job.function)
    except AssemblyError as error:
        faults.add(file.path, where, str(error))
        return
    for parameter in parameters:
        if parameter.key is Bot:
            faults.add(file.path, where, f"the job {job.name} needs {label(Bot)}, but may run in a process without it")
        elif not parameter.optional and parameter.key is not JobRun and not checks.provides(parameter.key):
            sentence = f"the job {job.name} needs {label(parameter.key)}, which no service provides"
            faults.add(file.path, where, sentence)
    file.jobs.append(job)


def _check_names(files: list[CommandFile], checks: Checks, faults: LoadFaults) -> None:
    """Names are unique per kind of command: Discord shows slash, user and message commands in three places.

    So are those of jobs, to which botctl adds its own.
    """
    first: dict[tuple[str, str], Path] = {}
    for file in files:
        for compiled in file.compiled:
            kind = next((k.__name__ for k in (UserCommand, MessageCommand) if issubclass(compiled.cls, k)), "slash")
            other = first.setdefault((kind, compiled.name), file.path)
            if other is not file.path or sum(b.name == compiled.name and b is not compiled for b in file.compiled):
                faults.add(file.path, line(compiled.cls), f"the command {compiled.name!r} is also in {other.name}")
        for job in file.jobs:
            if job.name in checks.jobs:
                faults.add(file.path, line(job.function), f"the job {job.name!r} is one of botctl's own")
            other = first.setdefault(("job", job.name), file.path)
            if other is not file.path or sum(j.name == job.name for j in file.jobs) > 1:
                faults.add(file.path, line(job.function), f"the job {job.name!r} is also in {other.name}")


def _steps(file: CommandFile, bot: Bot, services: Services) -> Iterator[Callable[[], object]]:
    """What has to be done to install ``file``; each step may fail by itself."""
    for compiled in file.compiled:
        yield lambda compiled=compiled: _register(bot, compiled, services)  # type: ignore[misc]
    if file.setup is not None:
        yield lambda: file.setup(bot)  # type: ignore[misc]
    for cog in file.cogs:
        yield lambda cog=cog: bot.add_cog(cog(**_arguments(cog, bot, services)))  # type: ignore[misc]


def _register(bot: Bot, compiled: CompiledCommand, services: Services) -> None:
    methods = compiled.bind(services.resolve)
    match compiled.invokable:
        case commands.InvokableUserCommand() as command:
            bot.add_user_command(command)
        case commands.InvokableMessageCommand() as command:
            bot.add_message_command(command)
        case command:
            bot.add_slash_command(command)
    bot.pipeline.register(compiled, methods)


def _arguments(cog: type[commands.Cog], bot: Bot, services: Services) -> dict[str, Any]:
    """Arguments for a plain cog: the bot, and services by type."""
    return {name: bot if key is Bot else services.get(key) for name, key in _asked(cog).items()}


def _asked(cog: type[commands.Cog]) -> dict[str, Any]:
    """What a plain cog is made with: the bot (by type, or by the name that all give it), and services by type."""
    hints = inspect.get_annotations(cog.__init__, eval_str=True)
    asked: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(cog.__init__).parameters.items())[1:]:
        hint = hints.get(name)
        origin = getattr(hint, "__origin__", hint)
        if (hint is None and name == "bot") or (isinstance(origin, type) and issubclass(origin, disnake.Client)):
            asked[name] = Bot
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            asked[name] = hint
    return asked
