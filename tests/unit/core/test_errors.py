"""The error tree: exit codes, hints, and the drawing of it."""

import re
from pathlib import Path

import pytest

from botctl.core import errors
from botctl.core.errors import BotctlError, CommandFaults, ExitCode, Unreachable, store_hint, translated

CLASSES = {n: c for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, BotctlError)}

CODES = {
    "BotctlError": 1,
    "UsageError": 2,
    "NotFound": 2,
    "WorkPending": 3,
    "IntegrityError": 4,
    "NeedsDecision": 5,
    "Held": 6,
    "Unreachable": 7,
    "ConfigError": 78,
    "AssemblyError": 78,
    "MissingNeed": 78,
    "CircularNeed": 78,
    "FileFaults": 78,
    "CommandFaults": 78,
    "MigrationFaults": 78,
    "CrashLoop": 78,
    "DeadToken": 78,
    "StoreRejects": 78,
    "StoreDamaged": 4,
    "ServiceFailed": 1,
    "ServiceTimeout": 1,
}


def drawn():
    """The tree of the docstring: name -> (parent, exit code)."""
    tree, path = {}, []
    for line in errors.__doc__.splitlines():
        if match := re.match(r"    ([\s│├└─]*)([A-Z]\w+) +(\d+)(?:   \S|$)", line):
            indent, name, code = match.groups()
            path = [*path[: len(indent) // 4], name]
            tree[name] = (path[-2] if len(path) > 1 else None, int(code))
    return tree


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_has_the_exit_code_of_the_table(name):
    assert CLASSES[name].exit_code == CODES[name]
    assert isinstance(CLASSES[name].exit_code, ExitCode)


def test_table_lists_exactly_the_error_classes():
    assert CODES.keys() == CLASSES.keys()


def test_error_tree_in_docstring_is_complete():
    real = {
        name: (None if cls is BotctlError else cls.__base__.__name__, int(cls.exit_code))
        for name, cls in CLASSES.items()
    }
    assert drawn() == real


def test_error_tree_in_docstring_marks_transient():
    marked = re.findall(r"([A-Z]\w+) +\d+ .*\(transient\)", errors.__doc__)
    assert marked == [name for name, cls in CLASSES.items() if cls.transient]


def test_exit_codes_match_the_contract():
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "PENDING": 3,
        "INTEGRITY": 4,
        "DECISION": 5,
        "HELD": 6,
        "UNREACHABLE": 7,
        "CONFIG": 78,
        "HUNG_UP": 129,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }


def test_error_text_is_its_message_and_hint_is_kept():
    error = BotctlError("Something is wrong.", hint="Do this.")
    assert (str(error), error.hint) == ("Something is wrong.", "Do this.")
    assert BotctlError("Something is wrong.").hint == ""


@pytest.mark.parametrize(("count", "start"), [(1, "1 fault in"), (2, "2 faults in")])
def test_command_faults_lists_all_faults(count, start):
    faults = [f"commands/roll.py:{i}: no" for i in range(count)]
    error = CommandFaults(faults)
    assert error.faults == tuple(faults)
    assert str(error).startswith(start)
    assert str(error).splitlines()[1:] == [f"  {fault}" for fault in faults]
    assert "--skip-broken" in error.hint


def test_hint_that_another_begins_with_is_said_once():
    faults = [errors.MigrationFaults(["m:1: x"]), errors.CommandFaults(["c:1: x"]), errors.ConfigError("y", hint="Do.")]
    assert errors.together(faults).hint == f"{errors.CommandFaults.default_hint} Do."
    assert errors.together(faults[::-1]).hint == f"Do. {errors.CommandFaults.default_hint}"


def test_store_hint_is_written_in_one_place():
    """So that it says the same everywhere, and can be made better everywhere."""
    package = Path(errors.__file__).parents[1]
    texts = {path.name: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    assert [name for name, text in texts.items() if "is running (botctl stores)" in text] == ["errors.py"]
    assert errors.store_hint("Redis") == "Check that Redis is running (botctl stores), then try again."


class DriverError(Exception):
    """What a driver raises."""


class Again(DriverError):
    """A kind of it."""


IT = translated(DriverError, OSError, sentence="It cannot be read: Redis fails ({error}).", hint=store_hint("Redis"))


@pytest.mark.parametrize("raised", [DriverError("at 10.0.0.1"), Again(), ConnectionResetError("by peer")])
def test_driver_error_becomes_unreachable_with_a_hint(raised):
    with pytest.raises(Unreachable) as told, IT:
        raise raised
    assert str(told.value) == f"It cannot be read: Redis fails ({type(raised).__name__})."
    assert (told.value.hint, told.value.__cause__) == (store_hint("Redis"), raised)


@pytest.mark.parametrize("raised", [ValueError("no"), Unreachable("It is away."), KeyboardInterrupt()])
def test_other_errors_are_not_translated(raised):
    with pytest.raises(type(raised)) as found, IT:
        raise raised
    assert found.value is raised


def test_error_translation_can_be_nested():
    with pytest.raises(Unreachable), IT, IT:
        raise DriverError
    with IT:
        pass


def test_sentence_can_contain_the_driver_error():
    block = translated(
        DriverError, sentence="Nothing: {error}.", describe=lambda error: f"it said {str(error)!r} {{error}}"
    )
    with pytest.raises(Unreachable, match=r"^Nothing: it said 'no' \{error\}\.$") as told, block:
        raise DriverError("no")
    assert told.value.hint == ""
