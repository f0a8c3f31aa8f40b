"""A file that rotates, is shared by processes, and survives full disks and other people's hands."""

import errno
import multiprocessing
import os
import threading
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from botctl.core.telemetry.log_file import LogFile
from tests.support.clock import ManualClock
from tests.support.waiting import LIMIT_S


class Setup:
    def __init__(self, folder: Path, rotate_bytes: int = 100, keep: int = 2) -> None:
        self.path = folder / "logs" / "botctl.jsonl"
        self.said: list[str] = []
        self.clock = ManualClock()
        self.file = LogFile(self.path, rotate_bytes, keep, warn=self.said.append, clock=self.clock)

    def write(self, text: str) -> None:
        self.file.write(text.encode() + b"\n")

    def old(self) -> list[str]:
        return [path.read_text() for path in sorted(self.path.parent.glob("botctl.*.jsonl"))]


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_line_is_written_immediately_to_a_private_file(setup: Setup) -> None:
    setup.write("one")
    assert setup.path.read_text() == "one\n"
    assert setup.path.stat().st_mode & 0o077 == 0


def test_full_file_is_rotated_and_newest_files_are_kept(setup: Setup) -> None:
    for number in range(5):
        setup.write(f"{number}" * 60)
        setup.clock.advance(0.01)
    assert setup.path.read_text() == "4" * 60 + "\n"
    assert setup.old() == ["2" * 60 + "\n", "3" * 60 + "\n"]
    assert setup.said == []


def test_rotations_in_one_millisecond_do_not_overwrite(setup: Setup) -> None:
    for number in range(3):
        setup.write(f"{number}" * 60)
    assert len(setup.old()) == 2


def test_limit_of_zero_keeps_only_the_current_file(tmp_path: Path) -> None:
    setup = Setup(tmp_path, keep=0)
    for number in range(3):
        setup.write(f"{number}" * 60)
    assert setup.old() == []
    assert setup.path.read_text() == "2" * 60 + "\n"


def test_existing_content_counts_towards_the_size(setup: Setup) -> None:
    setup.write("x" * 60)
    setup.file.close()
    setup.write("y" * 60)
    assert setup.old() == ["x" * 60 + "\n"]


def test_a_line_longer_than_the_limit_is_written_whole(setup: Setup) -> None:
    setup.write("x" * 500)
    assert setup.path.read_text() == "x" * 500 + "\n"


def test_moved_file_is_reopened_within_a_second(setup: Setup) -> None:
    setup.write("one")
    setup.path.rename(setup.path.with_name("theirs"))
    setup.write("two")
    setup.clock.advance(1.0)
    setup.write("three")
    assert setup.path.read_text() == "three\n"
    assert setup.path.with_name("theirs").read_text() == "one\ntwo\n"


def test_writes_of_other_processes_count_within_a_second(setup: Setup) -> None:
    setup.write("one")
    with setup.path.open("a") as other:
        other.write("o" * 90 + "\n")
    setup.clock.advance(1.0)
    setup.write("two is more than fits")
    assert setup.path.read_text() == "two is more than fits\n"


def test_partial_line_of_a_crash_is_completed(setup: Setup) -> None:
    setup.path.parent.mkdir()
    setup.path.write_text('{"half')
    setup.write("whole")
    assert setup.path.read_text() == '{"half\nwhole\n'


def test_line_being_written_is_not_a_partial_line(setup: Setup) -> None:
    """Of a long line the beginning is there before the rest: without the wait, most of these opens see no end."""
    line = b"x" * 500_000 + b"\n"

    def write() -> None:
        with setup.path.open("ab", buffering=0) as other:
            for _ in range(60):
                other.write(line)

    setup.path.parent.mkdir()
    writing = threading.Thread(target=write)
    writing.start()
    while writing.is_alive():
        setup.file._open()
        setup.file.close()
    assert setup.path.stat().st_size == 60 * len(line)


def test_missing_folder_is_reported_once_and_retried(setup: Setup) -> None:
    setup.path.parent.write_text("a file where the folder should be")
    for _ in range(3):
        setup.write("lost")
    setup.clock.advance(10)
    setup.write("lost too")
    assert len(setup.said) == 1
    assert setup.said[0].endswith("botctl.jsonl cannot be written: File exists. The bot runs on without it.")
    setup.path.parent.unlink()
    setup.clock.advance(10)
    setup.write("back")
    assert setup.path.read_text() == "back\n"
    assert setup.said[1].endswith("can be written again. 4 lines were lost.")


def test_full_disk_is_reported_once(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.write("one")
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, line: real(fd, line[:3]))
        setup.write("second")
        patch.setattr(os, "write", lambda _fd, _line: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        setup.write("third")
    assert len(setup.said) == 1
    assert "No space left on device" in setup.said[0]
    setup.clock.advance(10)
    setup.write("fourth")
    assert setup.path.read_text() == "one\nsec\nfourth\n"


def test_file_that_cannot_be_rotated_keeps_growing(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Path, _target: Path) -> Path:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    setup.write("x" * 60)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        setup.write("y" * 60)
        setup.write("z" * 60)
    assert len(setup.path.read_text()) == 183
    assert len(setup.said) == 1
    setup.clock.advance(10)
    setup.write("w" * 60)
    assert setup.path.read_text() == "w" * 60 + "\n"


def _write_many(path: Path, name: str, lines: int, start: Barrier) -> None:
    start.wait(LIMIT_S)
    file = LogFile(path, 20_000, 1000, warn=lambda _sentence: os._exit(9))
    for number in range(lines):
        file.write(f"{name}:{number:05}:{'x' * 80}\n".encode())
    os._exit(0)


def test_two_processes_can_rotate_one_file(tmp_path: Path) -> None:
    path = tmp_path / "botctl.jsonl"
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    writers = [context.Process(target=_write_many, args=(path, name, 4000, start)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    rows = [row for old in tmp_path.glob("*.jsonl") for row in old.read_text().splitlines()]
    expected = {f"{name}:{number:05}:{'x' * 80}" for name in "ab" for number in range(4000)}
    assert len(rows) == 8000
    assert set(rows) == expected
    assert all(old.stat().st_size > 19_800 for old in tmp_path.glob("botctl.*.jsonl")), "put aside before it was full"
