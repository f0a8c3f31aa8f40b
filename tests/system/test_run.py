"""`botctl run` and the verbs beside it, as processes, with everything embedded."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.cli import READY, Process, Project
from tests.support.project_files import SLOW
from tests.support.verbs import CALLS

# A line that each prints.
FRESH = {
    "auth key list": r"fresh",
    "audit log": r"success  cli:\S+  key\.create",
    "jobs list": r"trim-events +every 1h",
    "migrate status": r"0001_guild_revisions +applied",
    "monitor --once": r"pid \d+ +bot, jobs, realtime",
    "ratelimit list": r"ping +5/10s per user, 50/10s per guild",
    "sandbox send /ping": r"Pong!",
    "settings show 900000000000000001": r"locale +-",
    "stores": r"redis  up +Valkey",
    "init another": r"another/commands/ping\.py",
}


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

    def test_every_verb_works_in_an_interpreter_of_its_own(self, bot: tuple[Project, Process]) -> None:
        """Other tests call it in a fork of a process that has loaded the libraries."""
        project, _ = bot
        verbs = {path.partition(" ")[0] for path in CALLS}
        assert {call.partition(" ")[0] for call in FRESH} == verbs - {"run"}
        assert project.fresh("auth", "key", "create", "fresh").out.startswith("botctl_")
        with ThreadPoolExecutor(2) as pool:
            calls = pool.map(lambda call: project.fresh(*call.split()), FRESH)
        for (call, line), done in zip(FRESH.items(), calls, strict=True):
            assert (done.code, "Traceback" in done.err) == (0, False), f"{call}\n{done.err}"
            assert re.search(line, done.out), f"{call}\n{done.out}"

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


def test_explain_config_names_every_origin_and_hides_secrets(tmp_path: Path) -> None:
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
