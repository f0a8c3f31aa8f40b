"""The Python that the README of a new bot names."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from botctl.cli.init.pythons import base_python, program_prefix
from botctl.cli.init.scaffold import create


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the only one on PATH."""
    base_python.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def write_python(path: Path, version: str) -> None:
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o700)


class TestBasePython:
    OWN = f"{sys.version_info.major} {sys.version_info.minor}"
    VERSIONED = f"python3.{sys.version_info.minor}"

    def test_python3_of_the_same_version_comes_first(self, programs: Path) -> None:
        for name in ("python3", self.VERSIONED):
            write_python(programs / name, self.OWN)
        assert base_python() == "python3"

    def test_python3_of_another_version_is_passed_over(self, programs: Path) -> None:
        write_python(programs / "python3", "3 9")
        write_python(programs / self.VERSIONED, self.OWN)
        assert base_python() == self.VERSIONED

    def test_path_is_named_if_no_name_fits(self, programs: Path) -> None:
        """It is the Python itself, not one of a virtual environment, which may be deleted."""
        (program,) = shlex.split(base_python())
        printed = "import sys; print(sys.prefix == sys.base_prefix, *sys.version_info[:2])"
        done = subprocess.run((program, "-I", "-c", printed), capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"True {self.OWN}"

    def test_python_of_the_own_environment_is_passed_over(
        self, programs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "prefix", str(programs))
        (programs / "bin").mkdir()
        write_python(programs / "bin" / "python3", self.OWN)
        monkeypatch.setenv("PATH", str(programs / "bin"))
        assert base_python() != "python3"


@pytest.mark.parametrize(
    ("folder", "prefix"),
    [
        ("my bot", ".venv/bin/"),
        ("it's ümlaut 100%", ".venv/bin/"),
        ("my $bot", ".venv/bin/python -m "),
        ('my "bot"', ".venv/bin/python -m "),
        ("my `bot`", ".venv/bin/python -m "),
    ],
)
def test_readme_avoids_scripts_that_a_shell_would_misread(tmp_path: Path, folder: str, prefix: str) -> None:
    assert program_prefix(tmp_path / folder) == prefix
    create(tmp_path / folder)
    text = (tmp_path / folder / "README.md").read_text()
    assert f"\n{prefix}pip install -r requirements.txt\n{prefix}botctl run\n" in text
