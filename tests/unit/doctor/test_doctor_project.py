"""Settings, commands and migrations: each fault is a line of its own."""

import pytest

from botctl.core.errors import CommandFaults, ConfigError
from botctl.doctor.finding import Mark
from botctl.doctor.project import (
    CommandsEvidence,
    MigrationsEvidence,
    assess_commands,
    assess_migrations,
    assess_refused,
    assess_settings,
)


def test_settings():
    well, notice = assess_settings("/srv/bot", "default", 3, ["redis.url has no password."])
    assert (well.mark, notice.mark) == (Mark.OK, Mark.UNKNOWN)


def test_each_fault_is_a_line_with_its_mend():
    error = ConfigError("2 settings are wrong:\n  a.toml:1: x is 5.\n  a.toml:2: y is 6.", hint="Correct it.")
    found = assess_refused("settings", error)
    assert [(f.mark, f.sentence, f.mend) for f in found] == [
        (Mark.FAULT, "a.toml:1: x is 5.", "Correct it."),
        (Mark.FAULT, "a.toml:2: y is 6.", "Correct it."),
    ]
    assert [f.sentence for f in assess_refused("settings", ConfigError("one is wrong"))] == ["one is wrong"]
    assert assess_refused("settings", ConfigError("one is wrong"))[0].mend
    found = assess_refused("commands", CommandFaults(["a.py:1: bad", "b.py:2: bad"]))
    assert [(f.mark, f.sentence) for f in found] == [(Mark.FAULT, "a.py:1: bad"), (Mark.FAULT, "b.py:2: bad")]


def test_commands():
    (well,) = assess_commands(CommandsEvidence("commands", 2, ["a", "b"], 1, []))
    assert well.mark is Mark.OK
    assert [f.mark for f in assess_commands(CommandsEvidence("commands", 1, ["a"], 0, ["x.py:1: why"]))] == [
        Mark.OK,
        Mark.UNKNOWN,
    ]
    assert assess_commands(CommandsEvidence("commands", 0, [], 0, []))[0].mark is Mark.FAULT


def migrations(on_start=False, malformed=(), **by_status):
    return assess_migrations(MigrationsEvidence(3, by_status, malformed, on_start))


@pytest.mark.parametrize("status", ["failed", "changed", "vanished", "late", "pending"])
def test_migration_that_is_not_well_is_a_fault(status):
    (finding,) = migrations(**{status: ["0001_x"]})
    assert (finding.mark, "0001_x" in finding.sentence, bool(finding.mend)) == (Mark.FAULT, True, True)


def test_migrations_that_are_well_or_not_known():
    assert migrations(applied=["0001_x"])[0].mark is Mark.OK
    assert migrations(on_start=True, pending=["0001_x"])[0].mark is Mark.OK
    assert migrations(running=["0001_x"])[0].mark is Mark.UNKNOWN
    assert migrations(malformed=["0009_y"])[0].mark is Mark.FAULT
