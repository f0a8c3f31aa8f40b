"""The files that `botctl init` writes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from botctl.cli.init.scaffold import bot_name, create
from botctl.core.errors import BotctlError, NeedsDecision


def test_new_bot_is_named_after_its_folder(tmp_path: Path) -> None:
    create(tmp_path / "My Bot")
    assert 'bot = "my-bot"' in (tmp_path / "My Bot" / "config" / "botctl.toml").read_text()


def test_all_files_exist_and_git_ignores_secrets(tmp_path: Path) -> None:
    written = create(tmp_path)
    assert {"config/botctl.toml", "commands/ping.py", ".gitignore", ".env.example"} <= {str(p) for p in written}
    assert all((tmp_path / path).is_file() for path in written)
    assert {".env", "/secrets/", ".botctl/"} <= set((tmp_path / ".gitignore").read_text().splitlines())


def test_readme_explains_the_start_and_existing_one_is_kept(tmp_path: Path) -> None:
    create(tmp_path / "My Bot")
    text = (tmp_path / "My Bot" / "README.md").read_text()
    assert text.startswith("# my-bot\n")
    for words in ("pip install -r requirements.txt", "botctl run", "--explain-config", "ecosystem.config.js"):
        assert words in text
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("mine")
    assert Path("README.md") not in create(tmp_path / "other")
    assert (tmp_path / "other" / "README.md").read_text() == "mine"


def test_files_do_not_refer_to_the_docs_folder(tmp_path: Path) -> None:
    """A new bot has no docs/ of its own."""
    for path in create(tmp_path):
        text = (tmp_path / path).read_text()
        assert "docs/" not in text.replace("docs/pm2.md of botctl", ""), path


def test_existing_file_prevents_every_write(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    mine = tmp_path / "commands" / "ping.py"
    mine.write_text("mine")
    with pytest.raises(NeedsDecision, match=r"already has commands/ping\.py; nothing was written"):
        create(tmp_path)
    assert mine.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [mine.parent]


def test_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BotctlError, match="cannot be written"):
        create(tmp_path / "file" / "bot")


def test_full_disk_leaves_nothing_that_stops_the_next_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = Path.write_text, []

    def fill(path: Path, text: str, **options: str) -> int:
        written.append(path)
        if len(written) > 3:
            write(path, "", **options)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, text, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fill)
        with pytest.raises(BotctlError, match="No space left") as caught:
            create(tmp_path)
    assert caught.value.hint == "Free space on that disk."
    assert create(tmp_path)


@pytest.mark.parametrize(("folder", "name"), [("My Bot", "my-bot"), ("--x--", "x"), ("é", "bot"), ("a" * 40, "a" * 32)])
def test_bot_name_is_always_a_valid_setting(folder: str, name: str) -> None:
    assert bot_name(Path("/tmp") / folder) == name
