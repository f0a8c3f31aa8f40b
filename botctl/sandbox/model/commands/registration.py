"""Validation and storage of application commands. ``scope``: a guild's id, or "" for global commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botctl.sandbox.model.api_error import ApiError, FormErrors, Path, unknown
from botctl.sandbox.model.commands import validation
from botctl.sandbox.model.world import Application, World

Json = dict[str, Any]
CountNew = Callable[[int], None]  # is called with the number of new commands; may raise RateLimited

SLASH, USER, MESSAGE = 1, 2, 3
SUB_COMMAND, SUB_COMMAND_GROUP = 1, 2
GUILD_CONTEXT, BOT_DM_CONTEXT = 0, 1  # Discord: Interaction Context Types
STRING, INTEGER, BOOLEAN, USER_OPTION, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(3, 12)
_COMMANDS_MAX = {SLASH: 100, USER: 15, MESSAGE: 15}  # per scope; Discord: Application Commands > Registering a Command
OPTIONS_MAX = CHOICES_MAX = 25
_DEPTH_MAX = {SUB_COMMAND: 2, SUB_COMMAND_GROUP: 1}  # how often "options" may occur in its path

_STORED_FIELDS = (
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


def display_names(item: Json, locale: str) -> tuple[str, ...]:
    """The names of a command, option or choice in ``locale``: its translation and its own name."""
    translated = (item.get("name_localizations") or {}).get(locale)
    return (item["name"],) if translated is None else (translated, item["name"])


def _count_nothing(_: int) -> None: ...


def list_commands(app: Application, scope: str) -> list[Json]:
    return list(app.commands.get(scope, {}).values())


def get(app: Application, scope: str, command_id: str) -> Json:
    try:
        return app.commands[scope][command_id]
    except KeyError:
        raise unknown("application command") from None


def create(
    world: World, app: Application, scope: str, body: Json, count: CountNew = _count_nothing
) -> tuple[Json, bool]:
    """The stored command, and whether it is new: one with the same name and type is replaced."""
    _require_valid(body)
    registered = app.commands.setdefault(scope, {})
    old = _find_by_name_and_type(registered, body)
    if old is None:
        _check_count([*registered.values(), body])
        count(1)
    stored = _normalized(world, app, scope, body, old)
    registered[stored["id"]] = stored
    return stored, old is None


def overwrite(
    world: World, app: Application, scope: str, bodies: list[Json], count: CountNew = _count_nothing
) -> list[Json]:
    """Replace all commands of ``scope``; a command whose name exists keeps its id."""
    errors = FormErrors()
    for index, body in enumerate(bodies):
        validate(body, errors, (index,))
    _check_unique(bodies, errors)
    errors.check()
    _check_count(bodies)
    registered = app.commands.get(scope, {})
    count(sum(_find_by_name_and_type(registered, body) is None for body in bodies))
    stored = [_normalized(world, app, scope, body, _find_by_name_and_type(registered, body)) for body in bodies]
    app.commands[scope] = {command["id"]: command for command in stored}
    return stored


def change(world: World, app: Application, scope: str, command_id: str, body: Json) -> Json:
    old = get(app, scope, command_id)
    merged = {**old, **body, "type": old["type"]}
    _require_valid(merged)
    others = [command for command in list_commands(app, scope) if command["id"] != command_id]
    errors = FormErrors()
    _check_unique([*others, merged], errors)
    errors.check()
    app.commands[scope][command_id] = stored = _normalized(world, app, scope, merged, old)
    return stored


def delete(app: Application, scope: str, command_id: str) -> None:
    get(app, scope, command_id)
    del app.commands[scope][command_id]


def validate(body: Any, errors: FormErrors, path: Path = ()) -> None:
    """Add an error for each invalid field of a command's ``body``."""
    if not errors.is_a(path, body, dict):
        return
    kind = body.get("type") or SLASH
    if not isinstance(kind, int) or kind not in _COMMANDS_MAX:
        errors.add((*path, "type"), "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3}.")
    else:
        validation.check_name(errors, path, body, slash=kind == SLASH)
        _check_slash(body, errors, path) if kind == SLASH else _check_context_menu(body, errors, path)
    validation.check_contexts(errors, path, body)
    if not errors.tree and validation.count_characters(body) > validation.SIZE_MAX:
        message = f"Command exceeds maximum size ({validation.SIZE_MAX})"
        errors.add(path, "APPLICATION_COMMAND_TOO_LARGE", message)


def _require_valid(body: Json) -> None:
    errors = FormErrors()
    validate(body, errors)
    errors.check()


def _check_slash(body: Json, errors: FormErrors, path: Path) -> None:
    validation.check_description(errors, path, body)
    _check_options(body, errors, path)


def _check_context_menu(body: Json, errors: FormErrors, path: Path) -> None:
    for name in ("description", "options"):
        if body.get(name):
            code = f"APPLICATION_COMMAND_CONTEXT_MENU_{name.upper()}_INVALID"
            errors.add((*path, name), code, f"Context menu commands cannot have {name}")


def _check_options(body: Json, errors: FormErrors, path: Path) -> None:
    options = errors.objects(path, body, "options")
    errors.at_most((*path, "options"), options, OPTIONS_MAX)
    if len({option.get("type") in (SUB_COMMAND, SUB_COMMAND_GROUP) for option in options}) > 1:
        message = "Sub-command and sub-command group option types are mutually exclusive to all other types"
        errors.add((*path, "options"), "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", message)
    optional_seen = False
    names: set[str] = set()
    for index, option in enumerate(options):
        here = (*path, "options", index)
        _check_option(option, errors, here)
        name = str(option.get("name"))
        if name in names:
            errors.add((*here, "name"), "APPLICATION_COMMAND_OPTIONS_NAME_INVALID", "Option names must be unique.")
        names.add(name)
        if optional_seen and option.get("required"):
            message = "Required options must be placed before non-required options"
            errors.add(here, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message)
        optional_seen |= not option.get("required") and option.get("type") not in (SUB_COMMAND, SUB_COMMAND_GROUP)


def _check_option(option: Json, errors: FormErrors, path: Path) -> None:
    validation.check_name(errors, path, option)
    validation.check_description(errors, path, option)
    kind = option.get("type")
    if not isinstance(kind, int) or kind not in range(SUB_COMMAND, ATTACHMENT + 1):
        errors.add((*path, "type"), "BASE_TYPE_CHOICES", "Value must be one of {1, …, 11}.")
    elif kind not in (SUB_COMMAND, SUB_COMMAND_GROUP):
        validation.check_value_option(errors, path, option, CHOICES_MAX)
    elif path.count("options") > _DEPTH_MAX[kind]:
        errors.add(
            (*path, "type"), "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Sub-commands cannot be nested like this"
        )
    else:
        _check_options(option, errors, path)


def _check_unique(bodies: list[Json], errors: FormErrors) -> None:
    seen: set[tuple[str, str]] = set()
    for index, body in enumerate(bodies):
        if not isinstance(body, dict):
            continue
        key = (str(body.get("type") or SLASH), str(body.get("name")))
        if key in seen:
            message = "Application command names must be unique"
            errors.add((index,), "APPLICATION_COMMANDS_DUPLICATE_NAME", message)
        seen.add(key)


def _check_count(bodies: list[Json]) -> None:
    for kind, limit in _COMMANDS_MAX.items():
        if sum((body.get("type") or SLASH) == kind for body in bodies) > limit:
            raise ApiError(400, 30032, f"Maximum number of application commands reached ({limit})")


def _find_by_name_and_type(registered: dict[str, Json], body: Json) -> Json | None:
    kind = body.get("type") or SLASH
    return next(
        (command for command in registered.values() if command["name"] == body["name"] and command["type"] == kind),
        None,
    )


def _normalized(world: World, app: Application, scope: str, body: Json, old: Json | None) -> Json:
    """The command as Discord returns it. It keeps the version of ``old`` when nothing else changed."""
    kind = body.get("type") or SLASH
    fields = {key: body[key] for key in _STORED_FIELDS if body.get(key) is not None}
    command: Json = {
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
        **fields,
    }
    permissions = command["default_member_permissions"]
    command["default_member_permissions"] = None if permissions is None else str(permissions)
    if kind == SLASH:
        command["options"] = [_normalized_option(option) for option in body.get("options") or []]
    else:
        command["description"] = ""
    if scope:
        command["guild_id"] = scope
    if command != old:
        command["version"] = world.new_id()
    return command


def _normalized_option(option: Json) -> Json:
    """The option as Discord returns it: without null and false values."""
    stored = {key: value for key, value in option.items() if value is not None and value is not False}
    if "options" in stored:
        stored["options"] = [_normalized_option(inner) for inner in stored["options"]]
    if stored.get("options") == [] or stored.get("choices") == []:
        stored = {key: value for key, value in stored.items() if value != []}
    return stored
