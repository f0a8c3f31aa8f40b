"""What import-linter cannot check: circles, local imports, modules that a call loads, who creates clients."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import botctl
from botctl.cli.init.scaffold import create
from tests.support.verbs import LAZY
from tests.support.waiting import LIMIT_S

PACKAGE = Path(botctl.__file__).parent
CLIENTS = {"AsyncMongoClient", "MongoClient", "Redis", "StrictRedis", "ConnectionPool", "BlockingConnectionPool"}
MAKERS = {"from_url", "from_pool"}
MAX_LOCAL_IMPORTS = 29
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def sources() -> Mapping[str, ast.Module]:
    """Every module of botctl by its name, parsed."""
    return {_name(path): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported(source: ast.Module, modules: Collection[str]) -> Iterator[str]:
    """The modules that ``source`` imports: anywhere, inside functions and for type checking too."""
    for node in ast.walk(source):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def find_circle(modules: Mapping[str, ast.Module]) -> list[str]:
    """Modules that import each other in a circle; empty where there is none.

    The package itself is left out: what it names for authors is loaded when it is asked for.
    """
    known = modules.keys() - {"botctl"}
    graph = {name: {target for target in imported(modules[name], known) if target in known} for name in known}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert find_circle(sources()) == []


@pytest.mark.parametrize(
    "late",
    ["from p import a", "import p.a", "def f():\n    from p.a import x", "if TYPE_CHECKING:\n    from p.a import x"],
)
def test_import_circle_is_found_in_every_kind_of_import(late: str) -> None:
    texts = {"p": "", "p.a": "from p.b import y", "p.b": late}
    assert set(find_circle({name: ast.parse(text) for name, text in texts.items()})) == {"p.a", "p.b"}


def local_imports(source: ast.Module) -> set[int]:
    """The lines inside functions of ``source`` that import a module of botctl."""
    functions = [node for node in ast.walk(source) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = (node for function in functions for node in ast.walk(function) if isinstance(node, ast.ImportFrom))
    return {node.lineno for node in inside if (node.module or "").startswith("botctl")}


def test_imports_inside_functions_are_few() -> None:
    found = {name: lines for name, text in sources().items() if (lines := local_imports(text))}
    assert sum(map(len, found.values())) <= MAX_LOCAL_IMPORTS, found


def loaded_by(*words: str) -> set[str]:
    """The modules that a call of botctl has loaded when it ends."""
    look = "import atexit, sys; atexit.register(lambda: print('\\n'.join(sys.modules), file=sys.stderr))\n"
    call = f"{look}sys.argv = ['botctl', *{words!r}]\nfrom botctl.cli.main import main\nmain()"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=False, timeout=LIMIT_S)
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [("--help",), ("--version",)])
def test_help_and_version_load_no_library_but_typer(words: tuple[str, ...]) -> None:
    loaded = loaded_by(*words)
    assert "typer" in loaded
    assert not loaded & {"rich", "redis", "pymongo", "pydantic", "aiohttp", "disnake", "loguru", "asyncio"}
    deep = {name for name in loaded if name.startswith("botctl.") and name.count(".") > 2}
    assert {
        name for name in deep if not re.match(r"botctl\.core\.(event_loop\.lag|files|processes\.stop_signals)", name)
    } == set()


def test_health_verb_loads_no_store_and_no_settings(tmp_path: Path) -> None:
    """A container calls it every few seconds."""
    create(tmp_path / "bot")
    loaded = loaded_by("health", "--project", str(tmp_path / "bot"))
    assert "botctl.monitor.health_client" in loaded
    assert not loaded & {"redis", "pymongo", "pydantic", "rich", "aiohttp", "loguru", "botctl.core.config.settings"}


def test_audit_verb_loads_neither_discord_nor_redis() -> None:
    loaded = loaded_by("audit", "log", "--help")
    assert {"pymongo", "rich"} <= loaded
    assert not loaded & {"disnake", "redis", "aiohttp", "websockets", "apscheduler", "prompt_toolkit"}


def test_sandbox_verb_loads_no_server() -> None:
    loaded = loaded_by("sandbox", "send", "--help")
    assert "aiohttp.client" in loaded
    assert not loaded & {"botctl.sandbox.sandbox", "disnake", "redis", "pymongo", "pydantic_settings", "prompt_toolkit"}


@pytest.mark.parametrize("name", LAZY)
def test_summary_of_lazy_command_equals_its_help(name: str) -> None:
    lazy = LAZY[name]
    assert lazy.get_short_help_str(200) == lazy.load().get_short_help_str(200)


def find_client_calls(source: ast.Module) -> Iterator[str]:
    """Every call in ``source`` that makes a client of Redis or MongoDB."""
    for node in ast.walk(source):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.rpartition(".")[2] in CLIENTS | MAKERS:
                yield f"{node.lineno}: {called}"


@pytest.mark.parametrize("line", ["Redis(host='x')", "redis.asyncio.from_url(u)", "Redis.from_url(u)", "MongoClient()"])
def test_client_creation_is_detected(line):
    assert list(find_client_calls(ast.parse(line)))


def test_only_stores_create_clients():
    """`stores` decides their limits and retries; all other modules get them from the registry."""
    creators = {name: found for name, text in sources().items() if (found := list(find_client_calls(text)))}
    assert {name.split(".")[1] for name in creators} == {"stores"}, creators


def unseen_tasks(module: ast.Module) -> list[int]:
    """The lines that create a task whose result nothing reads: in its function, or for an attribute in ``module``."""
    return [
        call.lineno
        for function in [module, *(node for node in ast.walk(module) if isinstance(node, _FUNCTIONS))]
        for call, target in _created_tasks(function)
        if target not in _read_results(module if "." in target else function)
    ]


def _created_tasks(function: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """The tasks that ``function`` itself creates, with their names. A TaskGroup raises what they raise."""
    nodes = list(_own_nodes(function))
    names = {id(node.value): ast.unparse(node.targets[0]) for node in nodes if isinstance(node, ast.Assign)}
    for node in nodes:
        if isinstance(node, ast.Call) and _method(node) in ("create_task", "ensure_future") and _owner(node) != "group":
            yield node, names.get(id(node), "")


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, _FUNCTIONS):
            yield node
            yield from _own_nodes(node)


def _read_results(scope: ast.AST) -> set[str]:
    nodes = list(ast.walk(scope))
    read = {ast.unparse(node.value) for node in nodes if isinstance(node, ast.Await)}
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    read |= {_owner(call) for call in calls if _method(call) in ("result", "exception")}
    return read | {ast.unparse(call.args[0]) for call in calls if _method(call) == "shield"}


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _owner(call: ast.Call) -> str:
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("asyncio.create_task(work())", [1]),
        ("task = asyncio.create_task(work())\ntask.cancel()", [1]),
        ("self.task = loop.create_task(work())\nasync def f(): await asyncio.wait({self.task})", [1]),
        ("async def f():\n    task = asyncio.create_task(work())\n    await task", []),
        ("async def f():\n    task = asyncio.create_task(work())\nasync def g(task): await task", [2]),
        ("self.task = asyncio.create_task(work())\nself.task.result()", []),
        ("group.create_task(work())", []),
    ],
)
def test_unseen_task_is_found(source: str, lines: list[int]) -> None:
    assert unseen_tasks(ast.parse(source)) == lines


def test_no_task_ends_unseen() -> None:
    """`create_watched_task` logs what a task raises, if no one awaits it."""
    found = {name: len(lines) for name, source in sources().items() if (lines := unseen_tasks(source))}
    assert found == {
        "botctl.bot.gateway.shard": 1,  # the shard awaits it
        "botctl.core.event_loop.tasks": 1,  # a callback logs it
        "botctl.core.services.tasks": 1,  # a callback reports it
        "botctl.core.services.service": 1,  # its `_run` raises nothing
        "botctl.migrate.session": 1,  # its `_error_of` reads it
        "botctl.run.lifecycle": 2,  # one runs to completion, `_first_completed` gathers the others
    }


def swallowed_cancellations(module: ast.Module) -> list[int]:
    """The lines of coroutines that catch anything, and do not look whether it is their own cancellation."""
    return [
        handler.lineno
        for node in ast.walk(module)
        if isinstance(node, ast.Try)
        for handler in node.handlers
        if isinstance(handler.type, ast.Name) and handler.type.id in ("ANYTHING", "BaseException")
        if any(isinstance(inner, ast.Await) for statement in node.body for inner in ast.walk(statement))
        if "is_own_cancellation" not in ast.unparse(handler) and not isinstance(handler.body[-1], ast.Raise)
        if not any(other.type and ast.unparse(other.type) == "asyncio.CancelledError" for other in node.handlers)
    ]


def test_whoever_catches_anything_leaves_its_own_cancellation() -> None:
    found = {name: len(lines) for name, source in sources().items() if (lines := swallowed_cancellations(source))}
    assert found == {"botctl.core.services.service": 2}  # `_run` and `_answer` report it and return
