"""`botctl run` and other verbs as processes, with everything embedded."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.cli import READY, Process, Project
from tests.support.project_files import SLOW
from tests.support.verbs import CALLS
from tests.support.waiting import wait_for

# Each call, and a line that it must print.
CALLS_AND_LINES = {
    "auth key list": r"fresh",
    "audit log": r"success  cli:\S+  key\.create",
    "doctor": r"logins +\d+ of 1000 logins left",
    "gateway status": r"999 of 1,000 logins left until",
    "health": r"^(healthy|degraded): ",
    "jobs list": r"trim-events +every 1h",
    "migrate status": r"0001_guild_revisions +applied",
    "monitor --once": r"pid \d+ +bot, jobs, realtime, web",
    "ratelimit list": r"ping +5/10s per user, 50/10s per guild",
    "sandbox send /ping": r"Pong!",
    "settings show 900000000000000001": r"locale +-",
    "stores": r"redis  up +Valkey",
    "init another": r"another/commands/ping\.py",
}


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Process]]:
    """One running bot, shared by tests that do not stop it."""
    project = Project(tmp_path_factory.mktemp("run") / "b t")
    project.write("commands/slow.py", SLOW)
    umask = os.umask(0)  # as in some containers
    try:
        with project.run() as process:
            os.umask(umask)
            yield project, process
    finally:
        os.umask(umask)


class TestRunningBot:
    def test_banner_names_services_addresses_and_commands(self, bot: tuple[Project, Process]) -> None:
        """The printed command works."""
        project, process = bot
        for service in ("redis", "mongo", "sandbox", "limits", "audit", "guilds", "bot"):
            assert re.search(rf"✓ {service}\s+\d+\.\d\d s", process.output), service
        assert process.output.count("(embedded") == 3
        assert "  redis     .botctl/redis.sock  (embedded)\n" in process.output
        assert "  mongodb   .botctl/mongo.sock  (embedded)\n" in process.output
        assert not [line for line in process.output.splitlines() if line != line.rstrip()]
        assert f"pid {process.pid}" in process.output
        assert 'sandbox send "/ping"' in process.output
        done = project.call("sandbox", "send", "/ping")
        assert (done.code, "Pong!" in done.out) == (0, True)

    def test_state_is_private_whatever_the_umask(self, bot: tuple[Project, Process]) -> None:
        """Also what the embedded stores and the sandbox write."""
        project, _ = bot
        assert project.call("sandbox", "send", "/ping").code == 0
        folder = project.root / ".botctl"
        wait_for((folder / "sandbox" / "world.json").exists)
        modes = {path.relative_to(folder).as_posix(): path.lstat().st_mode for path in folder.rglob("*")}
        assert len(modes) > 10
        assert [f"{stat.filemode(mode)} {name}" for name, mode in modes.items() if mode & 0o077] == []

    def test_exception_is_an_ephemeral_reply_with_a_logged_id(self, bot: tuple[Project, Process]) -> None:
        """The user sees only the id. The log has the traceback and the fields."""
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

    def test_stores_are_listed_with_state_and_owner(self, bot: tuple[Project, Process]) -> None:
        """Another process finds them through runtime.json, which only the user can read."""
        project, process = bot
        stores = {store["name"]: store for store in project.call("stores", "--json").json}
        assert {name: (s["state"], s["embedded"], s["owner_pid"]) for name, s in stores.items()} == {
            "redis": ("up", True, process.pid),
            "mongo": ("up", True, process.pid),
        }
        mode = (project.root / ".botctl" / "runtime.json").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600

    def test_second_run_of_a_role_is_refused(self, bot: tuple[Project, Process]) -> None:
        """Exit code 6; the message names the process."""
        project, process = bot
        done = project.call("run")
        assert done.code == 6
        assert f"botctl: Process {process.pid} is already the bot of this project." in done.err
        assert done.err.count(str(process.pid)) == 1

    def test_stores_role_waits_for_stores_of_another_process(self, bot: tuple[Project, Process]) -> None:
        """Two PM2 apps of one project may start at once. It can be stopped while it waits."""
        project, process = bot
        parts = project.parts()
        with project.process("run", "--only", "stores", until="The sandbox: process") as waiting:
            assert f"process {process.pid} runs it; this process takes over" in waiting.output
            asked = project.call("health")
            assert asked.code == 0
            assert f"stands by: it takes over the stores when process {process.pid} ends" in asked.out
            waiting.signal(signal.SIGTERM)
            assert waiting.wait_for_exit() == 143
        assert READY not in waiting.output
        assert project.parts() == parts

    def test_every_verb_works_in_a_new_interpreter(self, bot: tuple[Project, Process]) -> None:
        """Other tests call verbs in a fork with loaded libraries."""
        project, _ = bot
        verbs = {path.partition(" ")[0] for path in CALLS}
        assert {call.partition(" ")[0] for call in CALLS_AND_LINES} == verbs - {"run"}
        assert project.call_in_new_interpreter("auth", "key", "create", "fresh").out.startswith("botctl_")
        with ThreadPoolExecutor(2) as pool:
            calls = pool.map(lambda call: project.call_in_new_interpreter(*call.split()), CALLS_AND_LINES)
        for (call, line), done in zip(CALLS_AND_LINES.items(), calls, strict=True):
            assert (done.code, "Traceback" in done.err) == (0, False), f"{call}\n{done.err}"
            assert re.search(line, done.out), f"{call}\n{done.out}"

    def test_changed_guild_setting_has_effect_at_once(self, bot: tuple[Project, Process]) -> None:
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

    def test_wrong_guild_setting_changes_nothing(self, bot: tuple[Project, Process]) -> None:
        project, _ = bot
        before = project.call("settings", "show", "900000000000000001", "--json").json
        assert "15 to 20 digits" in (short := project.call("settings", "set", "12", "locale", "de")).err
        assert short.code == 2
        done = project.call("settings", "set", "900000000000000001", "locale", "xx-nonsense")
        assert (done.code, "Traceback" in done.err) == (2, False)
        assert "locale" in done.err
        assert project.call("settings", "show", "900000000000000001", "--json").json == before


def test_explain_config_shows_origins_and_hides_secrets(tmp_path: Path) -> None:
    """Default, file, .env, environment."""
    project = Project(tmp_path / "bot")
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
