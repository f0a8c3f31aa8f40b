"""Whether a disk is full."""

import os
from types import SimpleNamespace

import pytest

from botctl.core.files.disk import ENOUGH_BYTES, full_disk


@pytest.mark.parametrize(
    ("blocks", "entries", "is_full"),
    [((0, 0), (9, 9), True), ((1 << 20, 1 << 20), (9, 0), True), ((1 << 20, 1 << 20), (0, 0), False)],
    ids=["no block", "no entry", "entries are not counted"],
)
def test_full_disk_is_named(monkeypatch, tmp_path, blocks, entries, is_full):
    disk = SimpleNamespace(f_bfree=blocks[0], f_bavail=blocks[1], f_frsize=4096, f_files=entries[0], f_ffree=entries[1])
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    assert full_disk(tmp_path) == (f"the disk of {tmp_path} is full" if is_full else "")


@pytest.mark.parametrize(("user", "is_full"), [(0, False), (1000, True)])
def test_blocks_for_root_are_free_for_root_only(monkeypatch, tmp_path, user, is_full):
    disk = SimpleNamespace(f_bfree=ENOUGH_BYTES, f_bavail=0, f_frsize=1, f_files=9, f_ffree=9)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert bool(full_disk(tmp_path)) is is_full


def test_folder_that_is_missing_is_on_no_full_disk(tmp_path):
    assert full_disk(tmp_path / "none") == ""
