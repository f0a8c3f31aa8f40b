"""Every verb, option, event, exit code, page, dependency and make target is documented."""

from __future__ import annotations

import re
import tomllib

import pytest

from botctl.core.config.reference import reference
from botctl.core.contracts import events
from botctl.core.errors import ExitCode
from tests.support import ROOT
from tests.support.verbs import COMMANDS

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("name", [name for name in COMMANDS if " " not in name])
def test_every_verb_is_in_the_readme(name: str) -> None:
    """`botctl <verb>` has a row in the table of verbs."""
    assert f"| `botctl {name}` |" in README


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_and_has_help(name: str) -> None:
    """A page names it, its help is a sentence, and every option has help."""
    command = COMMANDS[name]
    assert (command.help or "").strip().split("\n")[0].endswith((".", "…")), f"{name} has no help"
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"
    everything = README + "".join(DOCS.values())
    assert re.search(rf"\b{re.escape(name)}\b", everything), f"botctl {name} is not in any page"


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: code.name)
def test_every_exit_code_is_documented(code: ExitCode) -> None:
    assert f"| {int(code)} | `{code.name}` |" in DOCS["exit-codes"]


EVENTS = list(events.BY_TYPE.values())


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_every_event_is_documented(event: type[events.Event]) -> None:
    assert f"| `{event.__name__}` | `{event.type}` | `{event.topic}` |" in DOCS["events"]


def test_every_page_is_linked_from_the_index() -> None:
    """The README links to docs/index.md, which has one line for each page."""
    assert "(docs/index.md)" in README
    assert not [name for name in DOCS if name != "index" and f"({name}.md)" not in DOCS["index"]]


def test_every_secret_setting_is_on_the_page_of_secrets() -> None:
    assert not [setting.key for setting in reference() if setting.secret and f"`{setting.key}`" not in DOCS["secrets"]]


def test_every_dependency_has_a_reason() -> None:
    """It stands in the table of libraries in docs/architecture.md."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.split(r"[\[<>=;~ ]", line)[0] for line in listed]
    table = DOCS["architecture"].split("## Libraries")[1].split("\n## ")[0]
    assert not [name for name in names if not re.search(rf"\b{re.escape(name)}\b", table)]


def test_every_make_target_has_a_description() -> None:
    """`make help` prints it."""
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert targets
    assert not [name for name in targets[1].split() if not re.search(rf"^{name}:.*## \S", text, re.MULTILINE)]


@pytest.mark.parametrize("page", ["architecture", "glossary"])
def test_every_module_that_a_page_names_exists(page: str) -> None:
    named = set(re.findall(r"`([a-z_/]+\.py)`", DOCS[page]))
    files = [
        f"/{path.relative_to(ROOT)}"
        for folder in ("botctl", "tools", "tests")
        for path in ROOT.glob(f"{folder}/**/*.py")
    ]
    assert named
    assert not [path for path in named if not any(file.endswith(f"/{path}") for file in files)]
