"""The files of ``migrations/``: found, read and checked, without running any of them.

``0001_name.py``, ``0002_other.py``, …: one after the other, without a gap. Each has ``async def up(db)`` and, where it
can be taken back, ``async def down(db)``. What is not called so is a fault, except a file that begins with ``_``.
"""

from __future__ import annotations

import ast
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
from botctl.core.errors import MigrationFaults

FILE_NAME: Final = re.compile(r"(?P<name>(?P<n>[0-9]{4})_[a-z0-9][a-z0-9_]{0,59})\.py")
Step = Callable[[Any], Awaitable[None]]


class Fault(NamedTuple):
    """What is wrong in a file, and where."""

    path: Path
    line: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Migration:
    """A file. ``title`` is the first line of its docstring; ``source`` is what `load` runs, as it was when checked."""

    n: int
    name: str
    path: Path
    title: str
    reversible: bool
    source: bytes = field(repr=False)

    @property
    def checksum(self) -> str:
        return checksum(self.source)


@dataclass(frozen=True, slots=True)
class Migrations:
    """All files of a folder, in their order."""

    folder: Path
    files: tuple[Migration, ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """What a file does."""

    up: Step
    down: Step | None


def checksum(source: bytes) -> str:
    """What tells whether a file was changed after it was applied: SHA-256 of its bytes, lines ending with a line feed.

    Line ends, because git rewrites them between systems. Nothing else is left out: whoever knows the rule can compute
    it with sha256sum, and no Python version computes another. A changed comment counts as a change, which a person
    can accept (`botctl migrate resolve`). The rule's name stands before it, so that another may come beside it.
    """
    plain = source.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return f"sha256-lf:{hashlib.sha256(plain).hexdigest()}"


def discover(folder: Path) -> Migrations:
    """Read and check every file of ``folder``. A folder that is not there holds nothing.

    Raises:
        MigrationFaults: all that is wrong, with file and line.
    """
    read = [(path, _source(path)) for path in sorted(folder.glob("[!_]*.py"))]
    files, faults = judge(read)
    _settle(faults, folder)
    return Migrations(folder, files)


def judge(read: Iterable[tuple[Path, bytes]]) -> tuple[tuple[Migration, ...], tuple[Fault, ...]]:
    """What the files with these sources are, in their order, and what is wrong with them."""
    files, faults = [], []
    for path, source in read:
        found, own = _judge_one(path, source)
        files += found
        faults += own
    files.sort(key=lambda file: (file.n, file.name))
    return tuple(files), (*faults, *_misplaced(files))


def load(migrations: Migrations, wanted: Iterable[Migration]) -> dict[str, Steps]:
    """Import the files ``wanted``, so that all that is wrong with them is known before the first one runs.

    Raises:
        MigrationFaults: some cannot be imported.
    """
    steps, faults = {}, []
    for file in wanted:
        try:
            steps[file.name] = _import(file)
        except (Exception, SystemExit) as error:  # noqa: BLE001  an operator's file may raise anything
            faults.append(Fault(file.path, line_of(error, file.path), describe_end(error)))
    _settle(faults, migrations.folder)
    return steps


def line_of(error: BaseException, path: Path) -> int:
    """The line of ``path`` that ``error`` comes from, as far as it is there; else 1."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else None) or 1


def shown(path: Path, folder: Path) -> str:
    """``path`` as a person sees it from the project's root."""
    return str(path.relative_to(folder.parent)) if path.is_relative_to(folder.parent) else str(path)


def _source(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MigrationFaults([f"{path}:1: it cannot be read: {error.strerror}"]) from error


def _settle(faults: Sequence[Fault], folder: Path) -> None:
    if faults:
        ordered = sorted(faults)
        raise MigrationFaults([f"{shown(path, folder)}:{line}: {sentence}" for path, line, sentence in ordered])


def _judge_one(path: Path, source: bytes) -> tuple[list[Migration], list[Fault]]:
    called = FILE_NAME.fullmatch(path.name)
    if called is None:
        form = "a migration is called 0001_what_it_does.py; a helper's name begins with _"
        return [], [Fault(path, 1, form)]
    try:
        tree = ast.parse(source, str(path))
        compile(tree, str(path), "exec", dont_inherit=True)  # finds what the grammar alone allows
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else 1
        tree, faults = ast.Module([], []), [Fault(path, line or 1, f"SyntaxError: {_words(error)}")]
    else:
        faults = [Fault(path, *fault) for fault in _function_faults(tree)]
    title = (ast.get_docstring(tree) or "").partition("\n")[0].strip()
    reversible = any(function.name == "down" for function in _functions(tree))
    return [Migration(int(called["n"]), called["name"], path, title, reversible, source)], faults


def _words(error: SyntaxError | ValueError) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return (function for function in functions if function.name in ("up", "down"))


def _function_faults(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and sentence of what is wrong with ``up`` and ``down``."""
    found = list(_functions(tree))
    if all(function.name != "up" for function in found):
        yield 1, "it has no `async def up(db)`"
    for name, count in Counter(function.name for function in found).items():
        if count > 1:
            yield found[-1].lineno, f"{name} is defined {count} times"
    for function in found:
        arguments = function.args
        takes = len(arguments.posonlyargs) + len(arguments.args)
        if not isinstance(function, ast.AsyncFunctionDef):
            yield function.lineno, f"{function.name} must be `async def {function.name}(db)`"
        elif takes != 1 or arguments.kwonlyargs:
            yield function.lineno, f"{function.name} takes the database and nothing else: `(db)`"
        elif all(map(_says_nothing, function.body)):
            yield function.lineno, f"{function.name} does nothing yet"


def _says_nothing(node: ast.stmt) -> bool:
    """A docstring, ``...`` or ``pass``."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _misplaced(files: Sequence[Migration]) -> Iterator[Fault]:
    """Numbers that are missing, or are used twice; ``files`` are in order."""
    before: Migration | None = None
    for file in files:
        last = before.n if before else 0
        if before and file.n == last:
            yield Fault(file.path, 1, f"{before.path.name} has the same number")
        elif file.n == 0:
            yield Fault(file.path, 1, "the first migration is 0001")
        elif file.n != last + 1:
            missing = f"{last + 1:04}" if file.n == last + 2 else f"{last + 1:04} to {file.n - 1:04}"
            yield Fault(file.path, 1, f"there is no {missing} before it")
        before = file


def _import(file: Migration) -> Steps:
    """Run the file's own code, which defines its steps. It is not found by `import`, and no other file is touched."""
    module = types.ModuleType(f"botctl_migration_{file.name}")
    module.__file__ = str(file.path)
    sys.modules[module.__name__] = module  # dataclasses look for it there
    exec(compile(file.source, str(file.path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    return Steps(module.__dict__["up"], module.__dict__.get("down"))
