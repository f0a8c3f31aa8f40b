"""The list of actions: it has all that the code records, and helps who mistypes one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from botctl.audit.actions import ACTIONS, INTERACTIONS, describe_unknown
from botctl.realtime.actions import ACTIONS as CLIENT_ACTIONS
from tests.support import ROOT

PAGE = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
ACTION = re.compile(r"[a-z]+(\.[a-z_-]+)+")
PASSED_ON = {"action", "action.entry"}  # by a function whose callers, called `_record…`, are looked at; by clients


def texts(value: ast.expr) -> Iterator[str]:
    """The actions that ``value`` may be, as regular expressions."""
    match value:
        case ast.Constant(value=str(text)):
            yield re.escape(text)
        case ast.IfExp(body=body, orelse=orelse):
            yield from texts(body)
            yield from texts(orelse)
        case ast.JoinedStr(values=parts):
            yield "".join(re.escape(p.value) if isinstance(p, ast.Constant) else "[a-z]+" for p in parts)
        case _ if ast.unparse(value) not in PASSED_ON:
            yield f"not understood: {ast.unparse(value)}"


def recorded() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "botctl").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "make_entry(" not in source or path.name == "audit_entry.py":
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and node.args:
                name = ast.unparse(node.func)
                if name == "make_entry":
                    found |= set(texts(node.args[0]))
                elif name.startswith("self._record"):
                    found |= {text for text in texts(node.args[0]) if ACTION.fullmatch(text.replace("\\", ""))}
    return found


def test_list_has_exactly_the_actions_that_are_recorded() -> None:
    patterns = recorded() | {re.escape(action.entry) for action in CLIENT_ACTIONS.values()}
    assert len(patterns) > 20
    assert not [text for text in patterns if not any(re.fullmatch(text, action) for action in ACTIONS)]
    assert not [action for action in ACTIONS if not any(re.fullmatch(text, action) for text in patterns)]


def test_page_lists_every_action() -> None:
    assert not [action for action, when in ACTIONS.items() if f"| `{action}` | {when} |" not in PAGE]


@pytest.mark.parametrize(
    "pattern", ["job.pause", "job.*", "*", "*.pause", "command.roll", "component.*", "command.*", "r*", *ACTIONS]
)
def test_pattern_that_can_match_is_not_unknown(pattern: str) -> None:
    assert describe_unknown(pattern) == ""


@pytest.mark.parametrize(
    ("pattern", "meant"), [("jobs.pause", "job.pause"), ("jobs.*", "job.*"), ("jobs:run", "job.run")]
)
def test_mistyped_action_is_corrected(pattern: str, meant: str) -> None:
    told = describe_unknown(pattern)
    assert told.startswith(f"There is no action {pattern!r}; did you mean {meant}? There are: run.start, ")
    assert all(kind in told for kind in INTERACTIONS)


def test_unlike_action_gets_the_list() -> None:
    assert describe_unknown("xyzzy").startswith("There is no action 'xyzzy'. There are: ")
