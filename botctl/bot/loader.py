"""Load the files of ``commands/``: Commands, disnake cogs and commands, jobs and event handlers.

`load` imports and validates everything, without a bot, and reports all faults together. What it leaves out is in
`Catalog.left_out`. `command_files` says which files are loaded.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from disnake.ext import commands

from botctl.bot.catalog import Catalog, CommandFile, Counts, EventHandler, cog_services, named_commands
from botctl.bot.client import Bot
from botctl.bot.commands.builder import build
from botctl.bot.commands.command import Command, metadata_of
from botctl.bot.commands.compiled import Invokable, ValidationContext
from botctl.bot.commands.definition_faults import collect_definition_faults
from botctl.bot.commands.files import FoundFile, find_files, import_file
from botctl.bot.commands.load_errors import (
    PACKAGE_PREFIX,
    FaultCollector,
    definition_line,
    describe_error,
    error_line,
    missing_service,
)
from botctl.bot.commands.plain_disnake import (
    INVOKABLE,
    cog_faults,
    location,
    prefix_commands,
    reason_to_leave_out,
    refused_parts,
)
from botctl.core.contracts.events import Event
from botctl.core.contracts.invocation import Kind
from botctl.core.contracts.jobs import Job, JobRun, get_declared_job
from botctl.core.errors import ANYTHING, AssemblyError, ConfigError
from botctl.core.files.project_imports import importable
from botctl.core.signatures import label, parameters_of, unreadable_annotations


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
            with collect_definition_faults(
                lambda function, sentence: self.faults.add(*location(function, path, self._folder), sentence)
            ):
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
        parameters = cog_services(cog)
    except ANYTHING as error:  # an annotation is an expression, and may raise anything
        for sentence in unreadable_annotations(cog.__init__, cog.__name__, error):
            faults.add(file.path, definition_line(cog.__init__), sentence)
        return
    for name, key in parameters.items():
        if key is None:
            faults.add(
                file.path, definition_line(cog.__init__), f"parameter {name} of {cog.__name__} has no annotation"
            )
        elif key is not Bot and not context.provides(key):
            faults.add(file.path, definition_line(cog.__init__), missing_service(cog.__name__, key))
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
            faults.add(file.path, definition_line(function), missing_service(function.__name__, parameter.key))
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
            faults.add(file.path, line, missing_service(f"the job {job.name}", parameter.key))
    file.jobs.append(job)


def _check_unique_names(files: list[CommandFile], folder: Path, faults: FaultCollector) -> None:
    """Report names that two cogs or two commands of one kind have (kinds may share names), and too many commands."""
    first: dict[tuple[Kind, str], Path] = {}
    counts = Counts()
    for file in files:
        for kind, name, path, line, guilds in named_commands(file, folder):
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
