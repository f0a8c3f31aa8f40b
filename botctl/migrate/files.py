"""Find, read and check the files of ``migrations/``, without running any.

They are called ``0001_name.py``, ``0002_other.py`` and so on, without a gap. Each has ``async def up(db)`` and, if it
can be reverted, ``async def down(db)``. A file with any other name is a fault, unless the name begins with ``_`` (a
helper, which the migrations may import) or with a dot.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import sys
import traceback
import types
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from botctl.core.contracts.service_state import describe_end
from botctl.core.errors import ANYTHING, MigrationFaults
from botctl.core.project_imports import importable, is_passed_over

FILE_NAME: Final = re.compile(r"(?P<name>(?P<n>[0-9]{4})_[a-z0-9][a-z0-9_]{0,59})\.py")
MigrationFunction = Callable[[Any], Awaitable[None]]
_PACKAGE_PREFIX: Final = "_botctl_migrations_"


class Fault(NamedTuple):
    """What is wrong in a file, and where."""

    path: Path
    line: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Migration:
    """A file, as it was read and checked."""

    n: int  # the number in its name
    name: str  # without ``.py``
    path: Path
    title: str  # the first line of its docstring
    reversible: bool  # it has a ``down``
    source: bytes = field(repr=False)  # the content that was checked; `load` runs this, not the file

    @property
    def checksum(self) -> str:
        return checksum(self.source)


@dataclass(frozen=True, slots=True)
class Migrations:
    """All files of a folder, in order."""

    folder: Path
    files: tuple[Migration, ...]


@dataclass(frozen=True, slots=True)
class MigrationFunctions:
    """The functions of a file."""

    up: MigrationFunction
    down: MigrationFunction | None


def checksum(source: bytes) -> str:
    """``sha256-lf:`` and the SHA-256 of ``source`` with line feeds as line ends, since git may change line ends.

    `sha256sum` computes the same. A changed comment changes it, too; `botctl migrate resolve` accepts such a change.
    """
    normalized = source.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return f"sha256-lf:{hashlib.sha256(normalized).hexdigest()}"


def discover(folder: Path) -> Migrations:
    """Read and check all files of ``folder``, which may be missing. Raises MigrationFaults with all faults."""
    read, faults = [], []
    for path in sorted(folder.glob("*.py")):
        if is_passed_over(path.name):
            continue
        try:
            read.append((path, path.read_bytes()))
        except OSError as error:
            faults.append(Fault(path, 1, f"it cannot be read: {error.strerror}"))
    files, more = parse_files(read)
    _raise_faults([*faults, *more], folder)
    return Migrations(folder, files)


def parse_files(read: Iterable[tuple[Path, bytes]]) -> tuple[tuple[Migration, ...], tuple[Fault, ...]]:
    """The migrations in these sources, in order, and all faults."""
    files, faults = [], []
    for path, source in read:
        migrations, file_faults = _parse_file(path, source)
        files += migrations
        faults += file_faults
    files.sort(key=lambda file: (file.n, file.name))
    return tuple(files), (*faults, *_numbering_faults(files))


def load(migrations: Migrations, wanted: Iterable[Migration]) -> dict[str, MigrationFunctions]:
    """Import the ``wanted`` files. Raises MigrationFaults with all import errors, before any file runs."""
    steps, faults = {}, []
    with importable(migrations.folder, _PACKAGE_PREFIX) as package:
        for file in wanted:
            try:
                steps[file.name] = _import(file, package)
            except ANYTHING as error:  # an operator's file may raise anything
                faults.append(Fault(file.path, line_of(error, file.path), describe_end(error)))
    _raise_faults(faults, migrations.folder)
    return steps


def line_of(error: BaseException, path: Path) -> int:
    """The line of ``path`` where ``error`` was raised, else 1."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else None) or 1


def display_path(path: Path, folder: Path) -> str:
    """``path`` relative to the folder that contains ``folder``."""
    return str(path.relative_to(folder.parent)) if path.is_relative_to(folder.parent) else str(path)


def _raise_faults(faults: Sequence[Fault], folder: Path) -> None:
    if faults:
        ordered = sorted(faults)
        raise MigrationFaults([f"{display_path(path, folder)}:{line}: {sentence}" for path, line, sentence in ordered])


def _parse_file(path: Path, source: bytes) -> tuple[list[Migration], list[Fault]]:
    match = FILE_NAME.fullmatch(path.name)
    if match is None:
        sentence = "a migration is called 0001_what_it_does.py; a helper's name begins with _"
        return [], [Fault(path, 1, sentence)]
    try:
        tree = ast.parse(source, str(path))
        compile(tree, str(path), "exec", dont_inherit=True)  # finds more errors than `ast.parse`
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else 1
        tree, faults = ast.Module([], []), [Fault(path, line or 1, f"SyntaxError: {_message(error)}")]
    else:
        faults = [Fault(path, *fault) for fault in _function_faults(tree)]
    title = (ast.get_docstring(tree) or "").partition("\n")[0].strip()
    reversible = any(function.name == "down" for function in _functions(tree))
    return [Migration(int(match["n"]), match["name"], path, title, reversible, source)], faults


def _message(error: SyntaxError | ValueError) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return (function for function in functions if function.name in ("up", "down"))


def _function_faults(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and sentence of each fault in ``up`` and ``down``."""
    functions = list(_functions(tree))
    if all(function.name != "up" for function in functions):
        yield 1, "it has no `async def up(db)`"
    for name, count in Counter(function.name for function in functions).items():
        if count > 1:
            yield functions[-1].lineno, f"{name} is defined {count} times"
    for function in functions:
        arguments = function.args
        parameters = len(arguments.posonlyargs) + len(arguments.args)
        if not isinstance(function, ast.AsyncFunctionDef):
            yield function.lineno, f"{function.name} must be `async def {function.name}(db)`"
        elif parameters != 1 or arguments.kwonlyargs:
            yield function.lineno, f"{function.name} takes the database and nothing else: `(db)`"
        elif yields := [node for node in _own_nodes(function) if isinstance(node, ast.Yield | ast.YieldFrom)]:
            yield yields[0].lineno, f"{function.name} yields, so calling it would run nothing; remove the `yield`"
        elif all(map(_does_nothing, function.body)):
            yield function.lineno, f"{function.name} does nothing yet"


def _own_nodes(function: ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """The nodes in the body of ``function``, without those of functions and classes inside it."""
    nodes: list[ast.AST] = list(function.body)
    while nodes:
        node = nodes.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            nodes += ast.iter_child_nodes(node)


def _does_nothing(node: ast.stmt) -> bool:
    """Whether this is a docstring, ``...`` or ``pass``."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _numbering_faults(files: Sequence[Migration]) -> Iterator[Fault]:
    """Missing and repeated numbers. ``files`` are in order."""
    previous: Migration | None = None
    for file in files:
        last = previous.n if previous else 0
        if previous and file.n == last:
            yield Fault(file.path, 1, f"{previous.path.name} has the same number")
        elif file.n == 0:
            yield Fault(file.path, 1, "the first migration is 0001")
        elif file.n != last + 1:
            missing = f"{last + 1:04}" if file.n == last + 2 else f"{last + 1:04} to {file.n - 1:04}"
            yield Fault(file.path, 1, f"there is no {missing} before it")
        previous = file


def _import(file: Migration, package: str) -> MigrationFunctions:
    """Run the file's code, which defines its functions, as a module of ``package`` that no ``import`` can find."""
    module = types.ModuleType(f"botctl_migration_{file.name}")
    module.__file__ = str(file.path)
    module.__package__ = package  # for `from ._shared import x`
    sys.modules[module.__name__] = module  # dataclasses need it there
    exec(compile(file.source, str(file.path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    up, down = module.__dict__["up"], module.__dict__.get("down")
    folder = file.path.parent
    return MigrationFunctions(_with_imports(up, folder), None if down is None else _with_imports(down, folder))


def _with_imports(function: MigrationFunction, folder: Path) -> MigrationFunction:
    """``function``; the files of ``folder`` can be imported while it runs, too."""

    @functools.wraps(function)
    async def run(db: Any) -> None:
        with importable(folder, _PACKAGE_PREFIX):
            await function(db)

    return run
