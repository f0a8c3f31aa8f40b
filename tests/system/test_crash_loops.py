"""Starts after starts that failed: the pause, its end by a signal, and the loop that a person must end."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from botctl.logins.pauses import LOOP_CRASHES
from tests.support.cli import Project
from tests.support.starts import write_starts
from tests.support.waiting import LIMIT_S


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "bot")


def test_loop_ends_with_78(project: Project) -> None:
    write_starts(project, LOOP_CRASHES, exit_code=1, logins=1)
    ended = project.call_in_new_interpreter("run")
    assert ended.code == 78
    assert f"The bot has crashed {LOOP_CRASHES} times in a row since 20" in ended.err
    assert "each time with: bot did not start: ValueError: boom. That cost 20 logins." in ended.err


def test_pause_is_told_to_systemd_and_a_signal_ends_it(project: Project) -> None:
    """No store runs during it: the starts before had failed before their first login. Its watchdog lets it wait."""
    write_starts(project, 8, exit_code=7, logins=0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        address = str(project.root / "notify")
        systemd.bind(address)
        systemd.settimeout(LIMIT_S)
        env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000000"}
        with project.process("run", until="the last 8 starts crashed", **env) as process:
            told = {systemd.recv(1000).decode().partition(" ")[0] for _ in range(3)}
            assert told == {"WATCHDOG=1", "EXTEND_TIMEOUT_USEC=120000000", "STATUS=waiting"}
            waiting = project.call("health")
            assert (waiting.code, waiting.out.partition(":")[0]) == (1, "waiting")
            assert project.parts() == {}
            process.signal(signal.SIGTERM)
            assert process.wait_for_exit() == 143
