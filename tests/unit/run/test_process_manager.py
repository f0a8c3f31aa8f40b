"""Messages to PM2 and systemd, and messages from PM2; no fault in their channels breaks the bot."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from botctl.run.process_manager import connect_supervisor, pm2_warnings
from tests.support.waiting import LIMIT_S

GOOD_OPTIONS = {"pm_id": "0", "kill_timeout": "180000", "treekill": "false"}


@contextlib.contextmanager
def pm2() -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """PM2's end of the channel, and the environment of the process that it forked."""
    theirs, ours = socket.socketpair()
    ours.set_inheritable(True)
    with theirs:
        theirs.settimeout(LIMIT_S)
        yield theirs, {"NODE_CHANNEL_FD": str(ours.detach()), "NODE_CHANNEL_SERIALIZATION_MODE": "json"}


class Shutdowns:
    """Counts the shutdown requests."""

    def __init__(self) -> None:
        self.count = 0
        self.first = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self.first.set()


async def test_pm2_is_sent_ready_and_nothing_before() -> None:
    with pm2() as (theirs, env):
        with connect_supervisor(Shutdowns(), env) as supervisor:
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(1)
            supervisor.notify_ready()
            supervisor.notify_stopping()
            assert theirs.recv(100) == b'"ready"\n'
        assert theirs.recv(1) == b""


async def test_children_do_not_inherit_the_channel() -> None:
    """Neither the variables nor the descriptor: a Node child would use it as its own."""
    with pm2() as (_, env):
        descriptor = int(env["NODE_CHANNEL_FD"])
        env["NOTIFY_SOCKET"] = "/nowhere"
        with connect_supervisor(Shutdowns(), env):
            assert env == {}
            assert not os.get_inheritable(descriptor)


@pytest.mark.parametrize(
    "pieces", [[b'"shutdown"\n'], [b'{"a":1}\nnonsense\n"shut', b'down"\n'], [b'"shutdown"\n[]\n']]
)
async def test_shutdown_message_requests_shutdown_once(pieces: list[bytes]) -> None:
    """In one piece or several, and among other messages."""
    shutdowns = Shutdowns()
    with pm2() as (theirs, env), connect_supervisor(shutdowns, env):
        for piece in pieces:
            theirs.sendall(piece)
            for _ in range(3):
                await asyncio.sleep(0)
        async with asyncio.timeout(LIMIT_S):
            await shutdowns.first.wait()
    assert shutdowns.count == 1


async def test_other_messages_are_ignored() -> None:
    """Other JSON, invalid JSON, JSON that is nested too deep, a line without an end."""
    shutdowns = Shutdowns()
    with pm2() as (theirs, env), connect_supervisor(shutdowns, env):
        for line in (
            b'"shutdowns"\n',
            b'["shutdown"]\n',
            b"\xff\n",
            b"[" * 30_000 + b"\n",
            b"x" * 100_000,
            b'\n"shutdown"\n',
        ):
            await asyncio.get_running_loop().run_in_executor(None, theirs.sendall, line)
        async with asyncio.timeout(LIMIT_S):
            await shutdowns.first.wait()
    assert shutdowns.count == 1


async def test_end_of_pm2_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with pm2() as (theirs, env), connect_supervisor(Shutdowns(), env) as supervisor:
        theirs.close()
        for _ in range(10):
            await asyncio.sleep(0)
        supervisor.notify_ready()
    assert [record.message for record in caplog.records] == ["PM2 has ended; this process continues without it"]


@pytest.mark.parametrize("number", ["", "x", "-1", "2", "99999", "9" * 30, "٣"])
async def test_missing_descriptor_is_ignored(number: str) -> None:
    with connect_supervisor(Shutdowns(), {"NODE_CHANNEL_FD": number}) as supervisor:
        supervisor.notify_ready()


async def test_descriptor_opened_by_this_process_is_not_used() -> None:
    """The variable is stale: the number belongs to another socket of this process by now."""
    mine, other = socket.socketpair()
    with mine, other:
        with connect_supervisor(Shutdowns(), {"NODE_CHANNEL_FD": str(mine.fileno())}) as supervisor:
            supervisor.notify_ready()
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
        mine.send(b"still open")


async def test_inherited_descriptor_that_is_no_stream_is_not_used(tmp_path: Path) -> None:
    """A file and a datagram socket are neither written to nor closed."""
    with (tmp_path / "file").open("wb") as file, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for descriptor in (file.fileno(), other.fileno()):
            os.set_inheritable(descriptor, True)
            with connect_supervisor(Shutdowns(), {"NODE_CHANNEL_FD": str(descriptor)}) as supervisor:
                supervisor.notify_ready()
            os.fstat(descriptor)
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize(
    "abstract", [False, pytest.param(True, marks=pytest.mark.xfail(sys.platform != "linux", reason="unix(7)"))]
)
async def test_systemd_is_sent_ready_and_stopping(abstract: bool, tmp_path: Path) -> None:
    """Through its datagram socket, at a path or in Linux's abstract namespace."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name if abstract else name)
        systemd.settimeout(LIMIT_S)
        with connect_supervisor(Shutdowns(), {"NOTIFY_SOCKET": "@" + name if abstract else name}) as supervisor:
            supervisor.notify_ready()
            assert systemd.recv(100) == b"READY=1\nSTATUS=running"
            supervisor.notify_stopping()
            assert systemd.recv(100) == b"STOPPING=1"


async def test_systemd_is_told_that_a_start_goes_on_and_why(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        systemd.settimeout(LIMIT_S)
        with connect_supervisor(Shutdowns(), {"NOTIFY_SOCKET": name}) as supervisor:
            supervisor.extend_start()
            assert systemd.recv(100) == b"EXTEND_TIMEOUT_USEC=120000000"
            supervisor.notify_status("logins: waiting\nREADY=1")
            assert systemd.recv(100) == b"STATUS=logins: waiting READY=1", "one line: each line is a message of its own"


@pytest.mark.parametrize(
    ("usec", "pid", "every_s"),
    [
        ("60000000", "", 10.0),
        ("6000000", "own", 2.0),
        ("6000000", "1", None),  # systemd watches another process
        ("", "", None),
        ("0", "", None),
        ("-5", "", None),
        ("nan", "", None),
        ("9" * 400, "", None),
        ("soon", "", None),
    ],
)
async def test_watchdog_of_systemd_hears_three_signs_in_its_time(
    usec: str, pid: str, every_s: float | None, tmp_path: Path
) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        systemd.settimeout(LIMIT_S)
        env = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": usec, "WATCHDOG_PID": str(os.getpid()) if pid == "own" else pid}
        with connect_supervisor(Shutdowns(), env) as supervisor:
            assert env == {}, "a child must not take them for its own"
            assert supervisor.alive_every_s == every_s
            supervisor.notify_alive()
            assert systemd.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("path", ["", "/nowhere/notify", "x" * 200, "a\0b"])
async def test_missing_systemd_socket_is_ignored(path: str) -> None:
    with connect_supervisor(Shutdowns(), {"NOTIFY_SOCKET": path}) as supervisor:
        supervisor.notify_ready()
        supervisor.notify_stopping()


def test_no_warnings_without_pm2_or_with_good_options() -> None:
    assert pm2_warnings({}, max_stop_s=70) == []
    assert pm2_warnings(GOOD_OPTIONS, max_stop_s=70) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"kill_timeout": ""}, "1.6 s after it asks it to stop, but a stop may take 70 s: set kill_timeout to 70000"),
        ({"kill_timeout": "69999"}, "kill_timeout"),
        ({"kill_timeout": "long"}, "kill_timeout"),
        ({"treekill": "true"}, "treekill"),
    ],
)
def test_each_unsuitable_pm2_option_has_a_warning(changed: dict[str, str], words: str) -> None:
    (warning,) = pm2_warnings(GOOD_OPTIONS | changed, max_stop_s=70)
    assert words in warning
