"""The end of a `botctl run`: signals, running commands, SIGKILL, and the end of the process with the stores."""

from __future__ import annotations

import re
import resource
import signal
from pathlib import Path

import psutil
import pytest

from tests.support.cli import READY, Project
from tests.support.project_files import SLOW
from tests.support.waiting import wait_for

NEVER_STOPS = """
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from botctl.core.services import service
from botctl.core.services.registry import Registry

# A fifth of the usual time to stop, and of the time after a cancellation.
Registry.add.__kwdefaults__["stop_s"] /= 5
service.GRACE_S /= 5


class Unresponsive:
    pass


@asynccontextmanager
async def unresponsive() -> AsyncIterator[Unresponsive]:
    yield Unresponsive()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""
# For the last calls to stores that have ended.
SHORT = {"BOTCTL_MONGO__TIMEOUT_S": "1", "BOTCTL_REDIS__TIMEOUT_S": "1"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A new bot."""
    return Project(tmp_path / "bot")


class TestStopping:
    @pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_running_commands_finish_after_a_signal(self, project: Project, signum: int, code: int) -> None:
        """New commands are refused in the meantime. No child process is left. SIGTERM: no thread can be started."""
        project.write("commands/slow.py", SLOW)
        with project.run() as process:
            parts = project.parts()
            with project.process("sandbox", "send", "/slow", "--timeout", "20") as sent:
                wait_for((project.root / "entered").exists, what="the command to begin")
                if signum == signal.SIGTERM:
                    leave_no_memory_for_threads(process.pid)
                process.signal(signum)
                wait_for(
                    lambda: "is restarting" in project.call("sandbox", "send", "/ping").out,
                    what="new commands to be refused",
                )
                (project.root / "finish").touch()
                assert sent.wait_for_exit() == 0
                assert "done at last" in sent.output
            assert process.wait_for_exit() == code
        assert set(parts) == {"redis", "mongo", "sandbox", "realtime", "web"}
        assert not any(psutil.pid_exists(pid) for pid in parts.values())
        assert project.parts() == {}

    def test_second_signal_cancels_commands_and_informs_the_user(self, project: Project) -> None:
        """The drain would take a minute; the user does not stay on "thinking…"."""
        project.write("commands/slow.py", SLOW)
        project.add_settings("[shutdown]\ndrain_s = 60\n")
        with project.run() as process, project.process("sandbox", "send", "/stuck", "--timeout", "20") as sent:
            wait_for((project.root / "entered").exists, what="the command to begin")
            process.signal(signal.SIGINT)
            wait_for(lambda: "is restarting" in project.call("sandbox", "send", "/ping").out, what="the drain")
            process.signal(signal.SIGINT)
            assert process.wait_for_exit() == 130
            sent.wait_for_exit()
            assert "thinking" not in sent.output
        assert project.parts() == {}

    def test_service_that_does_not_stop_is_abandoned(self, project: Project) -> None:
        """It ignores its cancellation. The exit code stays that of the signal. Its module is in the project."""
        project.write("unresponsive.py", NEVER_STOPS)
        project.add_settings('[services]\nunresponsive = "unresponsive:unresponsive"\n')
        elsewhere = project.root.parent
        with project.process("run", "--project", "bot", until=READY, folder=elsewhere) as process:
            assert "✓ unresponsive" in process.output
            process.signal(signal.SIGTERM)
            assert process.wait_for_exit() == 143
            assert "unresponsive did not stop in" in process.output
            assert re.search("✗ unresponsive +abandoned", process.output)
        assert project.parts() == {}

    def test_killed_bot_leaves_no_children_and_starts_again(self, project: Project) -> None:
        """SIGKILL: the embedded parts end too (Linux), the data stays, and the next start works."""
        with project.run() as process:
            parts = project.parts()
            assert project.call("settings", "set", "900000000000000001", "locale", "de").code == 0
            process.child.kill()
            process.wait_for_exit()
            wait_for(lambda: not any(_alive(pid) for pid in parts.values()), what="the children's end")
        with project.run():
            assert "Pong! Das" in project.call("sandbox", "send", "/ping").out


class TestTwoProcesses:
    def test_bot_shares_running_stores_and_ends_with_their_owner(self, project: Project) -> None:
        """Exit code 7 for the bot; the owner has the exit code of its signal."""
        with (
            project.process("run", "--only", "stores", until="project") as stores,
            project.process("run", "--only", "bot", until=READY, **SHORT) as bot,
        ):
            assert "Pong!" in project.call("sandbox", "send", "/ping").out
            assert {s["owner_pid"] for s in project.call("stores", "--json").json} == {stores.pid}
            stores.signal(signal.SIGTERM)
            assert stores.wait_for_exit() == 143
            assert bot.wait_for_exit() == 7
            assert f"({stores.pid})" in bot.output


def leave_no_memory_for_threads(pid: int) -> None:
    """Limit the address space of the running process, so that the stack of another thread does not fit."""
    limit = psutil.Process(pid).memory_info().vms + 4_000_000
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
