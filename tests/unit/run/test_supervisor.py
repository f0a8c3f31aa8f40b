"""What is said to PM2 and to systemd, and what is heard from PM2; nothing that is broken there breaks the bot."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from botctl.run.supervisor import supervised, warnings

FITTING = {"pm_id": "0", "kill_timeout": "180000", "treekill": "false", "restart_delay": "90000"}


@contextlib.contextmanager
def pm2() -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """PM2's end of the channel, and the environment of the process that it forked."""
    theirs, ours = socket.socketpair()
    ours.set_inheritable(True)
    with theirs:
        theirs.settimeout(5)
        yield theirs, {"NODE_CHANNEL_FD": str(ours.detach()), "NODE_CHANNEL_SERIALIZATION_MODE": "json"}


class Shutdowns:
    """How often the end was asked for."""

    def __init__(self) -> None:
        self.count = 0
        self.first = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self.first.set()


async def test_pm2_is_told_ready_and_nothing_before() -> None:
    """As a JSON string on a line of its own."""
    with pm2() as (theirs, env):
        with supervised(Shutdowns(), env) as supervisor:
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(1)
            supervisor.ready()
            supervisor.stopping()
            assert theirs.recv(100) == b'"ready"\n'
        assert theirs.recv(1) == b""


async def test_children_hear_nothing_of_the_channel() -> None:
    """Neither the variables nor the descriptor: a Node child would take it for its own."""
    with pm2() as (_, env):
        descriptor = int(env["NODE_CHANNEL_FD"])
        env["NOTIFY_SOCKET"] = "/nowhere"
        with supervised(Shutdowns(), env):
            assert env == {}
            assert not os.get_inheritable(descriptor)


@pytest.mark.parametrize(
    "pieces", [[b'"shutdown"\n'], [b'{"a":1}\nnonsense\n"shut', b'down"\n'], [b'"shutdown"\n[]\n']]
)
async def test_the_message_shutdown_asks_for_the_end(pieces: list[bytes]) -> None:
    """Whole or in pieces, among others that mean nothing to us."""
    shutdowns = Shutdowns()
    with pm2() as (theirs, env), supervised(shutdowns, env):
        for piece in pieces:
            theirs.sendall(piece)
            for _ in range(3):
                await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await shutdowns.first.wait()
    assert shutdowns.count == 1


async def test_other_messages_are_passed_over() -> None:
    """Other JSON, no JSON, JSON that is too deep, a line without an end."""
    shutdowns = Shutdowns()
    with pm2() as (theirs, env), supervised(shutdowns, env):
        for line in (
            b'"shutdowns"\n',
            b'["shutdown"]\n',
            b"\xff\n",
            b"[" * 30_000 + b"\n",
            b"x" * 100_000,
            b'\n"shutdown"\n',
        ):
            await asyncio.get_running_loop().run_in_executor(None, theirs.sendall, line)
        async with asyncio.timeout(5):
            await shutdowns.first.wait()
    assert shutdowns.count == 1


async def test_a_pm2_that_has_gone_is_a_word_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Once, not in a loop; the bot goes on and may still get ready."""
    with pm2() as (theirs, env), supervised(Shutdowns(), env) as supervisor:
        theirs.close()
        for _ in range(10):
            await asyncio.sleep(0)
        supervisor.ready()
    assert [record.message for record in caplog.records] == ["PM2 has gone; this process goes on without it"]


@pytest.mark.parametrize("number", ["", "x", "-1", "2", "99999", "9" * 30, "٣"])
async def test_a_descriptor_that_does_not_exist_is_no_error(number: str) -> None:
    """Whatever the variable says."""
    with supervised(Shutdowns(), {"NODE_CHANNEL_FD": number}) as supervisor:
        supervisor.ready()


async def test_a_descriptor_of_our_own_is_left_alone() -> None:
    """The variable outlived its descriptor, and the number is now the socket of something else in this process."""
    mine, other = socket.socketpair()
    with mine, other:
        with supervised(Shutdowns(), {"NODE_CHANNEL_FD": str(mine.fileno())}) as supervisor:
            supervisor.ready()
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
        mine.send(b"still open")


async def test_what_was_handed_down_and_is_no_stream_is_left_alone(tmp_path: Path) -> None:
    """A file, and a socket of another kind: neither is written to or closed."""
    with (tmp_path / "file").open("wb") as file, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for descriptor in (file.fileno(), other.fileno()):
            os.set_inheritable(descriptor, True)
            with supervised(Shutdowns(), {"NODE_CHANNEL_FD": str(descriptor)}) as supervisor:
                supervisor.ready()
            os.fstat(descriptor)
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize(
    "abstract", [False, pytest.param(True, marks=pytest.mark.xfail(sys.platform != "linux", reason="unix(7)"))]
)
async def test_systemd_is_told_ready_and_stopping(abstract: bool, tmp_path: Path) -> None:
    """Over its datagram socket, at a path or in Linux's abstract namespace."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name if abstract else name)
        systemd.settimeout(5)
        with supervised(Shutdowns(), {"NOTIFY_SOCKET": "@" + name if abstract else name}) as supervisor:
            supervisor.ready()
            assert systemd.recv(100) == b"READY=1"
            supervisor.stopping()
            assert systemd.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("path", ["", "/nowhere/notify", "x" * 200, "a\0b"])
async def test_a_systemd_that_is_not_there_is_no_error(path: str) -> None:
    """Nobody listens, or nobody could."""
    with supervised(Shutdowns(), {"NOTIFY_SOCKET": path}) as supervisor:
        supervisor.ready()
        supervisor.stopping()


def test_nothing_is_wrong_without_pm2_or_with_our_own_options() -> None:
    """The warnings are for other ways to start botctl under PM2."""
    assert warnings({}, stop_s=70) == []
    assert warnings(FITTING, stop_s=70) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"kill_timeout": ""}, "after 1.6 s of stopping, which may take 70 s: set kill_timeout to 70000"),
        ({"kill_timeout": "69999"}, "kill_timeout"),
        ({"kill_timeout": "long"}, "kill_timeout"),
        ({"treekill": "true"}, "treekill"),
        ({"restart_delay": ""}, "restart_delay"),
        ({"restart_delay": "86399"}, "restart_delay"),
    ],
)
def test_options_of_pm2_that_do_not_suit_a_bot_are_named(changed: dict[str, str], words: str) -> None:
    """Each in a sentence that says what to set."""
    (found,) = warnings(FITTING | changed, stop_s=70)
    assert words in found
