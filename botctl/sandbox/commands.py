"""Application commands: what may be registered, and how it is stored (Discord: Application Commands)."""

from __future__ import annotations

import re
from typing import Any

from botctl.sandbox.refusal import FormErrors, Refusal, unknown
from botctl.sandbox.world import Application, World

Json = dict[str, Any]

SLASH, USER, MESSAGE = 1, 2, 3
SUB_COMMAND, SUB_COMMAND_GROUP = 1, 2
STRING, INTEGER, BOOLEAN, USER_OPTION, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(3, 12)
LIMITS = {SLASH: 100, USER: 15, MESSAGE: 15}  # per scope; Discord: Application Commands > Registering a Command
OPTIONS_MAX = CHOICES_MAX = 25
NAME_MAX = 32
DESCRIPTION_MAX = 100

_SLASH_NAME = re.compile(r"[-_'\w]{1,32}")
_KEPT = (
    "name",
    "name_localizations",
    "description",
    "description_localizations",
    "options",
    "default_member_permissions",
    "dm_permission",
    "nsfw",
    "integration_types",
    "contexts",
)


def listing(app: Application, scope: str) -> list[Json]:
    return list(app.commands.get(scope, {}).values())


def get(app: Application, scope: str, command_id: str) -> Json:
    try:
        return app.commands[scope][command_id]
    except KeyError:
        raise unknown("application command") from None


def create(world: World, app: Application, scope: str, body: Json) -> tuple[Json, bool]:
    """The stored command, and whether it is new: one of the same name and type is replaced."""
    _check(body)
    there = app.commands.setdefault(scope, {})
    old = _same(there, body)
    if old is None:
        _check_room([*there.values(), body])
    stored = _stored(world, app, scope, body, old)
    there[stored["id"]] = stored
    return stored, old is None


def overwrite(world: World, app: Application, scope: str, bodies: list[Json]) -> list[Json]:
    """Bulk overwrite: what is named stays or comes (a known name keeps its id), everything else goes."""
    errors = FormErrors()
    for index, body in enumerate(bodies):
        validate(body, errors, (index,))
    _check_unique(bodies, errors)
    errors.check()
    _check_room(bodies)
    there = app.commands.get(scope, {})
    stored = [_stored(world, app, scope, body, _same(there, body)) for body in bodies]
    app.commands[scope] = {one["id"]: one for one in stored}
    return stored


def change(world: World, app: Application, scope: str, command_id: str, body: Json) -> Json:
    old = get(app, scope, command_id)
    merged = {**old, **body, "type": old["type"]}
    _check(merged)
    app.commands[scope][command_id] = stored = _stored(world, app, scope, merged, old)
    return stored


def delete(app: Application, scope: str, command_id: str) -> None:
    get(app, scope, command_id)
    del app.commands[scope][command_id]


def validate(body: Json, errors: FormErrors, path: tuple[str | int, ...] = ()) -> None:
    """Adds to ``errors`` what Discord would find wrong with a command's ``body``."""
    if not isinstance(body, dict):
        errors.add(path, "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return
    kind = body.get("type") or SLASH
    if kind not in LIMITS:
        errors.add((*path, "type"), "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3}.")
        return
    if kind == SLASH:
        _named(body, errors, path)
        _check_options(body.get("options") or [], errors, (*path, "options"))
    elif errors.require((*path, "name"), body.get("name")):
        errors.length((*path, "name"), str(body["name"]), 1, NAME_MAX)


def _check(body: Json) -> None:
    errors = FormErrors()
    validate(body, errors)
    errors.check()


def _named(body: Json, errors: FormErrors, path: tuple[str | int, ...]) -> None:
    """The name and description that a slash command and each of its options has."""
    if errors.require((*path, "name"), body.get("name")):
        name = str(body["name"])
        if not _SLASH_NAME.fullmatch(name) or name != name.lower():
            errors.add((*path, "name"), "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    if errors.require((*path, "description"), body.get("description")):
        errors.length((*path, "description"), str(body["description"]), 1, DESCRIPTION_MAX)


def _check_options(options: list[Json], errors: FormErrors, path: tuple[str | int, ...]) -> None:
    if len(options) > OPTIONS_MAX:
        errors.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {OPTIONS_MAX} or fewer in length.")
    optional_seen = False
    names: set[object] = set()
    for index, option in enumerate(options):
        here = (*path, index)
        _named(option, errors, here)
        if option.get("name") in names:
            errors.add((*here, "name"), "APPLICATION_COMMAND_OPTIONS_NAME_INVALID", "Option names must be unique.")
        names.add(option.get("name"))
        if optional_seen and option.get("required"):
            message = "Required options must be placed before non-required options"
            errors.add(here, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message)
        optional_seen |= not option.get("required") and option.get("type") not in (SUB_COMMAND, SUB_COMMAND_GROUP)
        _check_option(option, errors, here)


def _check_option(option: Json, errors: FormErrors, path: tuple[str | int, ...]) -> None:
    kind = option.get("type")
    if kind not in range(SUB_COMMAND, ATTACHMENT + 1):
        errors.add((*path, "type"), "BASE_TYPE_CHOICES", "Value must be one of {1, …, 11}.")
    elif kind in (SUB_COMMAND, SUB_COMMAND_GROUP):
        _check_options(option.get("options") or [], errors, (*path, "options"))
    choices = option.get("choices") or []
    if len(choices) > CHOICES_MAX:
        errors.add((*path, "choices"), "BASE_TYPE_MAX_LENGTH", f"Must be {CHOICES_MAX} or fewer in length.")
    if choices and option.get("autocomplete"):
        message = "Cannot have choices and autocomplete"
        errors.add((*path, "autocomplete"), "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_INVALID", message)


def _check_unique(bodies: list[Json], errors: FormErrors) -> None:
    seen: set[tuple[object, object]] = set()
    for index, body in enumerate(bodies):
        if not isinstance(body, dict):
            continue
        key = (body.get("type") or SLASH, body.get("name"))
        if key in seen:
            message = "Application command names must be unique"
            errors.add((index,), "APPLICATION_COMMANDS_DUPLICATE_NAME", message)
        seen.add(key)


def _check_room(bodies: list[Json]) -> None:
    for kind, limit in LIMITS.items():
        if sum((body.get("type") or SLASH) == kind for body in bodies) > limit:
            raise Refusal(400, 30032, f"Maximum number of application commands reached ({limit})")


def _same(there: dict[str, Json], body: Json) -> Json | None:
    kind = body.get("type") or SLASH
    return next((one for one in there.values() if one["name"] == body["name"] and one["type"] == kind), None)


def _stored(world: World, app: Application, scope: str, body: Json, old: Json | None) -> Json:
    """The command as Discord shows it. Its version changes only when something else did."""
    kind = body.get("type") or SLASH
    said = {key: body[key] for key in _KEPT if body.get(key) is not None}
    shown: Json = {
        "id": old["id"] if old else world.new_id(),
        "application_id": app.id,
        "version": old["version"] if old else "",
        "type": kind,
        "default_member_permissions": None,
        "nsfw": False,
        "integration_types": [0],
        "contexts": None,
        "dm_permission": True,
        "name_localizations": None,
        "description_localizations": None,
        **said,
    }
    permissions = shown["default_member_permissions"]
    shown["default_member_permissions"] = None if permissions is None else str(permissions)
    if kind == SLASH:
        shown["options"] = [_stored_option(option) for option in body.get("options") or []]
    else:
        shown["description"] = ""
    if scope:
        shown["guild_id"] = scope
    if shown != old:
        shown["version"] = world.new_id()
    return shown


def _stored_option(option: Json) -> Json:
    """Discord leaves out what is null, and false flags."""
    shown = {key: value for key, value in option.items() if value is not None and value is not False}
    if "options" in shown:
        shown["options"] = [_stored_option(inner) for inner in shown["options"]]
    if shown.get("options") == [] or shown.get("choices") == []:
        shown = {key: value for key, value in shown.items() if value != []}
    return shown
