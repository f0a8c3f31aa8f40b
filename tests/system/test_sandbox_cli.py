"""``botctl sandbox`` against a real sandbox with a scripted bot."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from botctl.cli.boundary import run_guarded
from botctl.cli.sandbox.command import app
from botctl.core.processes.runtime import Runtime
from tests.support.fake_bot import fake_bot
from tests.support.fake_bot_scripts import ANSWERS, COMMANDS
from tests.support.waiting import LIMIT_S, until

# The tested part of botctl, inside botctl's error boundary.
BOTCTL_SANDBOX = (
    "import sys; from botctl.cli.boundary import run_guarded; from botctl.cli.sandbox.command import app;"
    "sys.exit(run_guarded(app, as_json='--json' in sys.argv))"
)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Project:
    root: Path
    url: str
    token: str

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**kept, "BOTCTL_PROJECT": str(self.root), "PYTHONPATH": str(Path.cwd()), "COLUMNS": "60"}

    async def run(self, *words: str) -> Ran:
        """Run ``botctl sandbox`` in a thread, because a process takes half a second to start."""
        out, err = io.StringIO(), io.StringIO()

        def call() -> int:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                return run_guarded(lambda: app(["--project", str(self.root), *words]), as_json="--json" in words)

        return Ran(await asyncio.to_thread(call), out.getvalue(), err.getvalue())

    async def process(self, *words: str, lines: str = "") -> Ran:
        """Run ``botctl sandbox`` as a process, with ``lines`` on its stdin."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", BOTCTL_SANDBOX, *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        out, err = await process.communicate(lines.encode())
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a running sandbox, as after `botctl run`."""
    root = tmp_path_factory.mktemp("project")
    (root / "config").mkdir()
    (root / "config" / "botctl.toml").touch()
    lenient = ("--limit", "concurrency_s=0", "--limit", "enforced=false")  # several bots connect in turn
    with subprocess.Popen([sys.executable, "-m", "botctl.sandbox", *lenient], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            runtime = Runtime(root)
            runtime.publish("sandbox", pid=server.pid, address=ready["url"], secret=ready["control_secret"])
            yield Project(root, ready["url"], ready["token"])
        finally:
            server.terminate()


@pytest.fixture
async def bot(project: Project) -> AsyncIterator[Project]:
    async with fake_bot(project.url, project.token, COMMANDS, ANSWERS):
        yield project


async def test_send_prints_the_reply(bot: Project) -> None:
    ran = await bot.run("send", "/secret", "--as", "bob")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == ["botctl-bot BOT · bob used /secret", "  Psst.", "  Only you can see this"]


async def test_send_json_prints_the_whole_reply(bot: Project) -> None:
    ran = await bot.run("send", "/roll sides:20", "--json")
    assert ran.code == 0
    reply = json.loads(ran.out)
    assert reply["state"] == "replied"
    assert reply["messages"][0]["content"] == "You rolled **20**."


async def test_failures_have_their_exit_codes(bot: Project) -> None:
    silent = await bot.run("send", "/silent", "--timeout", "0.2")
    assert (silent.code, silent.out.strip()) == (1, "The application did not respond")
    refused = await bot.run("send", "/roll sides:1")
    assert (refused.code, refused.err) == (1, "")
    assert "at least 2" in refused.out
    nowhere = await bot.run("send", "/ping", "--channel", "nix")
    assert (nowhere.code, "no channel “nix”" in nowhere.err) == (2, True)
    empty = await bot.run("send", "")
    assert (empty.code, empty.err) == (1, "botctl: Cannot send an empty message\n")
    period = await bot.run("incident", "latency", "--for", "1x")
    assert (period.code, "'1x' is no duration" in period.err) == (2, True)
    missing = await bot.run("incident", "--scenario", "nix.toml")
    assert missing.err == "botctl: The scenario nix.toml cannot be read: No such file or directory.\n"
    unknown = await bot.run("send", "/rol")
    assert (unknown.code, unknown.out) == (2, "")
    assert "Did you mean /roll?" in unknown.err


async def test_forms_buttons_and_menus_work_in_separate_calls(bot: Project) -> None:
    form = await bot.run("send", "/feedback", "--as", "cat")
    assert form.code == 0
    assert "Subject *" in form.out
    assert "botctl sandbox submit subject=… text=…" in form.err
    thanks = await bot.run("--as", "cat", "submit", "subject=Fine")
    assert "Thank you for “Fine”." in thanks.out
    poll = await bot.run("send", "/poll")
    assert poll.err == 'Choose with: botctl sandbox click "A drink" 1\n'
    assert "ann wants pizza" in (await bot.run("click", "Pizza")).out
    assert "Chosen: m" in (await bot.run("click", "a drink", "2")).out
    assert "  cat" in (await bot.run("menu", "who is", "--on", "@cat")).out.splitlines()
    seen = json.loads((await bot.run("messages", "--json", "--as", "cat", "--limit", "5")).out)
    assert all(message["for"] in {None, "900000000000000103"} for message in seen)


async def test_all_piped_lines_are_run(bot: Project) -> None:
    ran = await bot.process(lines="/ping\n\n:frob\n:as bob\nhello\n:quit\n/never\n")
    assert ran.code == 1
    assert ran.out.count("Pong!") == 1
    assert "bob\n  hello" in ran.out
    assert 'There is no command ":frob".' in ran.err


async def test_replay_finds_changed_output(bot: Project, tmp_path: Path) -> None:
    file = tmp_path / "talk.txt"
    typed = "/roll sides:20\nhello\n:as bob\n/feedback\n:submit subject=Fine\n/nothing\n"
    ran = await bot.process("--as", "cat", "--transcript", str(file), lines=typed)
    assert ran.code == 1  # /nothing is no command
    assert "# as: cat\n# channel: general\n" in file.read_text()
    again = await bot.run("replay", str(file))
    assert (again.code, again.out) == (0, "6 lines: no differences.\n")
    file.write_text(file.read_text().replace("You rolled 20", "You rolled 7"))
    other = await bot.run("replay", str(file))
    assert other.code == 1
    assert other.out.splitlines() == [
        "> /roll sides:20",
        "  botctl-bot BOT · cat used /roll",
        "-   You rolled 7.",
        "+   You rolled 20.",
        "1 of 6 lines have other output.",
    ]


async def test_project_without_sandbox_exits_with_7(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "botctl.toml").touch()
    ran = await Project(tmp_path, "", "").process("send", "/ping")
    assert ran.code == 7
    assert "Start it with: botctl run" in ran.err


async def test_restarting_sandbox_has_its_own_message(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "botctl.toml").touch()
    project = Project(tmp_path, "http://127.0.0.1:9", "")
    gone = await asyncio.create_subprocess_exec("sleep", "60")
    Runtime(project.root).publish("sandbox", pid=gone.pid, address=project.url, secret="x")
    gone.kill()
    await gone.wait()
    ran = await project.run("send", "/ping")
    assert ran.code == 7
    assert f"process {os.getpid()} restarts it" in ran.err
    assert "Try again in a moment" in ran.err


def test_sandbox_client_does_not_import_pydantic_settings() -> None:
    """The import takes a fifth of the start of `botctl sandbox send`."""
    look = (
        "import sys, botctl.core.files.paths, botctl.core.processes.runtime;"
        "import botctl.sandbox.console.user_session, botctl.cli.sandbox.output;"
        "sys.exit('pydantic_settings' in sys.modules)"
    )
    assert subprocess.run((sys.executable, "-c", look), check=False).returncode == 0


async def test_prompt_completes_runs_lines_and_exits(bot: Project) -> None:
    """It completes, shows replies and new messages, and fills in a form; Ctrl-C clears the line, Ctrl-D leaves."""
    ours, theirs = pty.openpty()
    seen = bytearray()
    environment = {**bot.environment, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "NO_COLOR": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BOTCTL_SANDBOX), stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: seen.extend(_read(ours)))
    try:

        async def type_and_see(keys: str, awaited: str) -> None:
            seen.clear()
            os.write(ours, keys.encode())
            await until(lambda: awaited in seen.decode(errors="replace"), what=f"{awaited!r} after {keys!r}")

        await type_and_see("", "You are ann in #general")
        await type_and_see("/settings set key:lo", "The log_channel")
        await type_and_see("\x03/ro", "Roll a die")
        await type_and_see("ll sides:12\r", "You rolled ")
        await bot.run("send", "/poll", "--as", "bob")
        await until(lambda: b"Lunch?" in seen, what="the poll of another user")
        await type_and_see("/feedback\r", "Subject *:")
        await type_and_see("Nice\r", "What happened?:")
        await type_and_see("\r", "Thank you for ")
        # The prompt that follows: between two of them, the terminal would take Ctrl-C itself, and drop the line.
        await until(lambda: b"#general" in seen.partition(b"Thank you for ")[2], what="the next prompt")
        os.write(ours, b"half a line\x03\x04")
        assert await asyncio.wait_for(process.wait(), LIMIT_S) == 0
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: the other side is closed
        return b""
