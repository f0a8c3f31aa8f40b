"""`botctl migrate`, and `botctl run` with migrations, through the real CLI."""

from __future__ import annotations

import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from tests.support.cli import BOTCTL, READY, CompletedCall, Process, Project
from tests.support.waiting import LIMIT_S, wait_for

# Each run adds a character to the file `runs`, so that a test can count them.
SLOW = '''"""Wait until a file appears."""

import asyncio
from pathlib import Path

HERE = Path(__file__).parent.parent


async def up(db):
    with (HERE / "runs").open("a") as runs:
        runs.write("x")
    while not (HERE / "finish").exists():
        await asyncio.sleep(0.01)
    await db["slow"].insert_one({"_id": "done"})


async def down(db):
    await db["slow"].delete_one({"_id": "done"})
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with running stores, so that a call need not start them."""
    new = Project(tmp_path_factory.mktemp("migrate") / "bot")
    with new.process("run", "--only", "stores", until="project"):
        yield new


@dataclass
class Bot:
    """A bot with its own database and migrations folder, in a shared project."""

    project: Project
    name: str

    def __post_init__(self) -> None:
        self.folder = self.project.root / self.name
        (self.folder / "migrations").mkdir(parents=True)
        self.env = {
            "BOTCTL_MONGO__DATABASE": self.name,
            "BOTCTL_MIGRATE__FOLDER": f"{self.name}/migrations",
            "BOTCTL_MIGRATE__ON_START": "false",
            "BOTCTL_MIGRATE__LEASE_S": "2",  # a short lease: the end of another process is noticed soon
        }

    def write(self, name: str, text: str) -> None:
        (self.folder / "migrations" / name).write_text(text, encoding="utf-8")

    def touch(self, name: str) -> None:
        (self.folder / name).touch()

    def call(self, *words: str) -> CompletedCall:
        return self.project.call(*words, **self.env)

    def process(self, *words: str, until: str | None = None) -> AbstractContextManager[Process]:
        return self.project.process(*words, until=until, **self.env)

    def runs(self) -> int:
        """How often the slow migrations have started."""
        return len((self.folder / "runs").read_text()) if (self.folder / "runs").exists() else 0

    def wait_for_runs(self, count: int = 1) -> None:
        wait_for(lambda: self.runs() == count, what="a migration to begin")

    def standings(self) -> dict[str, str]:
        return {row["name"]: row["standing"] for row in self.call("migrate", "status", "--json").json}


@pytest.fixture
def bot(home: Project) -> Bot:
    return Bot(home, f"b_{uuid.uuid4().hex[:8]}")


def test_two_processes_at_once_apply_a_migration_once(bot: Bot) -> None:
    """Both succeed: the second one waits and has nothing to do. A third one gives up."""
    bot.write("0001_slow.py", SLOW)
    dry = bot.call("migrate", "up", "--dry-run", "--json")
    assert (dry.code, [row["name"] for row in dry.json]) == (3, ["0001_slow"])
    with bot.process("migrate", "up", "--wait", "30") as one, bot.process("migrate", "up", "--wait", "30") as two:
        bot.wait_for_runs()
        held = bot.call("migrate", "up", "--wait", "0")
        assert (held.code, "held by process" in held.err) == (6, True)
        timed_out = bot.call("migrate", "up", "--wait", "2")
        line = timed_out.err.splitlines()[0]
        assert (timed_out.code, "runs migrations: waiting for 2 s at most." in line) == (6, True)
        bot.touch("finish")
        assert (one.wait_for_exit(), two.wait_for_exit()) == (0, 0)
        lines = sorted(process.output.splitlines()[-1].split(" in ")[0] for process in (one, two))
        assert lines == ["Nothing to do.", "✓ 0001_slow applied"]
    assert (bot.runs(), bot.call("migrate", "status").code) == (1, 0)


def test_output_that_cannot_be_printed_stops_no_migration(bot: Bot) -> None:
    """An encoding without ✓, and no stdin and stderr: a socket would get their numbers."""
    for name in ("0001_one.py", "0002_two.py"):
        bot.write(name, '"""Do nothing."""\n\n\nasync def up(db):\n    print("done")\n')
    done = subprocess.run(
        ("/bin/sh", "-c", 'exec "$@" <&- 2>&-', "sh", *BOTCTL, "migrate", "up"),
        cwd=bot.project.root,
        env={**bot.project.env, **bot.env, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    lines = [line.split(" in ")[0] for line in done.stdout.splitlines() if line != "done"]
    assert (done.returncode, lines) == (0, ["\\u2713 0001_one applied", "\\u2713 0002_two applied"])
    assert set(bot.standings().values()) == {"applied"}


def test_killed_migration_needs_a_decision(bot: Bot) -> None:
    """Exit code 5 with its name, until `resolve` records the state; the audit log has it."""
    bot.write("0001_slow.py", SLOW)
    with bot.process("migrate", "up") as process:
        bot.wait_for_runs()
        process.child.kill()
        process.wait_for_exit()
    status = bot.call("migrate", "status")
    assert (status.code, "0001_slow (up) was interrupted" in status.err) == (5, True)
    again = bot.call("run", "--migrate")
    assert (again.code, "resolve 0001_slow" in again.err) == (5, True)
    bot.touch("finish")
    resolved = bot.call("migrate", "resolve", "0001", "--pending", "--reason", "nothing was written")
    assert (resolved.code, resolved.out) == (0, "0001_slow was running and is pending now.\n")
    assert (bot.call("migrate", "up").code, bot.runs()) == (0, 2)
    entries = bot.call("audit", "log", "--action", "migration.*", "--json").json
    assert [(entry["action"], entry["stage"]) for entry in entries][
        -3:
    ] == [  # the entries of the killed run may be missing
        ("migration.resolve", "point"),
        ("migration.up", "begin"),
        ("migration.up", "end"),
    ]


def test_first_signal_lets_a_migration_finish_second_interrupts_it(bot: Bot) -> None:
    """Exit codes 130 and 143. The interrupted migration has failed."""
    bot.write("0001_slow.py", SLOW)
    bot.write("0002_slow.py", SLOW)
    with bot.process("migrate", "up") as process:
        bot.wait_for_runs()
        process.signal(signal.SIGINT)
        process.wait_for_output("Waiting until 0001_slow has finished")
        bot.touch("finish")
        assert process.wait_for_exit() == 130
    assert bot.standings() == {"0001_slow": "applied", "0002_slow": "pending"}
    (bot.folder / "finish").unlink()
    with bot.process("migrate", "up") as process:
        bot.wait_for_runs(2)
        process.signal(signal.SIGTERM)
        process.wait_for_output("Waiting until 0002_slow has finished")
        process.signal(signal.SIGTERM)
        assert process.wait_for_exit() == 143
    done = bot.call("migrate", "status")
    assert (done.code, "it was interrupted" in done.err) == (5, True)


def test_changed_file_of_an_applied_migration_is_refused(bot: Bot) -> None:
    """Exit code 4, until `resolve` accepts it. Then `down` reverts it, after a confirmation."""
    bot.write("0001_slow.py", SLOW)
    bot.touch("finish")
    assert bot.call("migrate", "up").code == 0
    bot.write("0001_slow.py", SLOW + "# a word\n")
    done = bot.call("migrate", "status")
    assert (done.code, "0001_slow was changed after it was applied" in done.err) == (4, True)
    assert bot.call("migrate", "resolve", "0001_slow", "--applied", "--reason", "a comment").code == 0
    asked = bot.call("migrate", "down")
    assert (asked.code, "--yes" in asked.err) == (5, True)
    done = bot.call("migrate", "down", "--yes", "--json")
    assert [(row["name"], row["direction"]) for row in done.json["done"]] == [("0001_slow", "down")]
    assert bot.call("migrate", "up", "--to", "0", "--json").code == 2


def test_run_refuses_pending_migrations_without_the_apply_option(bot: Bot) -> None:
    """Exit code 3; --migrate applies them."""
    bot.touch("finish")
    bot.write("0001_slow.py", SLOW)
    done = bot.call("run")
    assert (done.code, "1 migration is pending: 0001_slow." in done.err, "--migrate" in done.err) == (3, True, True)
    with bot.process("run", "--only", "bot", "--migrate", until=READY):
        assert bot.standings() == {"0001_slow": "applied"}


def test_unedited_migration_file_prevents_a_run(bot: Bot) -> None:
    """`create` writes such a file; exit code 78 with the line."""
    made = bot.call("migrate", "create", "index of votes")
    assert made.out.strip().endswith("migrations/0001_index_of_votes.py")
    done = bot.call("run", "--migrate")
    assert (done.code, "0001_index_of_votes.py:8: up does nothing yet" in done.err) == (78, True)
