"""`botctl run` and the verbs beside it, as processes, with everything embedded."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.cli import READY, Process, Project
from tests.support.waiting import wait_for

SLOW = '''
import asyncio
from pathlib import Path

from botctl import Command, Context

HERE = Path(__file__).parent.parent


class Slow(Command):
    """Wait until a file appears."""

    defer = "public"

    async def execute(self, ctx: Context) -> None:
        (HERE / "entered").touch()
        while not (HERE / "finish").exists():
            await asyncio.sleep(0.01)
        await ctx.reply("done at last")


class Stuck(Command):
    """Never end."""

    defer = "public"

    async def execute(self, ctx: Context) -> None:
        (HERE / "entered").touch()
        await asyncio.Event().wait()


class Wrong(Command):
    """Raise."""

    async def execute(self, ctx: Context) -> None:
        raise RuntimeError("the handler's own secret sauce")
'''
NEVER_STOPS = """
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


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


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A new bot."""
    return Project(tmp_path / "bot")


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Process]]:
    """One bot that runs, for tests that only look."""
    project = Project(tmp_path_factory.mktemp("run") / "b t")
    project.write("commands/slow.py", SLOW)
    with project.run() as process:
        yield project, process


class TestOneRun:
    """What can be seen of one bot that runs."""

    def test_the_banner_says_what_runs_where_and_what_to_try(self, bot: tuple[Project, Process]) -> None:
        """Every service with its time, what is embedded, and a command that works as printed."""
        project, process = bot
        for service in ("redis", "mongo", "sandbox", "limits", "audit", "guilds", "bot"):
            assert re.search(rf"✓ {service}\s+\d+\.\d\d s", process.said), service
        assert process.said.count("(embedded") == 3
        assert "  redis     .botctl/redis.sock  (embedded)\n" in process.said
        assert not [line for line in process.said.splitlines() if line != line.rstrip()]
        assert f"pid {process.pid}" in process.said
        assert 'sandbox send "/ping"' in process.said
        done = project.call("sandbox", "send", "/ping")
        assert (done.code, "Pong!" in done.out) == (0, True)

    def test_an_exception_is_an_ephemeral_reply_whose_id_stands_in_the_log(self, bot: tuple[Project, Process]) -> None:
        """The person gets the id and no detail, the operator the traceback and the fields."""
        project, _ = bot
        reply = project.call("sandbox", "send", "/wrong", "--json").json
        message = reply["messages"][0]
        assert message["ephemeral"]
        assert "sauce" not in message["content"]
        error_id = re.search(r"\b[2-9a-z]{8}\b", message["content"].split("`")[1])
        assert error_id, message["content"]
        lines = [json.loads(line) for line in (project.root / "logs" / "botctl.jsonl").read_text().splitlines()]
        (line,) = [line for line in lines if line.get("error_id") == error_id[0]]
        assert (line["command"], line["user"]) == ("wrong", "900000000000000101")
        assert "the handler's own secret sauce" in json.dumps(line["error"])

    def test_stores_are_listed_with_their_state(self, bot: tuple[Project, Process]) -> None:
        """By another process, found through runtime.json, which only the user may read."""
        project, process = bot
        stores = {store["name"]: store for store in project.call("stores", "--json").json}
        assert {name: (s["state"], s["embedded"], s["owner_pid"]) for name, s in stores.items()} == {
            "redis": ("up", True, process.pid),
            "mongo": ("up", True, process.pid),
        }
        mode = (project.root / ".botctl" / "runtime.json").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600

    def test_a_second_copy_is_refused(self, bot: tuple[Project, Process]) -> None:
        """The role is held: exit code 6, and the sentence names the process."""
        project, process = bot
        done = project.call("run")
        assert done.code == 6
        assert f"botctl: Process {process.pid} is already the bot of this project." in done.err
        assert done.err.count(str(process.pid)) == 1

    def test_who_is_to_keep_the_stores_does_not_join_those_of_another(self, bot: tuple[Project, Process]) -> None:
        """Exit code 6, and no banner."""
        project, process = bot
        done = project.call("run", "--only", "stores")
        assert done.code == 6
        assert f"Process {process.pid} already runs" in done.err
        assert READY not in done.err

    def test_a_setting_changed_in_a_terminal_holds_at_once_in_the_bot(self, bot: tuple[Project, Process]) -> None:
        """Its own process, one MongoDB: the very next command sees it."""
        project, _ = bot
        guild = "900000000000000001"
        assert "Pong! The" in project.call("sandbox", "send", "/ping").out
        assert project.call("settings", "set", guild, "locale", "de").code == 0
        assert "Pong! Das" in project.call("sandbox", "send", "/ping", "--as", "bob").out
        assert project.call("settings", "set", guild, "disabled", "+roll").code == 0
        assert "rolled" not in project.call("sandbox", "send", "/roll").out
        misspelt = project.call("settings", "set", guild, "disabled", "+rol")
        assert (misspelt.code, "no command rol; is it misspelt?" in misspelt.err) == (0, True)
        assert project.call("settings", "reset", guild, "disabled").code == 0
        assert project.call("settings", "reset", guild, "locale").code == 0
        assert "rolled" in project.call("sandbox", "send", "/roll").out

    def test_a_bad_setting_is_a_sentence_and_changes_nothing(self, bot: tuple[Project, Process]) -> None:
        """Exit code 2, and what would be right."""
        project, _ = bot
        before = project.call("settings", "show", "900000000000000001", "--json").json
        assert "15 to 20 digits" in (short := project.call("settings", "set", "12", "locale", "de")).err
        assert short.code == 2
        done = project.call("settings", "set", "900000000000000001", "locale", "xx-nonsense")
        assert (done.code, "Traceback" in done.err) == (2, False)
        assert "locale" in done.err
        assert project.call("settings", "show", "900000000000000001", "--json").json == before


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
            assert "stubborn" in process.said.split(READY)[1]
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
            project.process("run", "--only", "bot", until=READY) as bot,
        ):
            assert "Pong!" in project.call("sandbox", "send", "/ping").out
            assert {s["owner_pid"] for s in project.call("stores", "--json").json} == {stores.pid}
            stores.signal(signal.SIGTERM)
            assert stores.ended() == 143
            assert bot.ended() == 7
            assert f"({stores.pid})" in bot.said


class TestRefusals:
    """What does not start, and says why."""

    @pytest.mark.parametrize(
        ("env", "words"),
        [
            ({"BOTCTL_DISCORD__TOKEN": ""}, "BOTCTL_DISCORD__TOKEN"),
            ({"BOTCTL_PROFILE": "production"}, "token"),
            ({"BOTCTL_SHUTDOWN__DRAIN_S": "soon"}, "BOTCTL_SHUTDOWN__DRAIN_S"),
            ({"BOTCTL_SHUTDOWM__DRAIN_S": "1"}, "BOTCTL_SHUTDOWN__DRAIN_S"),
        ],
        ids=["empty token", "production without token", "no number", "misspelt"],
    )
    def test_a_wrong_setting_is_one_sentence(self, project: Project, env: dict[str, str], words: str) -> None:
        """Exit code 78; nothing was started, nothing was made."""
        done = project.call("run", **env)
        assert done.code == 78
        assert words in done.err
        assert "Traceback" not in done.err
        assert not (project.root / ".botctl").exists()

    def test_a_file_and_line_are_named(self, project: Project) -> None:
        """Where the wrong setting stands."""
        project.settings("[shutdown]\ndrain_s = -1\n")
        lines = (project.root / "config" / "botctl.toml").read_text().splitlines()
        done = project.call("run")
        assert done.code == 78
        assert f"config/botctl.toml:{len(lines)}" in done.err

    def test_broken_commands_are_told_all_at_once_and_can_be_left_out(self, project: Project) -> None:
        """File and line of each; --skip-broken starts without them."""
        project.write("commands/broken.py", "from botctl import Command\n\nclass Broken(Command:\n    pass\n")
        project.write(
            "commands/naked.py", 'from botctl import Command\n\n\nclass Naked(Command):\n    """No execute."""\n'
        )
        done = project.call("run")
        assert done.code == 78
        assert "commands/broken.py:3:" in done.err
        assert "commands/naked.py:4:" in done.err
        with project.run("--skip-broken") as process:
            assert "left out: commands/broken.py:3" in process.said
            assert "Pong!" in project.call("sandbox", "send", "/ping").out

    def test_a_server_that_does_not_answer_is_named(self, project: Project) -> None:
        """Exit code 7, without the password."""
        done = project.call("run", BOTCTL_REDIS__URL="redis://user:hunter2@127.0.0.1:9/0")
        assert done.code == 7
        assert "127.0.0.1:9" in done.err
        assert "hunter2" not in done.err + done.out
        assert " ERROR " not in done.err  # it is in the log's file; here it would be said a third time
        assert "does not answer" in (project.root / "logs" / "botctl.jsonl").read_text()

    def test_a_mongodb_that_does_not_answer_is_one_line(self, project: Project) -> None:
        """Without what the driver knows of every server of its topology."""
        done = project.call("run", BOTCTL_MONGO__URL="mongodb://127.0.0.1:9/", BOTCTL_MONGO__TIMEOUT_S="0.2")
        (said,) = [line for line in done.err.splitlines() if line.startswith("botctl: ")]
        assert (done.code, said.count("127.0.0.1:9")) == (7, 2)
        assert not re.search("Topology|Timeout|timeouts|…", said)

    def test_a_service_that_cannot_be_loaded_is_named_as_in_the_settings(self, project: Project) -> None:
        """Exit code 78."""
        project.settings('[services]\nmine = "nomod:fac"\n')
        done = project.call("run")
        assert (done.code, "botctl: services.mine: 'nomod:fac': there is no module nomod" in done.err) == (78, True)

    def test_with_real_servers_there_is_nothing_to_keep(self, project: Project) -> None:
        """Exit code 78."""
        env = {"BOTCTL_REDIS__URL": "redis://h", "BOTCTL_MONGO__URL": "mongodb://h", "BOTCTL_DISCORD__TOKEN": "a-token"}
        done = project.call("run", "--only", "stores", **env)
        assert (done.code, "nothing for `--only stores` to keep" in done.err) == (78, True)

    def test_a_taken_port_of_the_sandbox_is_not_taken_for_the_sandbox(self, project: Project) -> None:
        """Exit code 6: whoever listens there, it is said once, and nothing looks ready."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            done = project.call("run", BOTCTL_SANDBOX__PORT=str(port))
        assert done.code == 6
        sentence = f"The sandbox cannot listen on port {port}: address already in use."
        assert f"botctl: {sentence}" in done.err
        assert done.err.count(sentence) == 2  # with the line of the service, where there is no terminal
        assert "✓ sandbox" not in done.err
        assert READY not in done.err

    def test_a_dead_token_is_never_tried_again(self, project: Project) -> None:
        """The sandbox of another project refuses it: exit code 78."""
        with project.process("run", "--only", "stores", until="project"):
            other = Project(project.root.parent / "other")
            other.settings('[services]\npoint = "point:point"\n')
            sandbox = json.loads((project.root / ".botctl" / "runtime.json").read_text())
            url = next(part["address"] for part in sandbox if part["name"] == "sandbox")
            other.write("point.py", POINT.format(url=url))
            done = other.call("run", BOTCTL_DISCORD__TOKEN="a.dead.token-that-nobody-knows")
        assert done.code == 78
        assert "Discord refuses the token" in done.err

    def test_no_project_here(self, tmp_path: Path, project: Project) -> None:
        """And what to do about it."""
        done = project.call("run", "--project", str(tmp_path))
        assert (done.code, "botctl init" in done.err) == (78, True)

    def test_errors_are_json_on_request(self, project: Project) -> None:
        """For programs that call botctl."""
        done = project.call("run", "--json", BOTCTL_DISCORD__TOKEN="")
        assert json.loads(done.err)["exit_code"] == 78


POINT = """
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import disnake

disnake.http.Route.BASE = "{url}/api/v10"


class Point:
    pass


@asynccontextmanager
async def point() -> AsyncIterator[Point]:
    yield Point()
"""


def test_explain_config_names_every_origin_and_hides_secrets(project: Project) -> None:
    """Default, file, .env, environment."""
    project.write(".env", "BOTCTL_REDIS__URL=redis://:pass-word-1@127.0.0.1:1/0\n")
    done = project.call("run", "--explain-config", "--json", BOTCTL_DISCORD__TOKEN="tok.en.very-secret")
    rows = {row["key"]: row for row in done.json}
    assert (done.code, rows["bot"]["value"]) == (0, '"bot"')
    assert rows["bot"]["origin"].startswith("config/botctl.toml:")
    assert rows["redis.url"]["origin"] == ".env:1"
    assert rows["discord.token"]["origin"] == "BOTCTL_DISCORD__TOKEN"
    assert rows["shutdown.drain_s"]["origin"] == "default"
    assert not re.search("pass-word-1|very-secret", done.out)
    assert "very-secret" not in project.call("run", "--explain-config", BOTCTL_DISCORD__TOKEN="tok.en.very-secret").out


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
