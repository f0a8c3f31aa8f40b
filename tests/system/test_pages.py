"""Runs every block of the README and the docs. The lines after a `$` line are its expected output.

``…`` in an expected line matches any text, a line of ``…`` any lines. ``[exit N]`` is the exit code (default 0). A
python block that begins with ``# commands/<name>.py`` is a command file of the bot that runs during the tests.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from botctl.core.config.loading import load
from botctl.core.config.reference import reference
from botctl.core.config.sources import RESERVED_VARIABLES
from botctl.sandbox.incidents import register_all, scenario  # noqa: F401 - fills the catalogue
from tests.support.cli import Project
from tests.support.waiting import wait_for

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = {
    "text",
    "json",
    "mermaid",
    "yaml",
    "ini",
    "js",
    "",
    "nginx",
    "caddyfile",
    "dockerfile",
}  # examples of output and formats
FILE = re.compile(r"# (commands/\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block, and where it begins."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(page, text[: match.start()].count("\n") + 1, match[1], match[2])


ALL = [block for page in PAGES for block in blocks(page)]


def of(*languages: str) -> list[Block]:
    return [block for block in ALL if block.language in languages]


def calls(block: Block) -> Iterator[tuple[str, list[str], int]]:
    """Each command, the lines that it must print, and its exit code."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        typed, *expected = part.rstrip("\n").split("\n")
        code = re.fullmatch(r"\[exit (\d+)\]", expected[-1]) if expected else None
        yield typed, expected[: -1 if code else None], int(code[1]) if code else 0


def pattern(expected: list[str]) -> str:
    """A regular expression that matches ``expected``."""
    lines = ["(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*?") + "[ ]*\n" for line in expected]
    return "".join(lines)


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A running new bot with the commands of the pages."""
    project = Project(tmp_path_factory.mktemp("pages") / "bot")
    for block in of("python"):
        if match := FILE.match(block.text):
            project.write(match[1], block.text)
    with project.run():
        # The monitor's data is up to a second old, so it may still show the start at first.
        wait_for(lambda: "✓ healthy" in project.call("monitor", "--once").out, what="a healthy bot in the monitor")
        yield project


@pytest.mark.parametrize("block", of("console"), ids=str)
def test_console_block_prints_the_expected_output(bot: Project, block: Block) -> None:
    """With 80 columns and without colours."""
    typed_calls = list(calls(block))
    assert typed_calls, "a console block without a $ line"
    for typed, expected, code in typed_calls:
        words = shlex.split(typed)
        assert words[0] == "botctl", f"{block}: only botctl is run here, not {words[0]}"
        done = bot.call(*words[1:], COLUMNS="80", NO_COLOR="1")
        printed = done.out.rstrip("\n") + "\n" + done.err
        printed = printed.lstrip("\n")
        assert done.code == code, f"{block}: $ {typed}\n{printed}"
        assert re.fullmatch(pattern(expected), printed.rstrip("\n") + "\n"), f"{block}: $ {typed}\n{printed}"


@pytest.mark.parametrize("block", of("sh"), ids=str)
def test_shell_blocks_use_existing_targets_and_settings(block: Block) -> None:
    """These blocks are not run: they are for the reader's own machine."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    settings = {setting.variable for setting in reference()} | {"BOTCTL_PROFILE"} | RESERVED_VARIABLES
    for line in filter(None, (line.split("  #")[0].strip() for line in block.text.splitlines())):
        if line.startswith("make "):
            assert line.split()[1] in targets, f"{block}: {line}"
        elif line.startswith("BOTCTL_"):
            assert line.partition("=")[0] in settings, f"{block}: {line}"
        else:
            assert line.split()[0] in KNOWN_PROGRAMS, f"{block}: {line}"


def test_readme_of_a_new_bot_works_word_by_word(bot: Project) -> None:
    """But for the installation and the start, which a soak test types too (test_new_bot.py)."""
    install, use = (block.text.splitlines() for block in blocks(bot.root / "README.md"))
    assert [line.split()[-1] for line in install] == [".venv", "requirements.txt", "run"]
    (bot.root / ".venv").symlink_to(sys.prefix)
    for line in use:
        done = subprocess.run(
            ("sh", "-c", line), cwd=bot.root, env=bot.env, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stderr.decode()}"
    for word in re.findall(r"`(botctl [^`]+)`", (bot.root / "README.md").read_text()):
        assert bot.call(*shlex.split(word)[1:]).code == 0, word


KNOWN_PROGRAMS = {
    "pm2",
    "npm",
    "docker",
    "systemctl",
    "journalctl",
    "curl",
    "cd",
    "mkdir",
    "pip",
    "python3",
    "sudo",
    "git",
    "botctl",
}


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_blocks_are_python(block: Block) -> None:
    """Command files also run in the bot of these tests."""
    ast.parse(block.text)
    assert FILE.match(block.text) or "import" in block.text, f"{block}: name the file it is: # commands/<name>.py"


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_toml_blocks_are_settings(block: Block, tmp_path: Path) -> None:
    """Each is a valid settings file, or a scenario of incidents."""
    if "incident" in tomllib.loads(block.text):
        assert scenario.parse(block.text)
        return
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "botctl.toml").write_text(block.text)
    load(tmp_path, None, {}, {})


def test_every_block_has_a_known_language() -> None:
    """A new language needs a test in this file."""
    checked = {"console", "sh", "python", "toml"} | NOT_RUN
    assert not [str(block) for block in ALL if block.language not in checked]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_name_existing_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_pattern_rejects_wrong_output() -> None:
    assert re.fullmatch(pattern(["a … c", "…", "end"]), "a b c\nx\ny\nend\n")
    assert not re.fullmatch(pattern(["a … c"]), "a b d\n")
    assert not re.fullmatch(pattern(["a"]), "a\nb\n")
