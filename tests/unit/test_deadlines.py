"""No test is red because the machine is slow: what must come has `LIMIT_S`, and a short limit is marked as one."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

from botctl.core.processes.process import is_running, start_time
from tests.support.load import load, main
from tests.support.waiting import LIMIT_S, wait_for

TESTS = Path(__file__).parents[1]
NAMES = {"timeout", "timeout_s", "limit_s", "deadline_s", "patience_s", "close_timeout"}
FIRST = {"timeout", "settimeout", "join", "wait", "wait_for_exit"}  # their first argument is a deadline
SECOND = {"wait_for", "create_connection"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DATA = {"DrainStarted", "Backoff", "LifetimeTimeout", "health"}  # what they take is not waited for
EXEMPT = {
    "contract/test_audit_writer.py::test_unwritten_entries_are_spooled_and_written_at_next_start": "20 x LAST_TRY_S",
    "contract/test_cache.py::test_frozen_redis_costs_one_timeout": "half of what a timeout for each read would take",
    "contract/test_mongo_judge.py::test_server_that_is_not_primary_is_reported_down": "the setting allows 60 s at most",
    "contract/test_store_report.py::report_of": "the setting allows 60 s at most",
    "contract/test_embedded.py::test_client_of_stopped_store_closes_quickly": "a call that was waited for takes 60 s",
    "contract/test_embedded.py::test_frozen_redis_times_out": "half of what a timeout for each call would take",
    "contract/test_limiter.py::test_frozen_redis_costs_only_one_deadline": "half of what one for each check would take",
    "system/test_jobs_killed.py::test_killed_botctl_runs_run_each_due_time_at_most_once": "how long it goes on killing",
    "system/test_sandbox_process.py::test_process_stops_while_a_client_is_connected": "aiohttp would wait 60 s",
    "system/test_verdicts.py::_run": "a pause between two looks",
    "unit/core/services/test_registry_faults.py": "virtual time",
    "unit/core/test_loop_time.py": "virtual time, and LoopTimeout is what is tested",
    "unit/sandbox/model/test_clock.py": "the clock of the sandbox, which the tests move",
    "unit/stores/test_cancellation.py": "asyncio's wait_for is what is tested",
}


def seconds(node: ast.expr | None) -> float | None:
    """The value of a literal number below `LIMIT_S`, alone or in a product or sum."""
    if isinstance(node, ast.BinOp) and "LIMIT_S" not in (name_of(node.left), name_of(node.right)):
        parts = [part for part in (seconds(node.left), seconds(node.right)) if part is not None]
        return min(parts, default=None)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float) and 0 <= node.value < LIMIT_S:
        return float(node.value)
    return None


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def is_clock(node: ast.AST, operation: type[ast.operator]) -> TypeGuard[ast.BinOp]:
    """Whether it is the time of a clock, and ``operation`` with something."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, operation) or not isinstance(node.left, ast.Call):
        return False
    return name_of(node.left.func) in ("monotonic", "time", "perf_counter")


def limits_of(node: ast.AST) -> Iterator[ast.expr | None]:
    """The expressions in ``node`` itself that are deadlines."""
    if isinstance(node, ast.Call) and (name := name_of(node.func)) not in DATA:
        yield from (word.value for word in node.keywords if word.arg in NAMES)
        literal = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Constant)  # " ".join(…)
        if name in FIRST and not literal:
            yield from node.args[:1]
        if name in SECOND:
            yield from node.args[1:2]
    elif isinstance(node, FUNCTIONS) and node.name not in DATA:
        spec = node.args
        plain = [*spec.posonlyargs, *spec.args]
        pairs = [*zip(reversed(plain), reversed(spec.defaults), strict=False)]
        pairs += [(arg, value) for arg, value in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if value]
        yield from (value for arg, value in pairs if arg.arg in NAMES)
    elif isinstance(node, ast.Assign) and any(name_of(target).lower() in NAMES for target in node.targets):
        yield node.value if isinstance(node.value, ast.Constant) else None
    elif isinstance(node, ast.Compare) and isinstance(node.ops[-1], ast.Lt | ast.LtE) and is_clock(node.left, ast.Sub):
        yield node.comparators[-1]
    elif is_clock(node, ast.Add):
        yield node.right


def is_virtual(node: ast.AST) -> bool:
    """Whether it runs in virtual time, where no machine is slow."""
    return isinstance(node, FUNCTIONS) and any("looptime" in ast.unparse(word) for word in node.decorator_list)


def short_limits(source: ast.Module) -> Iterator[tuple[str, int]]:
    """The function (empty for the module) and the line of every short literal deadline outside virtual time."""
    if any("looptime" in ast.unparse(part) for part in source.body if isinstance(part, ast.Assign)):
        return
    todo: list[tuple[str, ast.AST]] = [("", source)]
    while todo:
        owner, node = todo.pop()
        if is_virtual(node):
            continue
        for limit in limits_of(node):
            if limit is not None and seconds(limit) is not None:
                yield owner, limit.lineno
        inner = node.name if isinstance(node, FUNCTIONS) and not owner else owner
        todo += [(inner, child) for child in ast.iter_child_nodes(node)]


def test_no_deadline_of_a_test_is_short() -> None:
    """Otherwise: `LIMIT_S` for what must come, `expires(…)` for a limit that is to expire."""
    found = [
        (f"{path.relative_to(TESTS)}", function, line)
        for path in sorted(TESTS.rglob("*.py"))
        if "node_modules" not in path.parts and path != Path(__file__)
        for function, line in short_limits(ast.parse(path.read_text(encoding="utf-8")))
    ]
    excused = {name for path, function, _ in found for name in (path, f"{path}::{function}")} & EXEMPT.keys()
    assert [place for place in found if not {place[0], f"{place[0]}::{place[1]}"} & excused] == []
    assert EXEMPT.keys() == excused, "an exception that nothing needs"


@pytest.mark.parametrize(
    "text",
    [
        "await asyncio.wait_for(x, 5)",
        "async with asyncio.timeout(5): pass",
        "child.wait(20)",
        "subprocess.run(call, timeout=60)",
        "await until(x, limit_s=30)",
        "def call(*, limit_s=30): pass",
        "LIMIT_S = 10",
        "end = time.monotonic() + 10",
        "assert loop.time() - began_s < 1.0",
        "@pytest.mark.timeout(60)\ndef test_x(): pass",
        "session.timeout_s = 0.2",
        "wait_for(x, limit_s=20 + 6 * runs)",
    ],
)
def test_short_deadline_is_found_in_every_form(text: str) -> None:
    assert len(list(short_limits(ast.parse(text)))) >= 1


@pytest.mark.parametrize(
    "text", ["await asyncio.wait_for(x, LIMIT_S)", "x.wait(expires(0.1))", '" ".join(x)', "wait_for(x, limit_s=600)"]
)
def test_long_or_marked_deadline_is_allowed(text: str) -> None:
    assert list(short_limits(ast.parse(text))) == []


def test_load_ends_with_its_block(capfd: pytest.CaptureFixture[str]) -> None:
    with load(2) as pids:
        started = {pid: start_time(pid) for pid in pids}
        assert len(started) == 2
    wait_for(lambda: not any(is_running(pid, start) for pid, start in started.items() if start))
    assert main(["1", sys.executable, "-c", "import os; print(os.getppid()); raise SystemExit(7)"]) == 7
    assert capfd.readouterr().out.strip() == str(os.getpid())
