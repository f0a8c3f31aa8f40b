"""The end of a `botctl run`: signals, commands in flight, a kill -9, the end of who keeps the stores."""

from __future__ import annotations

import re
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

# What a service has to stop of itself, and then of its cancellation: a fifth of what it is.
Registry.add.__kwdefaults__["stop_s"] /= 5
service.GRACE_S /= 5


class Stubborn:
    pass


@asynccontextmanager
async def stubborn() -> AsyncIterator[Stubborn]:
    yield Stubborn()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""
# For what is tried at the end on stores that are gone.
SHORT = {"BOTCTL_MONGO__TIMEOUT_S": "1", "BOTCTL_REDIS__TIMEOUT_S": "1"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A new bot."""
    return Project(tmp_path / "bot")


class TestStopping:
    """Signals, and what becomes of commands in flight."""

    @pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_commands_in_flight_finish(self, project: Project, signum: int, code: int) -> None:
        """New work is refused meanwhile; nothing of ours is left running."""
        project.write("commands/slow.py", SLOW)
        with project.run() as process:
            parts = project.parts()
            with project.process("sandbox", "send", "/slow", "--timeout", "20") as sent:
                wait_for((project.root / "entered").exists, what="the command to begin")
                process.signal(signum)
                wait_for(
                    lambda: "is restarting" in project.call("sandbox", "send", "/ping").out, what="new work refused"
                )
                (project.root / "finish").touch()
                assert sent.ended() == 0
                assert "done at last" in sent.said
            assert process.ended() == code
        assert set(parts) == {"redis", "mongo", "sandbox", "realtime"}
        assert not any(psutil.pid_exists(pid) for pid in parts.values())
        assert project.parts() == {}

    def test_a_second_signal_does_not_wait_and_the_person_is_told(self, project: Project) -> None:
        """The drain would take a minute; nobody stays on "thinking…"."""
        project.write("commands/slow.py", SLOW)
        project.settings("[shutdown]\ndrain_s = 60\n")
        with project.run() as process, project.process("sandbox", "send", "/stuck", "--timeout", "20") as sent:
            wait_for((project.root / "entered").exists, what="the command to begin")
            process.signal(signal.SIGINT)
            wait_for(lambda: "is restarting" in project.call("sandbox", "send", "/ping").out, what="the drain")
            process.signal(signal.SIGINT)
            assert process.ended(limit_s=20) == 130
            sent.ended()
            assert "thinking" not in sent.said
        assert project.parts() == {}

    def test_a_service_that_will_not_stop_cannot_hold_the_exit(self, project: Project) -> None:
        """It swallows its cancellation; it is abandoned, said so, the code stays. Its module is the project's own."""
        project.write("stubborn.py", NEVER_STOPS)
        project.settings('[services]\nstubborn = "stubborn:stubborn"\n')
        elsewhere = project.root.parent
        with project.process("run", "--project", "bot", until=READY, folder=elsewhere) as process:
            assert "✓ stubborn" in process.said
            process.signal(signal.SIGTERM)
            assert process.ended() == 143
            assert "stubborn did not stop in" in process.said
            assert re.search("✗ stubborn +abandoned", process.said)
        assert project.parts() == {}

    def test_a_killed_bot_leaves_nothing_behind_and_starts_again(self, project: Project) -> None:
        """kill -9: the embedded parts go with it (Linux), data stay, the next start works."""
        with project.run() as process:
            parts = project.parts()
            assert project.call("settings", "set", "900000000000000001", "locale", "de").code == 0
            process.child.kill()
            process.ended()
            wait_for(lambda: not any(_alive(pid) for pid in parts.values()), what="the children's end")
        with project.run():
            assert "Pong! Das" in project.call("sandbox", "send", "/ping").out


class TestTwoProcesses:
    """Stores in one process, the bot in another."""

    def test_a_bot_joins_the_stores_that_run_and_ends_when_their_owner_does(self, project: Project) -> None:
        """Exit code 7 for the joiner; the owner's own is that of its signal."""
        with (
            project.process("run", "--only", "stores", until="project") as stores,
            project.process("run", "--only", "bot", until=READY, **SHORT) as bot,
        ):
            assert "Pong!" in project.call("sandbox", "send", "/ping").out
            assert {s["owner_pid"] for s in project.call("stores", "--json").json} == {stores.pid}
            stores.signal(signal.SIGTERM)
            assert stores.ended() == 143
            assert bot.ended() == 7
            assert f"({stores.pid})" in bot.said


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
