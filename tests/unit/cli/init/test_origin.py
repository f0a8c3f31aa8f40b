"""requirements.txt of a new bot: botctl from where it was installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from botctl.cli.init.origin import requirement, requirements
from tests.support import ROOT

URL = "https://example.org/botctl"


@pytest.mark.parametrize(
    ("direct_url", "line"),
    [
        (None, "botctl==1.2"),
        ({"url": "file:///a%20%C3%BC%24", "dir_info": {}}, "botctl @ file:///a%20%C3%BC%24"),
        ({"url": "file:///my%20src", "dir_info": {}}, "botctl @ file:///my%20src"),
        ({"url": "file:///my%20src", "dir_info": {"editable": True}}, "-e file:///my%20src"),
        ({"url": "file:///w/botctl-1.2.whl", "archive_info": {}}, "botctl @ file:///w/botctl-1.2.whl"),
        ({"url": f"{URL}.whl", "archive_info": {"hashes": {"sha256": "ab"}}}, f"botctl @ {URL}.whl#sha256=ab"),
        ({"url": f"{URL}.whl", "archive_info": {"hash": "sha256=ab"}}, f"botctl @ {URL}.whl#sha256=ab"),
        ({"url": f"{URL}.git", "vcs_info": {"vcs": "git", "commit_id": "c0"}}, f"botctl @ git+{URL}.git@c0"),
        ({"url": "file:///a b", "vcs_info": {"vcs": "git", "commit_id": "c0"}}, "git+file:///a%20b@c0"),
        (
            {"url": "ssh://git@h/b", "vcs_info": {"vcs": "git", "commit_id": "c0"}, "subdirectory": "py"},
            "botctl @ git+ssh://git@h/b@c0#subdirectory=py",
        ),
    ],
    ids=lambda value: value.partition("@")[2] if isinstance(value, str) else "",
)
def test_requirement_names_the_recorded_origin(tmp_path: Path, direct_url: dict[str, Any] | None, line: str) -> None:
    assert requirement(tmp_path / "botctl", "1.2", direct_url) == line


def test_running_checkout_is_required_whatever_is_installed(tmp_path: Path) -> None:
    (tmp_path / "my src").mkdir()
    (tmp_path / "my src" / "pyproject.toml").write_text('[project]\nname = "botctl"\n')
    package, url = tmp_path / "my src" / "botctl", f"file://{tmp_path}/my%20src"
    for installed in (None, {"url": URL, "archive_info": {}}, {"url": url, "dir_info": {}}):
        assert requirement(package, "1.2", installed) == f"botctl @ {url}"
    assert requirement(package, "1.2", {"url": url, "dir_info": {"editable": True}}) == f"-e {url}"


def test_pyproject_of_another_project_is_no_checkout(tmp_path: Path) -> None:
    """A bot that has a copy of botctl in a folder of its own."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "my-bot"\n')
    assert requirement(tmp_path / "botctl", "1.2", None) == "botctl==1.2"


@pytest.mark.soak
def test_pip_accepts_the_requirement_of_this_botctl(tmp_path: Path) -> None:
    """With the comment above it. Nothing is installed: pip reads the metadata of the named folder."""
    (tmp_path / "requirements.txt").write_text(requirements(ROOT / "botctl", "0"))
    command = ("-m", "pip", "install", "--dry-run", "--no-deps", "--no-index", "--no-build-isolation", "--quiet")
    report = ("--ignore-installed", "--report", "-", "-r", "requirements.txt")
    done = subprocess.run(
        (sys.executable, *command, *report), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert f'"url": "{ROOT.as_uri()}"' in done.stdout, done.stderr
