"""Checks of names, translations, size and contexts of a command."""

from __future__ import annotations

from typing import Any

import pytest

from botctl.sandbox.model.api_error import FormErrors
from botctl.sandbox.model.commands import registration, validation

LONG = {"name": "x" * 32, "description": "d" * 100}


def slash(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "description": "d", **fields}


def option(kind: int = 3, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "name": "o", "description": "d", **fields}


def error_paths(body: dict[str, Any]) -> set[str]:
    """The paths of the errors in ``body``."""
    errors = FormErrors()
    registration.validate(body, errors)
    return set(_paths(errors.tree))


def _paths(tree: dict[str, Any], path: str = "") -> list[str]:
    here = [path] if "_errors" in tree else []
    deeper = [(f"{path}.{key}".lstrip("."), child) for key, child in tree.items() if key != "_errors"]
    return here + [inner for child_path, child in deeper for inner in _paths(child, child_path)]


@pytest.mark.parametrize("name", ["x", "über", "ping-2_a", "日本語", "ต้ม", "हिन्दी", "'"])
def test_translated_names_are_validated(name: str) -> None:
    assert error_paths(slash(name=name, name_localizations={"de": name})) == set()


@pytest.mark.parametrize("name", ["X", "Über", "a b", "a/b", "é!", "😀"])
def test_invalid_names_are_refused(name: str) -> None:
    assert error_paths(slash(name=name)) == {"name"}
    assert error_paths(slash(name_localizations={"de": name})) == {"name_localizations.de"}
    assert error_paths({"name": name, "type": 2}) == set()


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (slash(name_localizations={"xx": "a"}), "name_localizations.xx"),
        (slash(description_localizations={"de": "d" * 101}), "description_localizations.de"),
        (slash(contexts=[]), "contexts"),
        (slash(contexts=[3]), "contexts.0"),
        (slash(integration_types=[0, 2]), "integration_types.1"),
        (slash(default_member_permissions="x"), "default_member_permissions"),
        (slash(nsfw="yes"), "nsfw"),
        (slash(options=[option(), {**option(1), "name": "s"}]), "options"),
        (slash(options=[option(choices=[{"name": "a", "value": 1}])]), "options.0.choices.0.value"),
        (slash(options=[option(4, choices=[{"name": "a", "value": "1"}])]), "options.0.choices.0.value"),
        (slash(options=[option(5, choices=[{"name": "a", "value": "1"}])]), "options.0.choices.0.value"),
        (slash(options=[option(choices=[{"name": "a", "value": "1"}] * 2)]), "options.0.choices"),
        (slash(options=[option(choices=[{"name": "a", "value": str(n)} for n in range(26)])]), "options.0.choices"),
        (slash(options=[option(6, autocomplete=True)]), "options.0.autocomplete"),
        (slash(options=[option(7, channel_types=[9])]), "options.0.channel_types.0"),
        (slash(options=[option(max_length=0)]), "options.0.max_length"),
        (slash(options=[option(min_length=6001)]), "options.0.min_length"),
        (slash(options=[option(name="o", name_localizations={"de": "A"})]), "options.0.name_localizations.de"),
        (slash(options=[{**option(), "name": f"o{number}"} for number in range(26)]), "options"),
        ({"name": "Who", "type": 2, "description": "d"}, "description"),
        ({"name": "Who", "type": 3, "options": [option()]}, "options"),
    ],
)
def test_command_errors_have_their_path(body: dict[str, Any], path: str) -> None:
    assert path in error_paths(body)


def test_full_command_is_accepted() -> None:
    full = slash(
        name_localizations={"de": "würfeln", "fr": None},
        description_localizations={"de": "Würfeln"},
        contexts=[0, 1],
        integration_types=[0, 1],
        default_member_permissions=8,
        nsfw=False,
        options=[
            option(choices=[{"name": "a", "value": "1", "name_localizations": {"de": "b"}}], required=True),
            option(4, name="n", choices=[{"name": "a", "value": 1}], min_value=1, max_value=9),
            option(10, name="f", autocomplete=True, min_value=0.5),
            option(7, name="c", channel_types=[0, 15]),
        ],
    )
    assert error_paths(full) == set()


def test_size_counts_the_longest_translation() -> None:
    choice = {"name": "ab", "value": 100, "name_localizations": {"de": "abcd"}}
    body = slash(name_localizations={"de": "xyz"}, options=[option(choices=[choice])])
    assert validation.count_characters(body) == 3 + 1 + 1 + 1 + 4 + 3


def test_command_has_at_most_8000_characters() -> None:
    choices = [{"name": f"{n:02}" + "n" * 98, "value": f"{n:02}" + "v" * 98} for n in range(25)]
    options = [{**option(choices=choices), "name": "a", "description": "d" * 100}]
    assert error_paths(slash(options=options)) == set()
    assert error_paths(slash(options=[*options, {**options[0], "name": "b"}])) == {""}
