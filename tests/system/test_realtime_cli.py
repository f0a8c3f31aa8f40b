"""`botctl run --only realtime` beside a bot, `botctl auth key`, and the client of the docs, as processes."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
import pytest
from websockets.sync.client import connect

from botctl.core.contracts.states import STATE_PERMISSIONS
from botctl.core.processes.runtime import Runtime
from botctl.realtime.protocol import CloseReason
from tests.support.cli import READY, STARTED_ONLY, Process, Project
from tests.support.waiting import LIMIT_S, wait_for

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE, LIBRARY_EXAMPLE = (
    re.search(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL) for page in ("realtime.md", "client.md")
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A bot in one process, the realtime server in another. No one misses what another test has ended."""
    project = Project(tmp_path_factory.mktemp("realtime") / "bot", {"BOTCTL_HEALTH__ROLES": "bot"})
    with project.process("run", "--only", "bot", until="Try, in another terminal"):
        yield project


def address(project: Project) -> str:
    return Runtime(project.root).live()["realtime"].address


@contextmanager
def serving(project: Project, port: int = 0) -> Iterator[Process]:
    """A realtime server in a process of its own."""
    with project.process(
        "run", "--only", "realtime", until=STARTED_ONLY.lower(), BOTCTL_REALTIME__PORT=str(port)
    ) as server:
        wait_for(lambda: project.parts().get("realtime") == server.pid, what="the server")
        yield server


@contextmanager
def run_client(
    url: str, key: str, example: re.Match[str] | None = EXAMPLE
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run a client of the docs; yields it with its stdout."""
    assert example
    command = (sys.executable, "-c", example[1], url, key)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        assert client.stdout
        try:
            yield client, client.stdout
        finally:
            client.kill()


def subscribed(url: str) -> int:
    """How many subscriptions the server at ``url`` has, by its metrics."""
    with urlopen(f"http://{urlsplit(url).netloc}/metrics") as answer:
        text = answer.read().decode()
    return int(float(re.search(r"^botctl_realtime_subscriptions ([\d.]+)", text, re.MULTILINE)[1]))  # type: ignore[index]


def why(url: str) -> str:
    """The reason for the verdict on the bot, by the server at ``url``."""
    try:
        with urlopen(f"http://{urlsplit(url).netloc}/verdict") as answer:
            return str(json.load(answer)["why"])
    except HTTPError as error:  # 503: the bot does not work
        return str(json.load(error)["why"])


def health_changes(project: Project) -> list[dict[str, Any]]:
    """What the audit log has of the verdict on the bot, the oldest first."""
    entries = project.call("audit", "log", "--action", "health.changed", "--json").json
    return [change for entry in entries for change in entry["changes"]]


def test_separate_process_streams_the_events_of_the_bot(project: Project) -> None:
    """The client of the docs outlasts the server and misses nothing, until its key is revoked."""
    with ExitStack() as stack:
        server = stack.enter_context(serving(project))
        created = project.call("auth", "key", "create", "docs", "--topics", "commands", "--json").json
        url = address(project)
        (page,) = re.findall(r"^curl -s (.+/readyz\")$", (DOCS / "realtime.md").read_text(), re.MULTILINE)
        asked = subprocess.run(
            ["sh", "-c", f"echo {page}"], cwd=project.root, capture_output=True, text=True, check=True
        )
        with urlopen(asked.stdout.strip()) as answer:
            assert json.load(answer)["ready"] is True
        with run_client(url, created["key"]) as (client, stdout):
            assert [stdout.readline().split() for _ in range(2)] == [["auth"], ["subscribe"]]
            assert "Pong!" in project.call("sandbox", "send", "/ping").out
            assert stdout.readline().split() == ["event", "command.finished"]
            with run_client(url, created["key"], LIBRARY_EXAMPLE) as (_, library_stdout):
                wait_for(lambda: subscribed(url) == 2, what="the second client")
                assert "Pong!" in project.call("sandbox", "send", "/ping").out
                assert library_stdout.readline().split() == ["command.finished", "ping"]
            assert stdout.readline().split() == ["event", "command.finished"]
            known = len(health_changes(project))  # other tests have this bot, too
            server.signal(signal.SIGKILL)
            server.wait_for_exit()
            for _ in range(2):  # no server runs
                assert "Pong!" in project.call("sandbox", "send", "/ping").out
            wait_for(lambda: len(health_changes(project)) > known, what="the entry of the bot, whose server was killed")
            server = stack.enter_context(serving(project))
            assert address(project) == url, "the port of the last run"
            wait_for(lambda: "realtime" not in why(url), what="the verdict on a bot whose server is back")
            assert [stdout.readline().split() for _ in range(4)] == [
                ["auth"],
                ["subscribe"],
                ["event", "command.finished"],
                ["event", "command.finished"],
            ]
            assert project.call("auth", "key", "revoke", created["id"]).out == f"Key {created['id']} is revoked.\n"
            rest, errors = client.communicate(timeout=LIMIT_S)
            assert (rest, client.returncode) == ("", 1)
            assert str(int(CloseReason.KEY_ENDED)) in errors
            with run_client(url, created["key"], LIBRARY_EXAMPLE) as (library, _):
                _, errors = library.communicate(timeout=LIMIT_S)
                assert (errors, library.returncode) == ("The client has ended: the key was revoked.\n", 1)
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit() == 143
    assert "realtime" not in project.parts()
    assert health_changes(project)[known]["new"] == "degraded"


def test_client_runs_a_job_and_sees_what_the_commands_show(project: Project) -> None:
    created = project.call("auth", "key", "create", "desk", "--permissions", "*", "--json").json
    with project.process("run", "--only", "realtime", "--only", "jobs", until=STARTED_ONLY.lower()) as both:
        wait_for(lambda: project.parts().get("realtime") == both.pid, what="the server")
        with connect(address(project)) as server:
            jobs: dict[str, Any] = {}  # the job as the pushes say

            def receive() -> Any:
                message = json.loads(server.recv(timeout=LIMIT_S))
                if message["type"] == "change" and message["key"] == "sample-stores":
                    jobs.update(message["value"])
                return message

            def request(kind: str, **fields: Any) -> Any:
                server.send(json.dumps({"type": kind, "id": 1} | fields))
                while (reply := receive()).get("id") != 1:
                    pass
                return reply

            request("auth", key=created["key"])
            states = request("watch", states=list(STATE_PERMISSIONS))["states"]
            wanted = {"action": "jobs.run", "args": {"job": "sample-stores"}, "reason": "a look at the stores"}
            while (done := request("do", **wanted))["type"] != "done":
                assert done["code"] in ("not found", "held", "throttled"), done  # the scheduler starts
            run = done["result"]["run"]
            while jobs.get("outcome") != "ok":
                receive()
            seen = project.call("monitor", "--json").json
            rows = {
                "processes": seen["processes"],
                "services": seen["services"],
                "counts": [{**seen["totals"], "health": seen["health"], "troubles": []}],
            }
            for name, shown in rows.items():
                assert {frozenset(value) for value in states[name].values()} == {frozenset(row) for row in shown}
            listed = project.call("jobs", "list", "--json").json
            assert jobs.keys() == listed[0].keys() - {"about", "declared"}
        both.signal(signal.SIGTERM)
        assert both.wait_for_exit() == 143
    (entry,) = project.call("audit", "log", "--action", "job.request", "--outcome", "success", "--json").json
    assert (entry["op"], entry["reason"], entry["via"]["iface"]) == (run, "a look at the stores", "api")
    assert entry["actor"] == {"type": "key", "id": created["id"], "name": "desk"}


def test_new_key_is_shown_only_once(project: Project) -> None:
    created = project.call("auth", "key", "create", "ci", "--expires", "1h30m")
    text = created.out.strip()
    assert re.fullmatch(r"botctl_[a-z0-9]{12}_[0-9A-Za-z]{49}", text)
    assert "has events:* until" in created.err
    assert "not shown again" in created.err
    listed = project.call("auth", "key", "list", "--json")
    assert text.split("_")[2] not in listed.out
    (key,) = [key for key in listed.json if key["name"] == "ci"]
    assert (key["permissions"], key["uses"], key["revoked_at"]) == (["events:*"], 0, None)
    assert key["expires_at"] > key["created_at"]
    for path in (project.root / "logs").iterdir():
        assert text not in path.read_text()


def test_second_revocation_of_a_key_is_reported(project: Project) -> None:
    key_id = project.call("auth", "key", "create", "once", "--json").json["id"]
    first, second = (project.call("auth", "key", "revoke", key_id) for _ in range(2))
    assert (first.code, first.out) == (0, f"Key {key_id} is revoked.\n")
    assert (second.code, f"Key {key_id} was already revoked, at 2" in second.out) == (0, True)


def test_rotated_key_is_replaced_after_the_overlap(project: Project) -> None:
    old = project.call("auth", "key", "create", "robot", "--permissions", "status:read", "--json").json
    rotated = project.call("auth", "key", "rotate", old["id"])
    assert re.fullmatch(r"botctl_[a-z0-9]{12}_[0-9A-Za-z]{49}", rotated.out.strip())
    assert f"replaces {old['id']}" in rotated.err
    assert "it was never used" in rotated.err
    keys = {key["id"]: key for key in project.call("auth", "key", "list", "--json").json}
    new = keys[keys[old["id"]]["replaced_by"]]
    assert (new["name"], new["permissions"], new["replaces"]) == ("robot", ["status:read"], old["id"])
    assert keys[old["id"]]["expires_at"]
    assert project.call("auth", "key", "revoke", new["id"]).code == 0
    ended = project.call("auth", "explain", f"key:{new['id']}", "status:read")
    assert (ended.code, "no: it was revoked" in ended.out) == (1, True)
    again = project.call("auth", "key", "rotate", old["id"], "--now")
    assert (again.code, "was rotated already" in again.err) == (2, True)


def test_granted_role_is_explained_until_it_is_revoked(project: Project) -> None:
    user = "900000000000000109"
    why = ("auth", "explain", f"user:{user}", "jobs:run")
    before = project.call(*why)
    assert (before.code, f"user:{user} may not do jobs:run" in before.out) == (1, True)
    assert f"botctl auth grant operator user:{user}" in before.out
    granted = project.call("auth", "grant", "operator", user, "--reason", "on call", "--expires", "1h")
    assert granted.out.startswith(f"Granted: operator to user {user}, by ")
    after = project.call(*why, "--json")
    assert (after.code, after.json["allowed"], "on call" in after.json["steps"][0]) == (0, True, True)
    assert user in project.call("auth", "who", user).out
    command = project.call("auth", "explain", user, "/ops status")
    assert (command.code, "does not include the role admin or moderator" in command.out) == (1, True)
    assert "\nThis is for the whole bot." in command.out
    here = ("auth", "explain", user, "/ops status", "--guild", "900000000000000001")
    unknown = project.call(*here)
    assert unknown.code == 1
    assert unknown.out.splitlines()[0].endswith("is not known without its Discord roles.")
    assert "--has-role" in unknown.out
    assert project.call(*here, "--has-role", "900000000000000202").code == 0
    none = project.call(*here, "--has-role", "", "--json")
    assert (none.code, none.json["allowed"], none.json["known"]) == (1, False, True)
    assert "grant moderator user:900000000000000109 --guild 900000000000000001" in none.json["change"]
    assert project.call(*here, "--json").json["known"] is False
    assert project.call("auth", "explain", user, "/ping").code == 0
    revoke = ("auth", "revoke", "operator", f"user:{user}", "--reason", "off call")
    assert project.call(*revoke).out == f"Revoked: operator from user:{user}.\n"
    assert "nothing to revoke" in project.call(*revoke).out
    here_only = ("auth", "grant", "operator", user, "--guild", "900000000000000001", "--reason", "one guild")
    assert project.call(*here_only).code == 0
    elsewhere = project.call(*revoke)
    assert (elsewhere.code, "has operator in guild 900000000000000001, by the store" in elsewhere.err) == (2, True)
    assert project.call(*why).code == 1
    audited = project.call("audit", "log", "--action", "role.*", "--json").out
    assert all(text in audited for text in ("role.grant", "role.revoke", "off call"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("grant", "operater", "900000000000000109", "--reason", "x"),
        ("grant", "operator", "someone", "--reason", "x"),
        ("grant", "operator", "cli", "--reason", "x"),
        ("grant", "operator", "role:900000000000000201", "--reason", "x"),
        ("grant", "operator", "900000000000000109", "--reason", ""),
        ("grant", "operator", "900000000000000109"),
        ("explain", "900000000000000109", "jobs:walk"),
        ("explain", "900000000000000109", "jobs:run", "--guild", ""),
        ("explain", "900000000000000109", "jobs:run", "--guild", "900000000000000001,900000000000000002"),
        ("grant", "operator", "900000000000000109", "--reason", "x", "--expires", "99999999d"),
        ("explain", "900000000000000109", "/pong"),
        ("explain", "900000000000000109", "jobs:run", "--guild", "here"),
        ("explain", "900000000000000109", "jobs:run", "--has-role", "admin"),
        ("explain", "key:none", "jobs:run"),
        ("key", "rotate", "x", "--now", "--overlap", "1h"),
    ],
    ids=" ".join,
)
def test_invalid_grants_give_a_one_line_error(project: Project, arguments: tuple[str, ...]) -> None:
    done = project.call("auth", *arguments, "--json")
    assert done.code == 2
    assert json.loads(done.err)["exit_code"] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", ""),
        ("create", "x", "--expires", "soon"),
        ("create", "x", "--topics", "comands"),
        ("create", "x", "--topics", ","),
        ("revoke", "x"),
    ],
)
def test_invalid_arguments_give_a_one_line_error(project: Project, arguments: tuple[str, ...]) -> None:
    done = project.call("auth", "key", *arguments, "--json")
    assert done.code == 2
    assert json.loads(done.err)["exit_code"] == 2


@pytest.mark.soak
def test_idle_sockets_end_no_commands(tmp_path: Path) -> None:
    """The usual limit of 1,024 open files, and 1,008 sockets that say nothing: the bot still answers."""
    project = Project(tmp_path / "bot")
    with project.process("run") as bot, ExitStack() as sockets:
        psutil.Process(bot.pid).rlimit(psutil.RLIMIT_NOFILE, (1024, 1024))
        bot.wait_for_output(READY)
        url = urlsplit(address(project))
        for _ in range(1008):
            sockets.enter_context(socket.create_connection((url.hostname, url.port), timeout=LIMIT_S))
        assert "Pong!" in project.call("sandbox", "send", "/ping").out
        assert "at most 768 connections" in bot.output
        assert "Too many open files" not in bot.output


def test_every_close_code_is_documented() -> None:
    page = (DOCS / "realtime.md").read_text()
    assert not [code for code in CloseReason if f"| {int(code)} | `{code.name}` |" not in page]
