"""`botctl run` under the real PM2, with the ecosystem.config.js that a new bot gets.

Times are compressed a hundredfold: Discord's day of 1,000 logins has 864 s here, and the file's restart_delay is
divided by 100 as it is read.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from botctl.core.processes.runtime import Runtime
from botctl.run.supervisor import IDENTIFY_S
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.limits import LENIENT
from botctl.sandbox.model.tokens import bot_token
from botctl.sandbox.process.serve import Listener, bound, serving
from botctl.sandbox.server import Access, Sandbox
from tests.support.cli import BOTCTL, READY, Done, Project
from tests.support.discord import BOT, SECRET
from tests.support.pm2_daemon import Pm2, running
from tests.support.project_files import POINT, SLOW
from tests.support.waiting import wait_for

COMPRESSION = 100
CONFIG = """
const apps = %s.map(([folder, more]) => {
  const [app] = require(`${folder}/ecosystem.config.js`).apps;
  return { ...app, restart_delay: app.restart_delay / %d, ...more, env: { ...app.env, ...more.env } };
});
module.exports = { apps };
"""
CRASH = '''
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from botctl.bot.service import BotService


class Crash:
    """Dies as soon as the bot has logged in; first it writes down when it was born, and the time."""


@asynccontextmanager
async def crash(bot: BotService) -> AsyncIterator[Crash]:
    with Path("lives").open("a") as lives:
        lives.write(f"{int(os.environ['pm_uptime']) / 1000} {time.time()}\\n")  # PM2 hands on when it forked
    os._exit(1)
    yield Crash()
'''


@pytest.fixture(scope="module")
def pm2() -> Iterator[Pm2]:
    """One PM2 for all tests; each has apps of its own in it."""
    with running() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def started(pm2: Pm2, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Done]:
    """A bot that runs, and what came of a command that was given as soon as ``pm2 start`` was done."""
    project = Project(tmp_path_factory.mktemp("started") / "started")
    start_ready(pm2, project)
    return project, project.call("sandbox", "send", "/ping")


@pytest.fixture
def bot(tmp_path: Path) -> Project:
    """A new bot, with a slow command."""
    project = Project(tmp_path / tmp_path.name.replace("_", "-"))
    project.write("commands/slow.py", SLOW)
    return project


def starting(pm2: Pm2, *apps: tuple[Project, dict[str, Any]]) -> subprocess.Popen[str]:
    """``pm2 start`` of these projects' files, each with its own options on top; apps are called as their folders."""
    given = [(str(project.root), {"name": project.root.name, **more}) for project, more in apps]
    config = pm2.home / f"{apps[0][0].root.name}.config.js"
    config.write_text(CONFIG % (json.dumps(given), COMPRESSION))
    return pm2.popen("start", str(config))


def done(call: subprocess.Popen[str]) -> None:
    """Wait for the end of a call of PM2, which must be a good one."""
    with call:
        out, err = call.communicate(timeout=40)
    assert call.returncode == 0, out + err


def start_ready(pm2: Pm2, bot: Project, **more: Any) -> str:
    """Start ``bot``, which must be ready when ``pm2 start`` is done; returns its name."""
    done(starting(pm2, (bot, more)))
    name = bot.root.name
    said = pm2.said(name)
    assert READY in said, said
    return name


def gone(pids: dict[str, int]) -> None:
    """Wait until none of these processes is there."""
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids.values()), what=f"the end of {pids}")


class TestLife:
    """Start, crash, restart, stop."""

    def test_start_returns_when_the_bot_receives_events(self, pm2: Pm2, started: tuple[Project, Done]) -> None:
        """No waiting, no second try. PM2's own log is readable, and botctl has nothing to say against its options."""
        bot, at_once = started
        name = bot.root.name
        assert "Pong!" in at_once.out, at_once.err
        said = pm2.said(name)
        assert "✓ bot" in said
        assert not any(word in said for word in ("set kill_timeout", "set treekill", "\x1b["))
        assert pm2.apps()[name].status == "online"

    @pytest.mark.parametrize(
        "by_message", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["signal", "message"]
    )
    def test_stop_lets_commands_in_flight_finish(self, pm2: Pm2, bot: Project, by_message: bool) -> None:
        """The stores stay until the last one has been answered; then nothing is left behind."""
        name = start_ready(pm2, bot, shutdown_with_message=by_message)
        parts = bot.parts()
        assert set(parts) >= {"redis", "mongo", "sandbox"}
        with bot.process("sandbox", "send", "/slow", "--timeout", "20") as sent:
            wait_for((bot.root / "entered").exists, what="the command to begin")
            stopping = pm2.popen("stop", name)
            wait_for(lambda: "is restarting" in bot.call("sandbox", "send", "/ping").out, what="new work refused")
            assert bot.parts() == parts
            (bot.root / "finish").touch()
            assert sent.ended() == 0
            assert "done at last" in sent.said
        done(stopping)
        app = pm2.apps()[name]
        assert (app.status, app.exit_code, app.restarts) == ("stopped", 130, 0)
        gone(parts)

    def test_a_killed_bot_is_started_again(self, pm2: Pm2, started: tuple[Project, Done]) -> None:
        """kill -9: what it ran goes with it, and the next one answers."""
        bot, _ = started
        name = bot.root.name
        killed, parts = pm2.pid(name), bot.parts()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        gone(parts)
        wait_for(lambda: set(bot.parts()) == set(parts), limit_s=30, what="another bot's parts")
        wait_for(lambda: pm2.said(name).count(READY) == 2, limit_s=30, what="another bot")
        assert "Pong!" in bot.call("sandbox", "send", "/ping").out
        app = pm2.apps()[name]
        assert (app.status, app.restarts) == ("online", 1)
        assert app.pid == pm2.pid(name) != killed


class Counting(Sandbox):
    """A Discord that counts logins, however fast they come: the time of every IDENTIFY."""

    def __init__(self, url: str) -> None:
        super().__init__(default_world(url=url), Access({bot_token(SECRET): BOT}, SECRET), limits=LENIENT)
        self.identified_s: list[float] = []

    def welcome(self, session: Any) -> Any:
        self.identified_s.append(time.monotonic())
        return super().welcome(session)


@contextmanager
def counting() -> Iterator[Counting]:
    """Run it in a thread."""
    up, down = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve(sandbox: Sandbox, listener: Listener) -> None:
        async with serving(sandbox, listener):
            up.set()
            await down.wait()

    with bound() as listener:
        sandbox = Counting(listener.url)
        thread = threading.Thread(target=loop.run_until_complete, args=(serve(sandbox, listener),))
        thread.start()
        try:
            assert up.wait(10)
            yield sandbox
        finally:
            loop.call_soon_threadsafe(down.set)
            thread.join(10)
            loop.close()


class TestRestarts:
    """What is tried again, and how often."""

    def crash_loop(self, pm2: Pm2, folder: Path, lives: int) -> tuple[list[tuple[float, float]], Counting]:
        """Let a bot that crashes after its login live ``lives`` times; when it lived, and the Discord it met."""
        project = Project(folder / f"crash-{lives}")
        project.write("crash.py", CRASH)
        project.settings('[services]\ncrash = "crash:crash"\n')
        written = project.root / "lives"
        with counting() as discord:
            runtime = Runtime(project.root, long_lived=True)
            with runtime.lock("sandbox"):  # as if this process were the owner of the project's sandbox
                runtime.publish("sandbox", pid=os.getpid(), address=discord.url, secret=SECRET)
                done(starting(pm2, (project, {})))
                wait_for(
                    lambda: written.exists() and written.read_text().count("\n") >= lives,
                    limit_s=20 + 6 * lives,
                    what="another life",
                )
                pm2.call("delete", project.root.name)
        told = [line.split() for line in written.read_text().splitlines()]
        return [(float(born), float(died)) for born, died in told], discord

    def check_budget(self, lives: list[tuple[float, float]], discord: Counting) -> None:
        assert len(discord.identified_s) == len(lives), "each life logs in once"
        least_s = IDENTIFY_S / COMPRESSION
        waits = [born - died for (_, died), (born, _) in itertools.pairwise(lives)]
        assert min(waits) >= least_s, "without the time that a start takes, too"
        took_s = discord.identified_s[-1] - discord.identified_s[0]
        assert len(discord.identified_s) - 1 <= took_s / least_s

    def test_a_crash_loop_stays_under_the_budget_and_what_needs_a_person_is_not_tried_again(
        self, pm2: Pm2, tmp_path: Path
    ) -> None:
        """A wrong setting, a dead token, pending migrations: one start each, while the crash loop goes round."""
        wrong, pending, dead = (Project(tmp_path / name) for name in ("wrong", "pending", "dead"))
        dead.settings('[services]\npoint = "point:point"\n')
        with counting() as discord:
            dead.write("point.py", POINT.format(url=discord.url))
            refused = starting(
                pm2,
                *(
                    (project, {"restart_delay": 50, "env": env})
                    for project, env in (
                        (wrong, {"BOTCTL_DISCORD__TOKEN": ""}),
                        (pending, {"BOTCTL_MIGRATE__ON_START": "false"}),
                        (dead, {"BOTCTL_DISCORD__TOKEN": "a.dead.token-that-nobody-knows"}),
                    )
                ),
            )
            self.check_budget(*self.crash_loop(pm2, tmp_path, 2))
            done(refused)
            assert discord.identified_s == []
        apps = pm2.apps()
        found = {
            name: (apps[name].exit_code, apps[name].restarts, apps[name].pid) for name in ("wrong", "pending", "dead")
        }
        assert found == {"wrong": (78, 0, 0), "pending": (3, 0, 0), "dead": (78, 0, 0)}
        assert "set but empty" in pm2.said("wrong")
        assert "botctl migrate up" in pm2.said("pending")
        assert "Discord refuses the token" in pm2.said("dead")

    @pytest.mark.soak
    @pytest.mark.timeout(300)
    def test_a_long_crash_loop_stays_under_the_budget(self, pm2: Pm2, tmp_path: Path) -> None:
        """PM2's limit of 16 unstable restarts does not end it either: the bot comes back when its store does."""
        self.check_budget(*self.crash_loop(pm2, tmp_path, 25))


class TestWithoutPm2:
    """PM2 itself was killed: its ends of the pipes are closed."""

    def test_a_bot_whose_pm2_was_killed_goes_on_and_stops_in_order(self, bot: Project) -> None:
        """Nobody reads what it prints any more."""
        command = (*BOTCTL, "run")
        with subprocess.Popen(
            command, cwd=bot.root, env=bot.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as run:
            assert run.stdout is not None
            try:
                said: list[bytes] = []
                while READY.encode() not in (line := run.stdout.readline()):
                    said.append(line)
                    assert line, b"".join(said).decode()
                run.stdout.close()
                assert "Pong!" in bot.call("sandbox", "send", "/ping").out
                run.send_signal(signal.SIGTERM)
                assert run.wait(30) == 143
            finally:
                run.kill()
        log = (bot.root / "logs" / "botctl.jsonl").read_text()
        assert "was cancelled" not in log
