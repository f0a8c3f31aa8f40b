"""The state folder: private, ignored by git, and a sentence when it cannot be."""

import errno
from pathlib import Path

import pytest

from botctl.core.errors import BotctlError, ConfigError
from botctl.core.paths import state_folder


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
