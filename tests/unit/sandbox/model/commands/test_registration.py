"""Registration of application commands: the stored command, and the errors."""

from __future__ import annotations

from typing import Any

import pytest

from botctl.sandbox.model.api_error import ApiError
from botctl.sandbox.model.commands import registration
from botctl.sandbox.model.world import Application, World
from tests.support.clock import ManualClock


@pytest.fixture
def world() -> World:
    return World(ManualClock())


@pytest.fixture
def app() -> Application:
    return Application("1", "bot", "2")


def slash(name: str = "roll", **fields: Any) -> dict[str, Any]:
    return {"name": name, "description": "D", **fields}


def nested(kind: int, *options: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "name": f"n{kind}", "description": "d", "options": list(options)}


def error_of(world: World, app: Application, *bodies: dict[str, Any]) -> ApiError:
    with pytest.raises(ApiError) as refused:
        registration.overwrite(world, app, "", list(bodies))
    return refused.value


def test_bulk_overwrite_keeps_ids_of_known_names(world: World, app: Application) -> None:
    first = registration.overwrite(world, app, "", [slash("a"), slash("b"), {"name": "B", "type": 2}])
    second = registration.overwrite(world, app, "", [slash("b", description="new"), {"name": "B", "type": 2}])
    assert [command["id"] for command in second] == [first[1]["id"], first[2]["id"]]
    assert second[0]["version"] != first[1]["version"]
    assert second[1] == first[2]
    assert [command["name"] for command in registration.list_commands(app, "")] == ["b", "B"]


def test_guild_commands_are_separate_from_global_commands(world: World, app: Application) -> None:
    registration.create(world, app, "", slash())
    (command,) = registration.overwrite(world, app, "7", [slash()])
    assert command["guild_id"] == "7"
    registration.delete(app, "7", command["id"])
    assert len(registration.list_commands(app, "")) == 1


def test_sub_command_may_be_nested_in_a_group(world: World, app: Application) -> None:
    stored = registration.overwrite(world, app, "", [slash(options=[nested(2, nested(1)), nested(1)])])
    assert stored == registration.overwrite(world, app, "", [slash(options=[nested(2, nested(1)), nested(1)])])


def test_creating_an_existing_command_replaces_it(world: World, app: Application) -> None:
    first, new = registration.create(world, app, "", slash())
    second, again = registration.create(world, app, "", slash(description="other"))
    assert (new, again, first["id"]) == (True, False, second["id"])


def test_patch_keeps_absent_fields(world: World, app: Application) -> None:
    command, _ = registration.create(world, app, "", slash(options=[{"type": 3, "name": "x", "description": "X"}]))
    changed = registration.change(world, app, "", command["id"], {"description": "other"})
    assert (changed["name"], changed["description"], len(changed["options"])) == ("roll", "other", 1)


def test_unknown_command_is_10063(world: World, app: Application) -> None:
    with pytest.raises(ApiError) as refused:
        registration.delete(app, "", "1")
    assert (refused.value.status, refused.value.code) == (404, 10063)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"description": "D"}, "name"),
        (slash("Not lower"), "name"),
        (slash("x" * 33), "name"),
        ({"name": "a"}, "description"),
        (slash(description="x" * 101), "description"),
        ({"name": "a", "type": 9}, "type"),
        (slash(options=[{"type": 3, "name": "x"}]), "options.0.description"),
        (slash(options=[{"type": 12, "name": "x", "description": "d"}]), "options.0.type"),
        (slash(options=[{"type": 1, "name": "s", "description": "d", "options": [{}]}]), "options.0.options.0.name"),
        (slash(options=[{"type": 3, "name": "x", "description": "d"}] * 2), "options.1.name"),
        (slash(options=[nested(2, nested(2))]), "options.0.options.0.type"),
        (slash(options=[nested(2, nested(1, nested(1)))]), "options.0.options.0.options.0.type"),
        (slash(options=["x"]), "options.0"),
        (slash(name_localizations=[]), "name_localizations"),
    ],
)
def test_errors_are_named_by_path(world: World, app: Application, body: dict[str, Any], path: str) -> None:
    refused = error_of(world, app, slash("fine"), body)
    assert (refused.status, refused.code, refused.message) == (400, 50035, "Invalid Form Body")
    node = refused.errors["1"]
    for part in path.split("."):
        node = node[part]
    assert node["_errors"][0]["code"]
    assert registration.list_commands(app, "") == []


def test_required_options_come_first(world: World, app: Application) -> None:
    options = [
        {"type": 3, "name": "a", "description": "d"},
        {"type": 3, "name": "b", "description": "d", "required": True},
    ]
    assert "_errors" in error_of(world, app, slash(options=options)).errors["0"]["options"]["1"]


def test_names_are_unique_within_a_type(world: World, app: Application) -> None:
    assert error_of(world, app, slash(), slash()).code == 50035
    registration.overwrite(world, app, "", [slash(), {"name": "roll", "type": 2}, {"name": "roll", "type": 3}])


def test_scope_holds_100_commands(world: World, app: Application) -> None:
    registration.overwrite(world, app, "", [slash(f"c{number}") for number in range(100)])
    with pytest.raises(ApiError) as refused:
        registration.create(world, app, "", slash("more"))
    assert refused.value.code == 30032
    registration.create(world, app, "", slash("c1", description="replaced"))
