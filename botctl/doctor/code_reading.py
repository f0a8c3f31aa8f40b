"""Read a bot's code without running it: its listeners, what it reads and calls, and the rights that it declares.

What a name means is not known from its text: ``message.content`` may be of any object. So what follows from reading
and calling is a guess, and `intents` and `permissions` say so.
"""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_COMMANDS: Final = ("slash_command", "sub_command", "user_command", "message_command", "command")
_CONTEXT_MENU: Final = ("message_command", "MessageCommand")
_SKIPPED: Final = ("__pycache__", "node_modules")
_MAX_BYTES: Final = 2_000_000


class FactKind(enum.StrEnum):
    """``REQUIRES``: a permission that the code says the bot needs. ``ASKS_PEOPLE``: that people need for a command."""

    LISTENER = "listener"
    READ = "read"
    CALL = "call"
    REQUIRES = "requires"
    ASKS_PEOPLE = "asks people"


@dataclass(frozen=True, slots=True)
class CodeFact:
    """One thing that the code does.

    ``name``: of a listener its event (``member_join``), else of what is read, called or required. ``owner``: the
    command, listener or function that it is in. ``listener``: the event of the listener around it, if there is one.
    """

    kind: FactKind
    name: str
    owner: str
    file: str
    line: int
    receiver: str = ""  # what is left of the dot: ``ctx.channel``
    keywords: tuple[str, ...] = ()  # of a call
    listener: str = ""
    in_context_menu: bool = False  # of a message: Discord sends that one whole

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class CodeRead:
    """``unread``: files that cannot be parsed; `botctl doctor` says what is wrong with them."""

    facts: tuple[CodeFact, ...]
    files: int
    unread: tuple[str, ...]


def read_code(root: Path, paths: Iterable[Path]) -> CodeRead:
    """Read the Python files in ``paths``, which are files or folders. Places are shown relative to ``root``."""
    facts: list[CodeFact] = []
    unread: list[str] = []
    count = 0
    for file in _python_files(paths):
        shown = str(file.relative_to(root) if file.is_relative_to(root) else file)
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            unread.append(shown)
            continue
        count += 1
        facts += facts_in(tree, shown)
    return CodeRead(tuple(facts), count, tuple(unread))


def _python_files(paths: Iterable[Path]) -> list[Path]:
    found: dict[Path, Path] = {}
    for path in paths:
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            inside = file.relative_to(path).parts if file != path else ()
            hidden = any(part.startswith(".") or part in _SKIPPED for part in inside)
            with suppress(OSError):
                if not hidden and file.is_file() and file.stat().st_size <= _MAX_BYTES:
                    found.setdefault(file.resolve(), file)
    return list(found.values())


def facts_in(tree: ast.Module, file: str) -> list[CodeFact]:
    reader = _Reader(file)
    reader.visit(tree)
    return reader.facts


class _Reader(ast.NodeVisitor):
    """Collects facts, and knows which class and function it is in."""

    def __init__(self, file: str) -> None:
        self.facts: list[CodeFact] = []
        self._file = file
        self._names: list[str] = []
        self._owner = "the module"
        self._listener = ""
        self._in_context_menu = False

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = [_last_name(base) for base in node.bases]
        is_menu = self._in_context_menu or any(base in _CONTEXT_MENU for base in bases)
        is_command = any(base.endswith("Command") for base in bases)
        owner = f"the command {node.name}" if is_command else f"the class {node.name}"
        with self._inside(node.name, owner, self._listener, in_context_menu=is_menu):
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def _visit_function(self, node: _FunctionNode) -> None:
        event = listener_event(node)
        owner, is_menu = self._owner_of(node, event), self._in_context_menu
        for decorator in node.decorator_list:
            is_menu = is_menu or _last_name(decorator) in _CONTEXT_MENU
        with self._inside(node.name, owner, event or self._listener, in_context_menu=is_menu):
            if event:
                self._add(FactKind.LISTENER, event, node.lineno)
            for decorator in node.decorator_list:
                self._read_decorator(decorator)
            self.generic_visit(node)

    def _owner_of(self, node: _FunctionNode, event: str) -> str:
        full_name = ".".join([*self._names, node.name])
        if event:
            return f"the listener {full_name}"
        if any(_last_name(decorator) in _COMMANDS for decorator in node.decorator_list):
            return f"the command {full_name}"
        if self._owner.startswith("the command"):
            return self._owner if node.name == "execute" else f"the command {full_name}"
        return f"the function {full_name}"

    def _read_decorator(self, decorator: ast.expr) -> None:
        """The permissions that a check or a command declares."""
        if not isinstance(decorator, ast.Call):
            return
        match _last_name(decorator):
            case "bot_has_permissions" | "bot_has_guild_permissions":
                self._add_permissions(FactKind.REQUIRES, decorator)
            case "default_member_permissions" | "has_permissions" | "has_guild_permissions":
                self._add_permissions(FactKind.ASKS_PEOPLE, decorator)
        for keyword in decorator.keywords:
            if keyword.arg == "default_member_permissions" and isinstance(keyword.value, ast.Call):
                self._add_permissions(FactKind.ASKS_PEOPLE, keyword.value)

    def _add_permissions(self, kind: FactKind, call: ast.Call) -> None:
        for keyword in call.keywords:
            if keyword.arg and isinstance(keyword.value, ast.Constant) and keyword.value.value is True:
                self._add(kind, keyword.arg, call.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        keywords = tuple(keyword.arg for keyword in node.keywords if keyword.arg)
        if isinstance(node.func, ast.Attribute):
            self._add(FactKind.CALL, node.func.attr, node.lineno, _text(node.func.value), keywords)
            awaited = node.args[0] if node.func.attr == "wait_for" and node.args else None
            if isinstance(awaited, ast.Constant) and isinstance(awaited.value, str):
                self._add(FactKind.LISTENER, awaited.value, node.lineno)
            self.visit(node.func.value)  # not the attribute itself: it is called, not read
        else:
            self.visit(node.func)
        for child in (*node.args, *node.keywords):
            self.visit(child)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self._add(FactKind.READ, node.attr, node.lineno, _text(node.value))
        self.generic_visit(node)

    def _add(self, kind: FactKind, name: str, line: int, receiver: str = "", keywords: tuple[str, ...] = ()) -> None:
        self.facts.append(
            CodeFact(
                kind, name, self._owner, self._file, line, receiver, keywords, self._listener, self._in_context_menu
            )
        )

    @contextmanager
    def _inside(self, name: str, owner: str, listener: str, *, in_context_menu: bool) -> Iterator[None]:
        before = self._owner, self._listener, self._in_context_menu
        self._names.append(name)
        self._owner, self._listener, self._in_context_menu = owner, listener, in_context_menu
        try:
            yield
        finally:
            self._names.pop()
            self._owner, self._listener, self._in_context_menu = before


def listener_event(node: _FunctionNode) -> str:
    """The event that a function listens to (``member_join``), or nothing."""
    for decorator in node.decorator_list:
        if _last_name(decorator) not in ("listener", "listen", "event"):
            continue
        arguments = [*decorator.args, *(k.value for k in decorator.keywords)] if isinstance(decorator, ast.Call) else []
        named = [arg for arg in arguments if not isinstance(arg, ast.Constant) or arg.value is not None]
        name = _event_text(named[0]) if named else node.name
        return name.removeprefix("on_")
    return ""


def _event_text(argument: ast.expr) -> str:
    """``"on_message"``, or ``disnake.Event.message``."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    return _last_name(argument)


def _last_name(node: ast.expr) -> str:
    """``listener`` of ``commands.Cog.listener()``."""
    match node:
        case ast.Call(func=function):
            return _last_name(function)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _text(node: ast.expr) -> str:
    """The names and dots of ``node``, calls included: ``inter.guild``."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{_text(value)}.{name}".lstrip(".")
        case ast.Call(func=function):
            return _text(function)
        case ast.Await(value=value) | ast.Subscript(value=value):
            return _text(value)
    return ""
