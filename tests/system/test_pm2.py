"""`botctl run` under the real PM2, with the ecosystem.config.js of a new bot."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from botctl.cli.init.scaffold import bot_name
from botctl.core.processes.runtime import Runtime
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.gateway.session import LoginResult
from botctl.sandbox.model.limits import LENIENT, Rate
from botctl.sandbox.model.tokens import bot_token
from botctl.sandbox.process.serve import Listener, bind_loopback, serve_sandbox
from botctl.sandbox.sandbox import Access, Sandbox
from tests.support.cli import BOTCTL, READY, CompletedCall, Project
from tests.support.discord import BOT, SECRET
from tests.support.pm2_daemon import Pm2, running_pm2
from tests.support.project_files import DISCORD_URL_MODULE, SLOW
from tests.support.waiting import LIMIT_S, wait_for

LOGINS = 6
"""Of a day, in the sandbox of the crash loop. Half of them are the reserve."""
FIXED_DELAY_S = 90.0
"""What kept an older botctl from spending all logins, after every crash."""
CONFIG = """
const apps = %s.map(([folder, more]) => {
  const [app] = require(`${folder}/ecosystem.config.js`).apps;
  return { ...app, ...more, env: { ...app.env, ...more.env } };
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
    """Ends the process right after the bot's login; first it writes the times of start and end."""


@asynccontextmanager
async def crash(bot: BotService) -> AsyncIterator[Crash]:
    with Path("runs").open("a") as runs:
        runs.write(f"{int(os.environ['pm_uptime']) / 1000} {time.time()}\\n")  # when PM2 forked this process
    os._exit(1)
    yield Crash()
'''


@pytest.fixture(scope="module")
def pm2() -> Iterator[Pm2]:
    """One PM2 for all tests; each test has its own apps."""
    with running_pm2() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def started(pm2: Pm2, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, CompletedCall]:
    """A running bot, and the result of a command sent right after ``pm2 start``.

    Its folder, and so the path of its Python, has characters that a shell or PM2 may read.
    """
    project = Project(tmp_path_factory.mktemp("started") / """My "Böt's" $HOME %s `x`""")
    (project.root / ".venv").symlink_to(sys.prefix)
    start_ready(pm2, project)
    return project, project.call("sandbox", "send", "/ping")


@pytest.fixture
def bot(tmp_path: Path) -> Project:
    """A new bot, with a slow command."""
    project = Project(tmp_path / tmp_path.name.replace("_", "-"))
    project.write("commands/slow.py", SLOW)
    return project


def start_apps(pm2: Pm2, *apps: tuple[Project, dict[str, Any]]) -> subprocess.Popen[str]:
    """Start ``pm2 start`` for these projects, each with additional options; `bot_name` says what PM2 calls them."""
    apps_and_options = [(str(project.root), more) for project, more in apps]
    config = pm2.home / f"{bot_name(apps[0][0].root)}.config.js"
    config.write_text(CONFIG % json.dumps(apps_and_options))
    return pm2.popen("start", str(config))


def wait_for_success(call: subprocess.Popen[str]) -> None:
    """Wait until a call of PM2 has succeeded."""
    with call:
        out, err = call.communicate(timeout=LIMIT_S)
    assert call.returncode == 0, out + err


def start_ready(pm2: Pm2, bot: Project, **more: Any) -> str:
    """Start ``bot``; it must be ready when ``pm2 start`` returns. Returns its name."""
    wait_for_success(start_apps(pm2, (bot, more)))
    name = bot_name(bot.root)
    output = pm2.output(name)
    assert READY in output, output
    return name


def wait_until_ended(pids: dict[str, int]) -> None:
    """Wait until all these processes have ended."""
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids.values()), what=f"the end of {pids}")


class TestStartAndStop:
    def test_start_returns_when_the_bot_receives_events(self, pm2: Pm2, started: tuple[Project, CompletedCall]) -> None:
        """The first command succeeds. PM2's log has no colours and no warnings about options."""
        bot, first_command = started
        name = bot_name(bot.root)
        assert "Pong!" in first_command.out, first_command.err
        output = pm2.output(name)
        assert "✓ bot" in output
        assert psutil.Process(pm2.apps()[name].pid).cmdline()[0] == str(bot.root / ".venv" / "bin" / "python")
        assert not any(text in output for text in ("set kill_timeout", "set treekill", "\x1b["))
        assert pm2.apps()[name].status == "online"

    @pytest.mark.parametrize(
        "by_message", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["signal", "message"]
    )
    def test_stop_lets_running_commands_finish(self, pm2: Pm2, bot: Project, by_message: bool) -> None:
        """The stores stay until the last one has been answered; then nothing is left behind."""
        name = start_ready(pm2, bot, shutdown_with_message=by_message)
        parts = bot.parts()
        assert set(parts) >= {"redis", "mongo", "sandbox"}
        with bot.process("sandbox", "send", "/slow", "--timeout", "20") as sent:
            wait_for((bot.root / "entered").exists, what="the command to begin")
            stopping = pm2.popen("stop", name)
            wait_for(
                lambda: "is restarting" in bot.call("sandbox", "send", "/ping").out, what="new commands to be refused"
            )
            assert bot.parts() == parts
            (bot.root / "finish").touch()
            assert sent.wait_for_exit() == 0
            assert "done at last" in sent.output
        wait_for_success(stopping)
        app = pm2.apps()[name]
        assert (app.status, app.exit_code, app.restarts) == ("stopped", 130, 0)
        wait_until_ended(parts)

    def test_killed_bot_is_restarted(self, pm2: Pm2, started: tuple[Project, CompletedCall]) -> None:
        """SIGKILL: its child processes end too, and the new bot answers."""
        bot, _ = started
        name = bot_name(bot.root)
        killed, parts = pm2.pid(name), bot.parts()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_until_ended(parts)
        wait_for(lambda: set(bot.parts()) == set(parts), what="the new bot's parts")
        wait_for(lambda: pm2.output(name).count(READY) == 2, what="the new bot")
        assert "Pong!" in bot.call("sandbox", "send", "/ping").out
        app = pm2.apps()[name]
        assert (app.status, app.restarts) == ("online", 1)
        assert app.pid == pm2.pid(name) != killed


class IdentifyRecorder(Sandbox):
    """A sandbox that records the time of every IDENTIFY."""

    def __init__(self, url: str) -> None:
        limits = LENIENT.replace({"identifies": Rate(LOGINS, 86_400)})
        super().__init__(default_world(url=url), Access({bot_token(SECRET): BOT}, SECRET), limits=limits)
        self.identified_s: list[float] = []

    def initial_dispatches(self, session: Any) -> Any:
        self.identified_s.append(time.monotonic())
        return super().initial_dispatches(session)


@contextmanager
def recording_sandbox() -> Iterator[IdentifyRecorder]:
    """Run an `IdentifyRecorder` in a thread."""
    up, down = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve(sandbox: Sandbox, listener: Listener) -> None:
        async with serve_sandbox(sandbox, listener):
            up.set()
            await down.wait()

    with bind_loopback() as listener:
        sandbox = IdentifyRecorder(listener.url)
        thread = threading.Thread(target=loop.run_until_complete, args=(serve(sandbox, listener),))
        thread.start()
        try:
            assert up.wait(LIMIT_S)
            yield sandbox
        finally:
            loop.call_soon_threadsafe(down.set)
            thread.join(LIMIT_S)
            loop.close()


def says_that_it_waits(screen: str) -> bool:
    title, _, rest = screen.partition("\n")
    return "! waiting" in title and "waiting for logins until" in rest


def is_waiting_long(output: str) -> bool:
    """Whether a start has said that it waits for logins for more than a minute."""
    ends = re.findall(r"waiting for logins until (\S+ \S+) UTC", output)
    return any(datetime.fromisoformat(f"{end}+00:00") - datetime.now(UTC) > timedelta(minutes=1) for end in ends)


class TestRestarts:
    def crash_loop(self, pm2: Pm2, folder: Path) -> tuple[list[tuple[float, float]], IdentifyRecorder]:
        """Run a bot that crashes after each login, until it waits for logins, and `botctl monitor` says so.

        Returns start and end of each run, and the sandbox.
        """
        project = Project(folder / "crash")
        project.write("crash.py", CRASH)
        project.add_settings(
            '[services]\ncrash = "crash:crash"\n\n[discord]\nresume = false\n'
        )  # each start costs a login
        name = bot_name(project.root)
        with recording_sandbox() as sandbox:
            runtime = Runtime(project.root, long_lived=True)
            with runtime.lock("sandbox"):  # as if this process were the owner of the project's sandbox
                runtime.publish("sandbox", pid=os.getpid(), address=sandbox.url, secret=SECRET)
                wait_for_success(start_apps(pm2, (project, {"listen_timeout": 1000})))
                wait_for(lambda: is_waiting_long(pm2.output(name)), what="a start that waits for logins")
                wait_for(
                    lambda: re.search(
                        r"! waiting .*waiting for logins until", project.call("monitor", "--once").out, re.DOTALL
                    ),
                    what="`botctl monitor` to say so",
                )
                assert pm2.apps()[name].status == "online"
                spent = len(sandbox.identified_s)
                assert spent <= LOGINS // 2, "the reserve is left"
                taken = project.call("gateway", "login")
                assert taken.code == 0, taken.err
                wait_for(lambda: len(sandbox.identified_s) > spent, what="a login from the reserve")
                pm2.call("delete", name)
        lines = [line.split() for line in (project.root / "runs").read_text().splitlines()]
        return [(float(start), float(end)) for start, end in lines], sandbox

    def test_crash_loop_leaves_the_reserve_and_config_errors_stop(self, pm2: Pm2, tmp_path: Path) -> None:
        """A wrong setting, an invalid token and pending migrations: one start each, during the crash loop."""
        wrong, pending, invalid = (Project(tmp_path / name) for name in ("wrong", "pending", "invalid"))
        invalid.add_settings('[services]\ndiscord-url = "discord_url:discord_url"\n')
        with recording_sandbox() as sandbox:
            invalid.write("discord_url.py", DISCORD_URL_MODULE.format(url=sandbox.url))
            refused = start_apps(
                pm2,
                *(
                    (project, {"restart_delay": 50, "env": env})
                    for project, env in (
                        (wrong, {"BOTCTL_DISCORD__TOKEN": ""}),
                        (pending, {"BOTCTL_MIGRATE__ON_START": "false"}),
                        (invalid, {"BOTCTL_DISCORD__TOKEN": "an.invalid.token-under-pm2"}),
                    )
                ),
            )
            runs, crashing = self.crash_loop(pm2, tmp_path)
            assert len(crashing.identified_s) >= 3
            assert runs[1][0] - runs[0][1] < FIXED_DELAY_S / 2, "the first crash is followed by a start at once"
            wait_for_success(refused)
            assert sandbox.identified_s == []
        apps = pm2.apps()
        found = {
            name: (apps[name].exit_code, apps[name].restarts, apps[name].pid)
            for name in ("wrong", "pending", "invalid")
        }
        assert found == {"wrong": (78, 0, 0), "pending": (3, 0, 0), "invalid": (78, 0, 0)}
        assert "set but empty" in pm2.output("wrong")
        assert "botctl migrate up" in pm2.output("pending")
        assert "Discord refuses the token" in pm2.output("invalid")

    @pytest.mark.soak  # PM2 looks every ten seconds
    @pytest.mark.parametrize("option", ["cron_restart", "max_memory_restart"])
    def test_restart_that_pm2_wants_costs_no_login(self, pm2: Pm2, tmp_path: Path, option: str) -> None:
        """The session is resumed. 1 MB is less than any bot has, and the moment of the cron comes once."""
        project = Project(tmp_path / option.replace("_", "-"))
        soon = datetime.now(UTC) + timedelta(seconds=20)
        value = f"{soon:%Y-%m-%dT%H:%M:%SZ}" if option == "cron_restart" else "1M"
        with recording_sandbox() as sandbox:
            runtime = Runtime(project.root, long_lived=True)
            with runtime.lock("sandbox"):
                runtime.publish("sandbox", pid=os.getpid(), address=sandbox.url, secret=SECRET)
                wait_for_success(start_apps(pm2, (project, {"listen_timeout": 1000, option: value})))
                results = lambda: [str(login.result) for login in sandbox.sessions.logins]  # noqa: E731
                wait_for(lambda: len(results()) > 1, what="a restart")
                pm2.call("delete", bot_name(project.root))
        assert set(results()[1:]) == {LoginResult.RESUMED}
        assert results()[0] == LoginResult.IDENTIFIED


class TestWithoutPm2:
    def test_bot_continues_and_stops_cleanly_after_pm2_was_killed(self, bot: Project) -> None:
        """Its output pipe is closed."""
        command = (*BOTCTL, "run")
        with subprocess.Popen(
            command, cwd=bot.root, env=bot.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as run:
            assert run.stdout is not None
            try:
                printed: list[bytes] = []
                while READY.encode() not in (line := run.stdout.readline()):
                    printed.append(line)
                    assert line, b"".join(printed).decode()
                run.stdout.close()
                assert "Pong!" in bot.call("sandbox", "send", "/ping").out
                run.send_signal(signal.SIGTERM)
                assert run.wait(LIMIT_S) == 143
            finally:
                run.kill()
        log = (bot.root / "logs" / "botctl.jsonl").read_text()
        assert "was cancelled" not in log
