"""`botctl migrate`, and what `botctl run` makes of it, through the real CLI."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from tests.support.cli import READY, Done, Process, Project
from tests.support.waiting import wait_for

# It leaves files behind, so that a test sees what it does; each run adds a line.
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
    """A bot whose stores run, so that a call starts nothing."""
    new = Project(tmp_path_factory.mktemp("migrate") / "bot")
    with new.process("run", "--only", "stores", until="project"):
        yield new


@dataclass
class Bot:
    """A database and a migrations folder of the test's own; ``call`` and ``process`` are those of the project."""

    project: Project
    name: str

    def __post_init__(self) -> None:
        self.here = self.project.root / self.name
        (self.here / "migrations").mkdir(parents=True)
        self.env = {
            "BOTCTL_MONGO__DATABASE": self.name,
            "BOTCTL_MIGRATE__FOLDER": f"{self.name}/migrations",
            "BOTCTL_MIGRATE__ON_START": "false",
            "BOTCTL_MIGRATE__LEASE_S": "2",  # soon known whether another process has died
        }

    def write(self, name: str, text: str) -> None:
        (self.here / "migrations" / name).write_text(text, encoding="utf-8")

    def touch(self, name: str) -> None:
        (self.here / name).touch()

    def call(self, *words: str) -> Done:
        return self.project.call(*words, **self.env)

    def process(self, *words: str, until: str | None = None) -> AbstractContextManager[Process]:
        return self.project.process(*words, until=until, **self.env)

    def runs(self) -> int:
        """How often a slow migration has begun."""
        return len((self.here / "runs").read_text()) if (self.here / "runs").exists() else 0

    def begun(self, count: int = 1) -> None:
        wait_for(lambda: self.runs() == count, what="a migration to begin", limit_s=30)

    def standings(self) -> dict[str, str]:
        return {row["name"]: row["standing"] for row in self.call("migrate", "status", "--json").json}


@pytest.fixture
def bot(home: Project) -> Bot:
    return Bot(home, f"b_{uuid.uuid4().hex[:8]}")


def test_two_that_come_at_the_same_moment_apply_once(bot: Bot) -> None:
    """Both succeed: the second waits, and finds nothing to do. A third has no patience."""
    bot.write("0001_slow.py", SLOW)
    dry = bot.call("migrate", "up", "--dry-run", "--json")
    assert (dry.code, [row["name"] for row in dry.json]) == (3, ["0001_slow"])
    with bot.process("migrate", "up", "--wait", "30") as one, bot.process("migrate", "up", "--wait", "30") as two:
        bot.begun()
        held = bot.call("migrate", "up", "--wait", "0")
        assert (held.code, "held by process" in held.err) == (6, True)
        patient = bot.call("migrate", "up", "--wait", "2")
        said = patient.err.splitlines()[0]
        assert (patient.code, "does migrations: waiting for 2 s at most." in said) == (6, True), "not in silence"
        bot.touch("finish")
        assert (one.ended(), two.ended()) == (0, 0)
        said = sorted(process.said.splitlines()[-1].split(" in ")[0] for process in (one, two))
        assert said == ["Nothing to do.", "✓ 0001_slow applied"]
    assert (bot.runs(), bot.call("migrate", "status").code) == (1, 0)


def test_kill_9_in_the_middle_is_seen_and_never_run_over(bot: Bot) -> None:
    """5 everywhere, with the name; a person says what is so, and that goes into the audit log."""
    bot.write("0001_slow.py", SLOW)
    with bot.process("migrate", "up") as process:
        bot.begun()
        process.child.kill()
        process.ended()
    dead = bot.call("migrate", "status")
    assert (dead.code, "0001_slow (up) was cut off" in dead.err) == (5, True)
    again = bot.call("run", "--migrate")
    assert (again.code, "resolve 0001_slow" in again.err) == (5, True)
    bot.touch("finish")
    said = bot.call("migrate", "resolve", "0001", "--pending", "--reason", "nothing was written")
    assert (said.code, said.out) == (0, "0001_slow was running and is pending now.\n")
    assert (bot.call("migrate", "up").code, bot.runs()) == (0, 2)
    entries = bot.call("audit", "log", "--action", "migration.*", "--json").json
    assert [(entry["action"], entry["stage"]) for entry in entries][-3:] == [  # the ledger, not this, is the witness
        ("migration.resolve", "point"),
        ("migration.up", "begin"),
        ("migration.up", "end"),
    ]


def test_a_signal_lets_it_finish_and_a_second_one_does_not(bot: Bot) -> None:
    """130 and 143; what was interrupted has failed, and says so."""
    bot.write("0001_slow.py", SLOW)
    bot.write("0002_slow.py", SLOW)
    with bot.process("migrate", "up") as process:
        bot.begun()
        process.signal(signal.SIGINT)
        process.until("Waiting until 0001_slow has finished")
        bot.touch("finish")
        assert process.ended() == 130
    assert bot.standings() == {"0001_slow": "applied", "0002_slow": "pending"}
    (bot.here / "finish").unlink()
    with bot.process("migrate", "up") as process:
        bot.begun(2)
        process.signal(signal.SIGTERM)
        process.until("Waiting until 0002_slow has finished")
        process.signal(signal.SIGTERM)
        assert process.ended() == 143
    done = bot.call("migrate", "status")
    assert (done.code, "it was interrupted" in done.err) == (5, True)


def test_a_file_that_was_changed_after_it_was_applied(bot: Bot) -> None:
    """4, until it is put back or said to be meant; then `down` takes it back, and asks first."""
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


def test_run_ends_with_3_while_some_are_pending_and_applies_them_on_request(bot: Bot) -> None:
    """With --migrate, or the setting."""
    bot.touch("finish")
    bot.write("0001_slow.py", SLOW)
    done = bot.call("run")
    assert (done.code, "1 migration is pending: 0001_slow." in done.err, "--migrate" in done.err) == (3, True, True)
    with bot.process("run", "--only", "bot", "--migrate", until=READY):
        assert bot.standings() == {"0001_slow": "applied"}


def test_a_file_that_is_still_to_be_written_stops_a_run(bot: Bot) -> None:
    """`create` writes it; exit code 78 with its line."""
    made = bot.call("migrate", "create", "index of votes")
    assert made.out.strip().endswith("migrations/0001_index_of_votes.py")
    done = bot.call("run", "--migrate")
    assert (done.code, "0001_index_of_votes.py:8: up does nothing yet" in done.err) == (78, True)
