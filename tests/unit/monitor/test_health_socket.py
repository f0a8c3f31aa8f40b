"""The health sockets of several processes of a project, and who asks them: real sockets, in this process."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from botctl.core.contracts.health import Health
from botctl.core.errors import ConfigError
from botctl.core.processes.runtime import Run, Runtime
from botctl.monitor import health_client, health_socket
from botctl.monitor.health_client import Heard, hear_processes, socket_address, socket_name, unheard
from tests.support.waiting import LIMIT_S, expires, wait_for

SHORT_S = expires(0.1)  # it is to expire


def runtime_of(root: Path) -> Runtime:
    root.mkdir(parents=True, exist_ok=True)
    return Runtime(root)


@contextmanager
def answering(runtime: Runtime, *roles: str, answer: Callable[[], bytes] | None = None) -> Iterator[None]:
    """A process with ``roles``: their locks, and its socket."""
    text = json.dumps({"proc": "vm:1", "roles": roles}).encode()
    with ExitStack() as stack:
        for role in roles:
            stack.enter_context(runtime.lock(role))
        stack.enter_context(health_socket.health_socket(runtime.folder, roles, answer or (lambda: text)))
        yield


def roles_of(heard: Heard) -> list[list[str]]:
    return [answer["roles"] for answer in heard.answers]


@pytest.mark.parametrize("depth", [1, 5], ids=["short path", "path longer than a socket's address"])
def test_all_processes_of_a_project_answer(tmp_path: Path, depth: int) -> None:
    runtime = runtime_of(tmp_path.joinpath(*["a-long-name-of-a-folder"] * depth))
    with answering(runtime, "jobs", "bot"), answering(runtime, "web"):
        sockets = sorted(path.name for path in runtime.folder.glob("*.sock"))
        assert sockets == ["health-bot.sock", "health-web.sock"]
        assert stat.S_IMODE((runtime.folder / "health-bot.sock").stat().st_mode) == 0o600
        heard = hear_processes(runtime, limit_s=LIMIT_S)
    assert (sorted(roles_of(heard)), heard.silent) == ([["jobs", "bot"], ["web"]], ())
    assert list(runtime.folder.glob("*.sock")) == []
    assert hear_processes(runtime, limit_s=LIMIT_S) == Heard()


def test_project_that_never_ran_has_no_processes(tmp_path: Path) -> None:
    assert hear_processes(Runtime(tmp_path, read_only=True), limit_s=LIMIT_S) == Heard()
    assert list(tmp_path.iterdir()) == []


def test_sockets_of_killed_processes_are_harmless_and_removed(tmp_path: Path) -> None:
    runtime = runtime_of(tmp_path)
    for role in ("bot", "web"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(runtime.folder / f"health-{role}.sock"))
    assert hear_processes(runtime, limit_s=LIMIT_S) == Heard()
    with answering(runtime, "bot", "web"):
        assert [path.name for path in runtime.folder.glob("*.sock")] == ["health-bot.sock"]
        assert roles_of(hear_processes(runtime, limit_s=LIMIT_S)) == [["bot", "web"]]
    assert list(runtime.folder.glob("*.sock")) == []


@pytest.mark.parametrize("callers_before", [0, 64], ids=["it took the connection", "its backlog is full"])
def test_frozen_process_is_silent(tmp_path: Path, callers_before: int) -> None:
    """The kernel takes connections for it, until its backlog is full. Another process is heard all the same."""
    runtime = runtime_of(tmp_path)
    with ExitStack() as stack:
        stack.enter_context(runtime.lock("bot"))
        stack.enter_context(answering(runtime, "web"))
        frozen = stack.enter_context(socket.socket(socket.AF_UNIX))
        frozen.bind(str(runtime.folder / "health-bot.sock"))
        frozen.listen(1)
        for _ in range(callers_before):
            before = stack.enter_context(socket.socket(socket.AF_UNIX))
            before.setblocking(False)
            before.connect_ex(str(runtime.folder / "health-bot.sock"))
        heard = hear_processes(runtime, limit_s=SHORT_S)
    assert roles_of(heard) == [["web"]]
    assert heard.silent == (Run(os.getpid(), ("bot",)),)
    finding = unheard(heard.silent[0])
    assert (finding.verdict, finding.restart_helps) == (Health.BLOCKED, True)


def test_socket_without_a_lock_that_is_seen_counts(tmp_path: Path) -> None:
    """A process in another container, whose process ids mean nothing here."""
    runtime = runtime_of(tmp_path)
    with health_socket.health_socket(runtime.folder, ["jobs"], lambda: b"not JSON"):
        assert hear_processes(runtime, limit_s=SHORT_S) == Heard(silent=(Run(None, ("jobs",)),))


def test_process_that_has_just_taken_its_role_is_waited_for(tmp_path: Path) -> None:
    runtime = runtime_of(tmp_path)
    heard: list[Heard] = []
    asking = threading.Thread(target=lambda: heard.append(hear_processes(runtime, limit_s=LIMIT_S)))
    with runtime.lock("bot"):
        asking.start()
        with health_socket.health_socket(runtime.folder, ["bot"], lambda: b'{"roles": ["bot"]}'):
            asking.join()
    assert roles_of(heard[0]) == [["bot"]]


def test_process_without_a_socket_is_silent_and_warned_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk has no room for a socket's file. The run goes on."""
    runtime = runtime_of(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(health_socket, "_listen", full)
    with answering(runtime, "bot"):
        heard = hear_processes(runtime, limit_s=SHORT_S)
    assert heard == Heard(silent=(Run(os.getpid(), ("bot",)),))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "No space left on device" in record.message


def test_failing_answer_is_logged_and_the_thread_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runtime = runtime_of(tmp_path)
    text = b'{"roles": ["bot"]}'
    answers = [text]
    with answering(runtime, "bot", answer=answers.pop):
        assert roles_of(hear_processes(runtime, limit_s=LIMIT_S)) == [["bot"]]
        assert hear_processes(runtime, limit_s=SHORT_S).silent
        wait_for(lambda: bool(caplog.records), what="the log line")
        answers.append(text)
        assert roles_of(hear_processes(runtime, limit_s=LIMIT_S)) == [["bot"]]


def test_sockets_of_another_user_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Denied(socket.socket):
        def connect_ex(self, _address: object) -> int:
            return errno.EACCES

    monkeypatch.setattr(health_client.socket, "socket", Denied)
    with pytest.raises(ConfigError, match="cannot be used: Permission denied"):
        hear_processes(runtime_of(tmp_path), limit_s=LIMIT_S)


def test_long_path_has_a_short_address_on_every_system(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["a-long-name-of-a-folder"] * 5)
    folder.mkdir(parents=True)
    for platform in ("linux", "darwin"):
        with socket_address(folder, "health-realtime.sock", platform=platform) as address:
            assert len(os.fsencode(address)) <= 100
    Path(address).parent.rmdir()


def test_socket_is_named_after_the_first_role() -> None:
    assert socket_name(("web", "jobs")) == "health-jobs.sock"
