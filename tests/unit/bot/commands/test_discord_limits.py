"""What Discord refuses in a command, by the payload that disnake would send."""

from __future__ import annotations

from typing import Any

import pytest

from botctl.bot.commands.discord_limits import refusals, too_many
from botctl.sandbox.model.api_error import FormErrors
from botctl.sandbox.model.commands.registration import validate

OPTION: dict[str, Any] = {"type": 3, "name": "word", "description": "A word."}


def sentences(**changes: Any) -> list[str]:
    """What is refused. The sandbox, whose rules are written down separately, must agree."""
    body = {"type": 1, "name": "say", "description": "Say it.", **changes}
    found = [refusal.sentence for refusal in refusals(body)]
    validate(body, errors := FormErrors())
    assert bool(errors.tree) is bool(found) or "allows nothing" in found[0]  # the sandbox does not know that
    return found


def option_sentences(**changes: Any) -> list[str]:
    return sentences(options=[{**OPTION, **changes}])


def choices(*values: Any, name: str = "") -> list[dict[str, Any]]:
    return [{"name": name or f"c{i}", "value": value} for i, value in enumerate(values)]


def test_what_discord_takes_is_not_refused():
    assert sentences(name="größe-1", description="x" * 100, options=[OPTION] * 0) == []
    assert option_sentences(required=True, choices=choices("x" * 100), max_length=6000) == []
    assert option_sentences(type=4, min_value=-5, max_value=5, choices=choices(2**53)) == []
    assert sentences(type=2, name="Who Is?", description="") == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"description": "x" * 120}, "the description of /say has 120 characters; Discord allows 1 to 100"),
        ({"description": ""}, "the description of /say has 0 characters"),
        ({"description_localizations": {"de": "x" * 101}}, "the description of /say in de has 101 characters"),
        ({"name_localizations": {"de": "Sagen"}}, "the name 'Sagen' of /say in de may have lower-case letters"),
        ({"name_localizations": {"xx": "a"}}, "/say is translated to 'xx', which is no language of Discord"),
        ({"name": "Say It"}, "the name 'Say It' of /Say It may have lower-case"),
        ({"type": 3, "name": "x" * 33}, "has 33 characters; Discord allows 1 to 32"),
        ({"contexts": []}, "/say has an empty list of contexts"),
        ({"options": [{**OPTION, "name": f"o{i}"} for i in range(26)]}, "/say has 26 options; Discord allows 25"),
        ({"options": [OPTION, OPTION]}, "/say has two options called word"),
        (
            {"options": [OPTION, {**OPTION, "name": "b", "required": True}]},
            "an option without a default after one with",
        ),
        ({"options": [OPTION, {**OPTION, "type": 1, "name": "sub"}]}, "sub-commands and options"),
    ],
)
def test_refused_command_is_described(changes: dict[str, Any], sentence: str):
    assert any(sentence in found for found in sentences(**changes)), sentences(**changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"description": "x" * 101}, "the description of option word has 101 characters"),
        ({"choices": choices("x" * 101)}, "the value of choice 'c0' of option word has 101 characters"),
        ({"choices": choices("")}, "the value of choice 'c0' of option word has 0 characters"),
        ({"choices": choices("a", name="n" * 101)}, "of option word has 101 characters"),
        ({"choices": choices("a", "b", name="same")}, "option word has two choices called 'same'"),
        ({"choices": choices(*"abcdefghijklmnopqrstuvwxyz")}, "option word has 26 choices; Discord allows 25"),
        ({"choices": choices("a"), "autocomplete": True}, "choices and autocomplete"),
        ({"type": 4, "choices": choices(2**53 + 1)}, "Discord allows numbers up to 2**53"),
        ({"type": 4, "min_value": 6, "max_value": 5}, "allows nothing: min_value is 6, and max_value is 5"),
        ({"max_length": 6001}, "has max_length 6001; Discord allows 1 to 6000"),
    ],
)
def test_refused_option_is_described(changes: dict[str, Any], sentence: str):
    assert any(sentence in found for found in option_sentences(**changes)), option_sentences(**changes)


def test_refusal_names_the_sub_command():
    inner = {**OPTION, "type": 1, "name": "add", "options": [{**OPTION, "description": ""}]}
    group = {**OPTION, "type": 2, "name": "tag", "options": [inner, {**inner, "name": "del", "description": "x" * 101}]}
    found = list(refusals({"type": 1, "name": "say", "description": "Say it.", "options": [group]}))
    assert [refusal.path for refusal in found] == [("tag", "add"), ("tag", "del"), ("tag", "del")]
    assert found[1].sentence.startswith("the description of /say tag del has 101 characters")


def test_size_counts_the_longest_translations():
    options = [
        {**OPTION, "name": f"o{i}", "choices": [{"name": f"{j:04}" + "n" * 96, "value": f"{j:02}"} for j in range(4)]}
        for i in range(20)
    ]
    (sentence,) = sentences(options=options)
    assert sentence.endswith("characters in all its texts; Discord allows 8000")


def test_number_of_commands_has_a_limit_for_each_type():
    assert not too_many(1, ["a"] * 100)
    assert too_many(1, ["a"] * 101) == "there are 101 slash commands; Discord allows 100"
    assert too_many(3, ["a"] * 16) == "there are 16 message commands; Discord allows 15"
