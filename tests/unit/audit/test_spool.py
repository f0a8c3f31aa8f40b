"""What was not written before the end is found whole by the next start."""

from botctl.audit.spool import Spool


def test_lines_come_back_in_order_of_the_files(tmp_path):
    spool = Spool(tmp_path / "spool")
    assert spool.files() == []
    first, second = spool.put([b"a", b"b"]), spool.put([b"c"])
    assert spool.files() == [first, second]
    assert [list(Spool.lines(path)) for path in spool.files()] == [[b"a", b"b"], [b"c"]]
    assert oct(first.stat().st_mode)[-3:] == "600"


def test_a_file_that_is_not_finished_is_not_found(tmp_path):
    (tmp_path / "audit-1.part").write_bytes(b"half a li")
    assert Spool(tmp_path).files() == []


def test_what_is_done_is_gone_and_what_cannot_be_read_is_kept(tmp_path):
    spool = Spool(tmp_path)
    done, bad = spool.put([b"a"]), spool.put([b"b"])
    spool.done(done)
    spool.done(done)  # another process was faster
    spool.set_aside(bad)
    assert spool.files() == []
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"b\n"]
    assert list(spool.lines(done)) == []
