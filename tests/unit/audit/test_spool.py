"""The next start finds spooled entries whole."""

import errno
import os

import pytest

from botctl.audit.spool import Spool


def test_lines_are_read_in_order_of_files(tmp_path):
    spool = Spool(tmp_path / "spool")
    assert spool.files() == []
    first, second = spool.write([b"a", b"b"]), spool.write([b"c"])
    assert spool.files() == [first, second]
    assert [list(Spool.lines(path)) for path in spool.files()] == [[b"a", b"b"], [b"c"]]
    assert oct(first.stat().st_mode)[-3:] == "600"


def test_unfinished_file_is_not_found(tmp_path):
    (tmp_path / "audit-1.part").write_bytes(b"half a li")
    assert Spool(tmp_path).files() == []


def test_failed_write_leaves_no_file(tmp_path, monkeypatch):
    def refuse(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        Spool(tmp_path).write([b"a"])
    assert list(tmp_path.iterdir()) == []


def test_done_file_is_removed_and_bad_file_kept(tmp_path):
    spool = Spool(tmp_path)
    done, bad = spool.write([b"a"]), spool.write([b"b"])
    spool.remove(done)
    spool.remove(done)  # another process was faster
    spool.quarantine(bad)
    assert spool.files() == []
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"b\n"]
    assert list(spool.lines(done)) == []
