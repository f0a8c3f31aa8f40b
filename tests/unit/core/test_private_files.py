"""What botctl keeps in `.botctl` has its own mode, whatever the umask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from botctl.audit.spool import Spool
from botctl.core.paths import state_folder
from botctl.core.private_files import make_private_folder, write_private
from botctl.core.processes.runtime import Runtime
from botctl.core.telemetry.log_file import LogFile
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.process.secret import load_or_create_secret
from botctl.sandbox.storage import world_file
from botctl.sandbox.storage.attachments import AttachmentStore


@pytest.fixture(params=[0o000, 0o022, 0o077])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    try:
        yield
    finally:
        os.umask(before)


def write_log(folder: Path) -> None:
    log = LogFile(folder / "logs" / "a.jsonl", 1000, 1, warn=lambda _: None)
    log.write(b"x\n")
    log.close()


def hold_lock(folder: Path) -> None:
    runtime = Runtime(folder)
    with runtime.lock("bot"):
        runtime.publish("redis", pid=os.getpid(), address="unix:///x")


WRITERS: dict[str, Callable[[Path], object]] = {
    "world": lambda folder: world_file.save(default_world(), folder / "a" / "b" / "world.json"),
    "attachments": lambda folder: AttachmentStore(folder / "a" / "files").put("1", "text/plain", b"x"),
    "state": state_folder,
    "spool": lambda folder: Spool(folder / "a" / "spool").write([b"{}"]),
    "log": write_log,
    "runtime": hold_lock,
    "secret": lambda folder: load_or_create_secret(folder / "secret"),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.usefixtures("_umask")
def test_files_and_folders_are_private_whatever_the_umask(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    modes = {path: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes
    assert {path: mode for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


def test_existing_file_is_made_private_and_existing_folder_kept(tmp_path: Path) -> None:
    folder, file = tmp_path / "given", tmp_path / "given" / "world.json"
    folder.mkdir()
    folder.chmod(0o755)
    file.write_text("of an older botctl")
    file.chmod(0o644)
    make_private_folder(folder)
    write_private(file, "new")
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o755, 0o600)
    assert file.read_text() == "new"
