"""The state folder: private, ignored by git, and a sentence when it cannot be."""

import errno
import sys
from pathlib import Path

import pytest

from botctl.cli.boundary import run_guarded
from botctl.cli.program_name import program_name
from botctl.core.errors import BotctlError, ConfigError
from botctl.core.paths import find_root, state_folder


def test_state_folder_is_private_and_ignored_by_git(tmp_path: Path) -> None:
    folder = state_folder(tmp_path)
    assert folder == tmp_path / ".botctl"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"


def test_existing_state_folder_is_made_private(tmp_path: Path) -> None:
    (tmp_path / ".botctl").mkdir(mode=0o755)
    (tmp_path / ".botctl" / "kept").write_text("data")
    folder = state_folder(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "kept").read_text() == "data"


def test_file_in_place_of_the_folder_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / ".botctl").write_text("")
    with pytest.raises(ConfigError, match=r"\.botctl cannot be used"):
        state_folder(tmp_path)


def test_full_disk_is_not_a_config_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(BotctlError, match="No space left") as told:
        state_folder(tmp_path)
    assert (told.value.exit_code, told.value.hint) == (1, "Free space on that disk.")


@pytest.fixture
def deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which does not exist any more."""
    folder = tmp_path / "deleted"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    return folder


@pytest.mark.usefixtures("deleted")
@pytest.mark.parametrize("named", [None, Path("bot")])
def test_deleted_working_folder_is_a_config_error(named: Path | None) -> None:
    with pytest.raises(ConfigError, match=r"working directory .* has been deleted"):
        find_root(named, {})


@pytest.mark.usefixtures("deleted")
@pytest.mark.parametrize("program", ["botctl", "./bin/botctl", sys.executable])
def test_project_with_an_absolute_path_needs_no_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "botctl.toml").touch()
    assert find_root(None, {"BOTCTL_PROJECT": str(tmp_path)}) == tmp_path
    assert program_name()


@pytest.mark.usefixtures("deleted")
def test_any_relative_path_in_a_deleted_folder_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Such as that of --secret-file, or of `init`."""
    for use in (lambda: Path("secret").resolve(), Path("x").stat, Path.cwd):
        assert run_guarded(use) == 78
        assert "working directory of this terminal has been deleted" in capsys.readouterr().err
