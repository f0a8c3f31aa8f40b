"""Words become options, or a sentence for the user."""

from __future__ import annotations

from typing import Any

import pytest

from botctl.core.errors import UsageError
from botctl.sandbox.model.acting_user import find_actor
from botctl.sandbox.model.commands import options
from botctl.sandbox.model.commands.options import ClientRejected, Resolved
from botctl.sandbox.model.default_world import default_world
from tests.support.discord import CAT


@pytest.fixture
def resolved() -> Resolved:
    world = default_world()
    return Resolved(world, find_actor(world, {}))


def option(kind: int, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "name": "x", "description": "X", **fields}


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (3, "a b", "a b"),
        (4, "-7", -7),
        (5, "Yes", True),
        (5, "off", False),
        (10, "1e3", 1000.0),
        (6, "@cat", CAT),
        (6, f"<@{CAT}>", CAT),
        (7, "#staff", "900000000000000302"),
        (8, "moderator", "900000000000000202"),
        (8, "@everyone", "900000000000000001"),
        (9, "cat", CAT),
        (9, "Admin", "900000000000000201"),
    ],
)
def test_word_is_converted_to_an_option_value(resolved: Resolved, kind: int, word: str, value: Any) -> None:
    converted = options.convert(option(kind), word, resolved)
    assert (converted, type(converted)) == (value, type(value))
    if kind in (6, 7, 8, 9):
        assert any(value in objects for objects in resolved.data.values())


@pytest.mark.parametrize(
    ("wanted", "word", "sentence"),
    [
        (option(4), "1.5", "“x” must be a whole number, not “1.5”."),
        (option(4, min_value=2), "1", "“x” must be at least 2."),
        (option(10, max_value=2.5), "3", "“x” must be at most 2.5."),
        (option(10), "nan", "“x” must be between -2^53 and 2^53."),
        (option(4), str(1 << 60), "“x” must be between -2^53 and 2^53."),
        (option(3, min_length=3), "ab", "“x” must have 3 to 6000 characters; it has 2."),
        (option(5), "maybe", "“x” must be true or false, not “maybe”."),
        (option(6), "zoe", "“x” must be a member; “zoe” was not found."),
        (option(8), "ann", "“x” must be a role; “ann” was not found."),
        (option(7, channel_types=[2]), "general", "“x” does not take a channel like “general”."),
        (option(3, choices=[{"name": "A", "value": "a"}]), "b", "“x” must be one of: A."),
    ],
)
def test_invalid_option_value_is_explained(
    resolved: Resolved, wanted: dict[str, Any], word: str, sentence: str
) -> None:
    with pytest.raises(ClientRejected) as wrong:
        options.convert(wanted, word, resolved)
    assert str(wrong.value) == sentence


def test_choice_is_accepted_by_name_or_value(resolved: Resolved) -> None:
    wanted = option(4, choices=[{"name": "One", "value": 1}])
    assert options.convert(wanted, "one", resolved) == options.convert(wanted, "1", resolved) == 1


def test_missing_and_unknown_options_are_explained(resolved: Resolved) -> None:
    with pytest.raises(ClientRejected, match="“x” is required"):
        options.fill([option(3, required=True)], {}, resolved)
    with pytest.raises(ClientRejected, match=r"no option “y” \(options: x\)"):
        options.fill([option(3)], {"y": "1"}, resolved)


def test_autocomplete_omits_incomplete_options(resolved: Resolved) -> None:
    wanted = [{**option(4), "name": "n"}, {**option(3), "name": "s"}]
    filled = options.fill_partial(wanted, {"n": "x", "s": "lo"}, "s", resolved)
    assert filled == [{"name": "s", "type": 3, "value": "lo", "focused": True}]


def test_sub_commands_are_found_and_nested() -> None:
    sub_command = {"type": 1, "name": "clear", "options": [option(3)]}
    command = {"name": "ops", "options": [{"type": 2, "name": "cache", "options": [sub_command]}]}
    path, wanted = options.resolve_subcommand(command, ["cache", "clear"])
    assert wanted == [option(3)]
    assert options.nest(path, [])[0]["options"][0]["name"] == "clear"
    for words, sentence in (([], "needs a sub-command"), (["no"], "has no sub-command “no”"), (["cache"], "needs")):
        with pytest.raises(UsageError, match=sentence):
            options.resolve_subcommand(command, words)
    with pytest.raises(UsageError, match="has no sub-command “more”"):
        options.resolve_subcommand({"name": "ping"}, ["more"])
