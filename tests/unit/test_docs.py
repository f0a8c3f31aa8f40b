"""Nothing exists that is not documented: verbs, options, settings, events, exit codes, errors, make targets."""

from __future__ import annotations

import re
import tomllib

import pytest

from botctl.core.contracts import events
from botctl.core.errors import ExitCode
from tests.support import ROOT
from tests.support.verbs import COMMANDS

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("name", [name for name in COMMANDS if " " not in name])
def test_every_verb_is_in_the_readme(name: str) -> None:
    """As `botctl <verb>` in the table of verbs."""
    assert f"| `botctl {name}` |" in README


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_and_helps(name: str) -> None:
    """It is named somewhere in the docs, its help is a sentence, and so is the help of every option."""
    command = COMMANDS[name]
    assert (command.help or "").strip().split("\n")[0].endswith((".", "…")), f"{name} has no help"
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"
    everything = README + "".join(DOCS.values())
    assert re.search(rf"\b{re.escape(name)}\b", everything), f"botctl {name} is not in any page"


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: code.name)
def test_every_exit_code_is_documented(code: ExitCode) -> None:
    """Number and name in one row."""
    assert f"| {int(code)} | `{code.name}` |" in DOCS["exit-codes"]


EVENTS = list(events.BY_TYPE.values())


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_every_event_is_documented(event: type[events.Event]) -> None:
    """Class, type and topic in one row."""
    assert f"| `{event.__name__}` | `{event.type}` | `{event.topic}` |" in DOCS["events"]


def test_every_page_is_in_the_readme() -> None:
    """None is found by accident only."""
    assert not [name for name in DOCS if f"docs/{name}.md" not in README]


def test_every_dependency_has_its_reason() -> None:
    """In the architecture's table of libraries."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.split(r"[\[<>=;~ ]", line)[0] for line in listed]
    table = DOCS["architecture"].split("## Libraries")[1].split("\n## ")[0]
    assert not [name for name in names if not re.search(rf"\b{re.escape(name)}\b", table)]


def test_every_make_target_says_what_it_does() -> None:
    """`make help` lists them all."""
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert targets
    assert not [name for name in targets[1].split() if not re.search(rf"^{name}:.*## \S", text, re.MULTILINE)]
