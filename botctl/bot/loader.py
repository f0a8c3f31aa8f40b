"""Load the files of ``commands/``: Commands, disnake cogs, jobs and event handlers.

`load` imports and validates everything, without a bot. `Catalog.install` registers it with the bot. Both report all
faults together. A file whose name begins with ``_`` is a helper: the others may import it.
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
from botctl.bot.command import Command, kind_of, metadata_of
from botctl.bot.command_builder import build
from botctl.bot.compiled import CompiledCommand, ValidationContext
from botctl.bot.load_errors import PACKAGE_PREFIX, FaultCollector, definition_line, describe_error, error_line
from botctl.core.contracts.events import Event
from botctl.core.contracts.jobs import Job, JobRun, get_declared_job
from botctl.core.errors import ANYTHING, AssemblyError, ConfigError
from botctl.core.services.registry import Services
from botctl.core.signatures import label, parameters_of


@dataclass(frozen=True, slots=True)
class EventHandler:
    """A function with ``@on``, and the events that it handles."""

    function: Callable[..., Any]
    events: tuple[type[Event], ...]


@dataclass(slots=True, eq=False)
class CommandFile:
    """What one file contains. ``setup`` is the function with which a file registers its cogs itself."""

    path: Path
    setup: Callable[[Bot], None] | None = None
    compiled: list[CompiledCommand] = field(default_factory=list)
    cogs: list[type[commands.Cog]] = field(default_factory=list)
    handlers: list[EventHandler] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Catalog:
    """The validated files of a folder. ``has_skipped_files``: whether a broken file was left out."""

    folder: Path
    files: list[CommandFile]
    skip_broken: bool = False
    has_skipped_files: bool = False

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

    def install(self, bot: Bot, services: Services) -> None:
        """Register everything with ``bot``. Raises CommandFaults if a step fails, unless ``skip_broken`` is set."""
        faults = FaultCollector(self.folder.parent)
        for file in self.files:
            for step in _install_steps(file, bot, services):
                try:
                    step()
                except ANYTHING as error:  # a cog's own code may raise anything
                    faults.add(file.path, error_line(error, file.path), describe_error(error))
        broken = faults.raise_or_skip(skip_broken=self.skip_broken)
        self.files = [file for file in self.files if file.path not in broken]


def load(folder: Path, context: ValidationContext, *, skip_broken: bool = False) -> Catalog:
    """Import and validate every file of ``folder``.

    Raises:
        ConfigError: the folder does not exist.
        CommandFaults: there are faults, and ``skip_broken`` is not set; else broken files are left out with a warning.
    """
    if not folder.is_dir():
        hint = "Create it, or set commands.folder (BOTCTL_COMMANDS__FOLDER) to an existing folder."
        raise ConfigError(f"commands.folder: there is no folder {folder}", hint=hint)
    faults = FaultCollector(folder.parent)
    files: list[CommandFile] = []
    with _importable(folder) as package:
        for path in sorted(folder.glob("[!_]*.py")):
            try:
                module = importlib.import_module(f"{package}.{path.stem}")
            except ANYTHING as error:  # an author's file may raise anything
                faults.add(path, error_line(error, path), describe_error(error))
            else:
                files.append(_collect(path, module, context, faults))
    skipped = faults.files if skip_broken else set()
    _check_unique_names([file for file in files if file.path not in skipped], context, faults)
    broken = faults.raise_or_skip(skip_broken=skip_broken)
    return Catalog(folder, [file for file in files if file.path not in broken], skip_broken, bool(broken))


@contextmanager
def _importable(folder: Path) -> Iterator[str]:
    """Make ``folder`` a package and yield its name. Until the block ends, its files can import each other by name."""
    package = f"{PACKAGE_PREFIX}{zlib.crc32(str(folder.resolve()).encode()):08x}"
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[package] = importlib.util.module_from_spec(spec)
    paths = [str(folder), str(folder.parent)]  # last, so that an author's random.py does not hide Python's
    sys.path.extend(paths)
    before = set(sys.modules)
    importlib.invalidate_caches()
    try:
        yield package
    finally:  # another folder may have a helper of the same name
        for path in paths:
            sys.path.remove(path)
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if not name.startswith(package) and file and Path(file).is_relative_to(folder):
                del sys.modules[name]


def _collect(path: Path, module: types.ModuleType, context: ValidationContext, faults: FaultCollector) -> CommandFile:
    """Validate what ``module``, imported from ``path``, defines, and return it."""
    setup = getattr(module, "setup", None)
    file = CommandFile(path, setup if inspect.isfunction(setup) else None)
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue  # imported from another module
        if isinstance(value, type) and issubclass(value, Command):
            _add_command(file, value, context, faults)
        elif isinstance(value, type) and issubclass(value, commands.Cog):
            _add_cog(file, value, context, faults)
        elif "on" in metadata_of(value):
            _add_handler(file, value, context, faults)
        elif (job := get_declared_job(value)) is not None:
            _add_job(file, job, context, faults)
    return file


def _add_command(file: CommandFile, cls: type[Command], context: ValidationContext, faults: FaultCollector) -> None:
    if cls.__name__.startswith("_"):
        return  # a base class
    compiled = build(
        cls, context, lambda definition, sentence: faults.add(file.path, definition_line(definition), sentence)
    )
    if compiled is not None:
        file.compiled.append(compiled)


def _add_cog(file: CommandFile, cog: type[commands.Cog], context: ValidationContext, faults: FaultCollector) -> None:
    if file.setup is not None:
        return  # setup registers the cogs
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


def _check_unique_names(files: list[CommandFile], context: ValidationContext, faults: FaultCollector) -> None:
    """Report names that two jobs or two commands of one kind (slash, user, message) have. Kinds may share names."""
    first: dict[tuple[str, str], Path] = {}
    for file in files:
        for compiled in file.compiled:
            key = (kind_of(compiled.cls), compiled.name)
            other = first.setdefault(key, file.path)
            if other is not file.path or sum((kind_of(b.cls), b.name) == key for b in file.compiled) > 1:
                faults.add(
                    file.path, definition_line(compiled.cls), f"the command {compiled.name!r} is also in {other.name}"
                )
        for job in file.jobs:
            if job.name in context.jobs:
                faults.add(file.path, definition_line(job.function), f"the job {job.name!r} is one of botctl's own")
            other = first.setdefault(("job", job.name), file.path)
            if other is not file.path or sum(j.name == job.name for j in file.jobs) > 1:
                faults.add(file.path, definition_line(job.function), f"the job {job.name!r} is also in {other.name}")


def _install_steps(file: CommandFile, bot: Bot, services: Services) -> Iterator[Callable[[], object]]:
    """Yield the steps that install ``file``; each may fail on its own."""
    for compiled in file.compiled:
        yield lambda compiled=compiled: _register(bot, compiled, services)  # type: ignore[misc]
    if file.setup is not None:
        yield lambda: file.setup(bot)  # type: ignore[misc]
    for cog in file.cogs:
        yield lambda cog=cog: bot.add_cog(cog(**_cog_arguments(cog, bot, services)))  # type: ignore[misc]


def _register(bot: Bot, compiled: CompiledCommand, services: Services) -> None:
    """Instantiate a command and register it with disnake and the pipeline."""
    methods = compiled.bind(services.resolve)
    match compiled.invokable:
        case commands.InvokableUserCommand() as command:
            bot.add_user_command(command)
        case commands.InvokableMessageCommand() as command:
            bot.add_message_command(command)
        case command:
            bot.add_slash_command(command)
    bot.pipeline.register(compiled, methods)


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
