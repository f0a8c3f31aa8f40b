"""Each check of the machine: well, and broken."""

import errno
import os
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from botctl.doctor import machine_probe
from botctl.doctor.finding import Mark
from botctl.doctor.machine import (
    ClockEvidence,
    DescriptorEvidence,
    DiskEvidence,
    FileMode,
    PortEvidence,
    RunEvidence,
    VersionEvidence,
    assess_clock,
    assess_descriptors,
    assess_disk,
    assess_modes,
    assess_port,
    assess_runs,
    assess_versions,
    satisfies,
)

GB = 10**9


def versions(**changes):
    seen = {
        "python": "3.11.7",
        "python_wanted": ">=3.11,<3.14",
        "botctl": "0.1.0",
        "disnake": "2.12.2",
        "disnake_wanted": ">=2.12.2,<2.13",
    }
    return [finding.mark for finding in assess_versions(VersionEvidence(**{**seen, **changes}))]


def test_versions():
    assert versions() == [Mark.OK, Mark.OK]
    assert versions(python="3.10.4") == [Mark.FAULT, Mark.OK]
    assert versions(python="3.14.0") == [Mark.FAULT, Mark.OK]
    assert versions(disnake="2.13.0") == [Mark.OK, Mark.FAULT]
    assert versions(disnake=None) == [Mark.OK, Mark.FAULT]


def test_versions_of_this_environment_are_those_of_the_package():
    seen = machine_probe.read_versions()
    assert "" not in (seen.python_wanted, seen.disnake_wanted)
    assert [finding.mark for finding in assess_versions(seen)] == [Mark.OK, Mark.OK]


@given(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20)), st.integers(0, 20))
def test_a_version_is_in_a_range_or_outside(version, major):
    text = ".".join(map(str, version))
    assert satisfies(text, f">={major}") != satisfies(text, f"<{major}")
    assert satisfies(text, f"=={text},<={text},>={text}")


def test_files_are_for_their_owner_alone():
    private = FileMode(".env", stat.S_IFREG | 0o600, 1000)
    (well,) = assess_modes([private], uid=1000)
    assert well.mark is Mark.OK
    (open_,) = assess_modes([private, FileMode(".env", stat.S_IFREG | 0o640, 1000)], uid=1000)
    assert (open_.mark, open_.mend) == (Mark.FAULT, "chmod go= .env")
    assert "0640" in open_.sentence
    (foreign,) = assess_modes([private], uid=1001)
    assert foreign.mark is Mark.FAULT
    assert "chown 1001" in foreign.mend
    assert assess_modes([private], uid=0)[0].mark is Mark.OK
    assert assess_modes([], uid=1000)[0].mark is Mark.OK


def test_modes_are_read_of_the_files_that_exist(tmp_path: Path):
    (tmp_path / ".env").touch(mode=0o604)
    (tmp_path / ".env").chmod(0o604)
    (seen,) = machine_probe.read_modes(tmp_path, [tmp_path / ".env", tmp_path / "none"])
    assert (seen.path, stat.S_IMODE(seen.mode), seen.uid) == (".env", 0o604, os.geteuid())


def test_disk_has_space_and_inodes():
    def mark(free_bytes, free_inodes):
        return assess_disk(DiskEvidence(("logs",), free_bytes, free_inodes, 60_000_000)).mark

    assert mark(GB, 10_000) is Mark.OK
    assert mark(GB, None) is Mark.OK  # btrfs counts none
    assert mark(250_000_000, 10_000) is Mark.FAULT  # enough for the stores, but not for the log
    assert mark(GB, 12) is Mark.FAULT


def test_folders_on_one_disk_are_one_line(tmp_path: Path):
    (seen,) = machine_probe.read_disks(tmp_path, [tmp_path / "logs", tmp_path / ".botctl"], log_bytes=1)
    assert seen.folders == ("logs", ".botctl")
    assert seen.free_bytes > 0


def test_clock_is_compared_within_what_the_answer_explains():
    assert assess_clock(ClockEvidence(4.0, 0.6)).mark is Mark.OK
    assert assess_clock(ClockEvidence(-7.0, 3.0)).mark is Mark.OK  # a slow answer
    ahead, behind = assess_clock(ClockEvidence(90.0, 0.6)), assess_clock(ClockEvidence(-3600.0, 0.6))
    assert (ahead.mark, behind.mark) == (Mark.FAULT, Mark.FAULT)
    assert "90 s ahead of" in ahead.sentence
    assert "3600 s behind" in behind.sentence


def test_descriptors_suffice_for_the_connections():
    assert assess_descriptors(DescriptorEvidence("this shell", 1024, 800, 600)).mark is Mark.OK
    assert assess_descriptors(DescriptorEvidence("this shell", None, 800, 600)).mark is Mark.OK
    few = assess_descriptors(DescriptorEvidence("process 12", 1024, 2667, 2000))
    assert few.mark is Mark.FAULT
    assert "LimitNOFILE=2667" in few.mend


def test_descriptors_are_those_of_the_running_process():
    assert machine_probe.read_descriptors(os.getpid(), needed=1, connections=1).whose == f"process {os.getpid()}"
    assert machine_probe.read_descriptors(None, needed=1, connections=1).whose == "this shell"
    assert machine_probe.read_descriptors(2**22 + 1, needed=1, connections=1).whose == "this shell"


def test_port_is_free_or_ours():
    assert assess_port(PortEvidence("127.0.0.1", 0, None), setting="web").mark is Mark.OK
    assert assess_port(PortEvidence("127.0.0.1", 8080, None), setting="web").mark is Mark.OK
    assert assess_port(PortEvidence("127.0.0.1", 8080, None, 12), setting="web").mark is Mark.OK
    taken = assess_port(PortEvidence("127.0.0.1", 8080, errno.EADDRINUSE), setting="web")
    assert (taken.mark, "another program" in taken.sentence) == (Mark.FAULT, True)
    denied = assess_port(PortEvidence("127.0.0.1", 80, errno.EACCES), setting="web")
    assert (denied.mark, "permission denied" in denied.sentence) == (Mark.FAULT, True)


def test_port_is_looked_at_for_real():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert machine_probe.read_port("127.0.0.1", port, []).error == errno.EADDRINUSE
        assert machine_probe.read_port("127.0.0.1", port, [os.getpid()]).holder == os.getpid()
    assert machine_probe.read_port("127.0.0.1", port, [os.getpid()]) == PortEvidence("127.0.0.1", port, None)
    assert machine_probe.read_port("192.0.2.1", port, []).error == errno.EADDRNOTAVAIL


def test_runs_are_named_with_their_roles():
    assert assess_runs([])[0].mark is Mark.UNKNOWN
    (run,) = assess_runs([RunEvidence(12, ("bot", "jobs"), datetime(2026, 1, 2, tzinfo=UTC))])
    assert run.mark is Mark.OK
    assert run.sentence == "process 12 has the roles bot, jobs, since 2026-01-02 00:00:00"
    assert "a process has the roles bot" in assess_runs([RunEvidence(None, ("bot",), None)])[0].sentence


def test_the_start_of_a_run_is_read_or_not_known():
    assert machine_probe.read_run(os.getpid(), ["bot"]).since is not None
    assert machine_probe.read_run(None, ["bot"]).since is None
    assert machine_probe.read_run(2**22 + 1, ["bot"]).since is None
