"""tools/setup.sh shows what it installs. The Python of its .venv is a script here: nothing is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

LOCK = "one==1 \\\n    --hash=sha256:ab\nTwo==2 \\\n    --hash=sha256:cd\nthree==3\n"
INSTALL = """#!/bin/sh
case "$*" in *--editable*) exit 0 ;; esac
cat <<END
Looking in indexes: https://example.org
Collecting one==1 (from -r requirements.lock (line 1))
  Downloading one-1.whl
Requirement already satisfied: Two==2 in ./lib (from -r requirements.lock (line 3))
Processing /my/wheels/three-3.whl (from -r requirements.lock (line 5))
END
"""
DONE = "echo 'Installing collected packages: one, three'\n"
REFUSED = "echo 'ERROR: no index' >&2\nexit 3\n"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "requirements.lock").write_text(LOCK)
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "setup.sh", tmp_path / "tools")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    return tmp_path


def set_up(clone: Path, install: str) -> subprocess.CompletedProcess[str]:
    python = clone / ".venv" / "bin" / "python"
    python.write_text(install)
    python.chmod(0o700)
    return subprocess.run(
        ("sh", "tools/setup.sh", "run"),
        cwd=clone,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_package_is_named_when_it_is_downloaded(clone: Path) -> None:
    """The second set-up has nothing to do, and says nothing."""
    done = set_up(clone, INSTALL + DONE)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "setup: installing the packages of requirements.lock (pinned, with hashes), which takes a minute or two",
        "setup: downloading 1 of 3: one==1",
        "setup: downloading 3 of 3: three-3.whl",
        "setup: unpacking 3 packages, which takes half a minute",
        "setup: installing botctl itself",
    ]
    assert set_up(clone, INSTALL + DONE).stderr == ""


def test_failed_installation_is_an_error_and_repeated(clone: Path) -> None:
    done = set_up(clone, INSTALL + REFUSED)
    assert done.returncode == 1
    assert "ERROR: no index" in done.stderr
    assert done.stderr.endswith("Check that the package index is reachable, then type the same command again.\n")
    assert "downloading 1 of 3" in set_up(clone, INSTALL + DONE).stderr
