"""A new bot on a machine: botctl is installed in some way, `botctl init` is typed, then the generated README."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support import ROOT
from tests.support.cli import READY, Process
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
PACKAGES = sysconfig.get_path("purelib")


def call(*words: str | Path, folder: Path) -> str:
    """Call a program; it must succeed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("BOTCTL_")}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def environment(folder: Path) -> Path:
    """The Python of a new virtual environment, which has what botctl needs, but not botctl."""
    call(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    python = folder / "bin" / "python"
    own = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    Path(own, "needed.pth").write_text(PACKAGES)  # it comes after the packages of the environment
    return python


def install(python: Path, *words: str | Path, folder: Path) -> None:
    call(sys.executable, "-m", "pip", "--python", python, "install", "--no-build-isolation", *words, folder=folder)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the repository, with what is not committed, in a folder with a blank in its name."""
    folder = tmp_path_factory.mktemp("source") / "my botctl"
    call("git", "clone", "--quiet", ROOT, folder, folder=folder.parent)
    changed = call("git", "ls-files", "--modified", "--others", "--exclude-standard", folder=ROOT).splitlines()
    for name in (name for name in changed if (ROOT / name).is_file()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    call("git", "add", "--all", folder=folder)
    author = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    call("git", *author, "commit", "--quiet", "--allow-empty", "--message=x", folder=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "../dist", folder=source)
    (found,) = (source.parent / "dist").glob("*.whl")
    return found


@pytest.mark.parametrize("origin", ["wheel", "folder", "editable", "git"])
def test_requirements_of_a_new_bot_install_the_same_botctl(
    source: Path, wheel: Path, tmp_path: Path, origin: str
) -> None:
    """In a fresh environment, as it was installed in the first one."""
    words: dict[str, tuple[str | Path, ...]] = {
        "wheel": (wheel,),
        "folder": (source,),
        "editable": ("--editable", source),
        "git": (f"git+{source.as_uri()}",),
    }
    records = []
    for name, wanted in (("first", words[origin]), ("fresh", ("-r", "first bot/requirements.txt"))):
        python = environment(tmp_path / name)
        install(python, *wanted, folder=tmp_path)
        call(python, "-P", "-m", "botctl", "init", f"{name} bot", folder=tmp_path)
        record = "from importlib.metadata import distribution as d; print(d('botctl').read_text('direct_url.json'))"
        records.append(json.loads(call(python, "-P", "-c", record, folder=tmp_path)))
    assert unquote(records[0]["url"]) == unquote(records[1]["url"])
    assert records[0].get("dir_info") == records[1].get("dir_info")
    first, fresh = ((tmp_path / f"{name} bot" / "requirements.txt").read_text() for name in ("first", "fresh"))
    assert first == fresh


def test_readme_of_a_new_bot_works_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """Everything is installed as the README says, from the package index; botctl is in an environment elsewhere."""
    python = environment(tmp_path / "elsewhere")
    install(python, wheel, folder=tmp_path)
    call(python, "-P", "-m", "botctl", "init", "My Bot", folder=tmp_path)
    bot = tmp_path / "My Bot"
    start, use = re.findall(r"^```sh\n(.*?)^```$", (bot / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    *setting_up, run = start.splitlines()
    for line in setting_up:
        call("sh", "-c", line, folder=bot)
    log = tmp_path / "run.txt"
    with log.open("wb") as out:
        child = subprocess.Popen(("sh", "-c", f"exec {run}"), cwd=bot, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        Process(child, log).wait_for_output(READY)
        for line in use.splitlines():
            call("sh", "-c", f"{line.split('#')[0]} </dev/null", folder=bot)
    finally:
        child.terminate()
        wait_for(lambda: child.poll() is not None, what="the end of the bot")
