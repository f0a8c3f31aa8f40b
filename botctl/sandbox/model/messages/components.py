"""The components of messages and modals: finding, describing and using them (Discord: Components)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.model.api_error import FormErrors, Path

Json = dict[str, Any]

ROW, BUTTON, STRING_SELECT, TEXT_INPUT = 1, 2, 3, 4
USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT = 5, 6, 7, 8
SECTION, TEXT, THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER = 9, 10, 11, 12, 13, 14, 17
V2 = 1 << 15  # Discord: Message resource > Message Flags: IS_COMPONENTS_V2
SELECTS = frozenset({STRING_SELECT, USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT})
CLICKABLE = SELECTS | {BUTTON}
LINK_STYLE = 5
_OPTION_TEXT_MAX = 100
_PATH_MAX = 12  # keys and indexes; enough for a button in a row in a container
_FIELD_TYPES: dict[str, type] = {
    "id": int,
    "custom_id": str,
    "label": str,
    "placeholder": str,
    "url": str,
    "emoji": dict,
    "disabled": bool,
    "required": bool,
    "min_values": int,
    "max_values": int,
    "min_length": int,
    "max_length": int,
    "value": str,
    "channel_types": list,
}


def walk(components: Iterable[Json]) -> Iterator[Json]:
    """All components; each before those in it."""
    for component in components:
        yield component
        yield from walk(component.get("components") or ())
        for inner in ("component", "accessory"):
            if isinstance(component.get(inner), dict):
                yield from walk((component[inner],))


def check(items: list[Json], errors: FormErrors, path: Path) -> None:
    """Add an error for each field with a wrong type in ``items`` (components), nested ones included."""
    for index, component in enumerate(items):
        _check_one(component, errors, (*path, index))


def _check_one(component: Json, errors: FormErrors, path: Path) -> None:
    if len(path) > _PATH_MAX:
        errors.add(path, "COMPONENT_LAYOUT_INVALID", "Components are nested too deeply")
        return
    errors.is_a((*path, "type"), component.get("type"), int)
    for name, kind in _FIELD_TYPES.items():
        errors.field(path, component, name, kind)
    check(errors.objects(path, component, "components"), errors, (*path, "components"))
    for name in ("component", "accessory"):
        inner = errors.field(path, component, name, dict)
        if inner is not None:
            _check_one(inner, errors, (*path, name))
    for index, option in enumerate(errors.objects(path, component, "options")):
        for name in ("label", "value"):
            errors.text((*path, "options", index), option, name, 1, _OPTION_TEXT_MAX)


def assign_ids(components: list[Json]) -> list[Json]:
    """Give an ``id`` to each component without one, and defaults to selects, as Discord does."""
    everything = list(walk(components))
    used = {component["id"] for component in everything if component.get("id")}
    free = (number for number in itertools.count(1) if number not in used)
    for component in everything:
        for name in [name for name, value in component.items() if value is None]:
            del component[name]
        if not component.get("id"):
            component["id"] = next(free)
        if component["type"] in SELECTS:
            component.setdefault("min_values", 1)
            component.setdefault("max_values", 1)
    return components


def clickable(components: list[Json]) -> list[Json]:
    return [component for component in walk(components) if component.get("type") in CLICKABLE]


def display_name(component: Json) -> str:
    """Its label, or else its emoji, placeholder or custom id."""
    emoji = (component.get("emoji") or {}).get("name")
    return str(component.get("label") or emoji or component.get("placeholder") or component.get("custom_id") or "")


def find(components: list[Json], wanted: str) -> Json:
    """The button or select with the custom id ``wanted``, or with that display name in any case. Raises UsageError."""
    candidates = clickable(components)
    for component in candidates:
        if component.get("custom_id") == wanted:
            return component
    for component in candidates:
        if display_name(component).casefold() == wanted.casefold():
            return component
    names = ", ".join(display_name(component) for component in candidates)
    raise UsageError(
        f"The message has no button or menu called “{wanted}”.",
        hint=f"It has: {names}." if names else "It has none at all.",
    )


def unusable_reason(component: Json, values: list[str] | None) -> str | None:
    """Why a user cannot click ``component``, or select ``values`` in it, as a sentence; None when they can."""
    name = display_name(component)
    if component.get("disabled"):
        return f"“{name}” is disabled."
    if component["type"] == BUTTON:
        if component.get("style") == LINK_STYLE:
            return f"“{name}” only opens {component.get('url')}; the bot is not notified."
        return None
    return count_error(component, name, len(values or ()))


def count_error(select: Json, name: str, count: int) -> str | None:
    """A sentence when ``count`` is not a valid number of values for the select menu ``name``."""
    low, high = select.get("min_values", 1), select.get("max_values", 1)
    if low <= count <= high:
        return None
    wanted = f"{low}" if low == high else f"{low} to {high}"
    return f"“{name}” takes {wanted} value{'' if wanted == '1' else 's'}, not {count}."


def resolve_choices(select: Json, values: list[str]) -> list[str]:
    """The values of a string select's options that ``values`` name by value or label. Raises UsageError."""
    options = select.get("options") or []
    by_word = {str(option["label"]).casefold(): option["value"] for option in options}
    known = {option["value"] for option in options}
    resolved = [value if value in known else by_word.get(value.casefold()) for value in values]
    if None in resolved:
        wrong = values[resolved.index(None)]
        labels = ", ".join(str(option["label"]) for option in options)
        raise UsageError(f"“{display_name(select)}” has no choice “{wrong}”.", hint=f"Its choices are: {labels}.")
    return [value for value in resolved if value is not None]


def check_modal(components: list[Json], errors: FormErrors, path: Path) -> None:
    """Add an error for each invalid component of a modal; each field needs a custom id."""
    check(components, errors, path)
    for index, outer in enumerate(components):
        for component in walk([outer]) if not errors.tree else ():
            if component["type"] in SELECTS | {TEXT_INPUT} and not component.get("custom_id"):
                errors.add((*path, index, "custom_id"), "BASE_TYPE_REQUIRED", "This field is required")


def modal_fields(components: list[Json]) -> list[Json]:
    """The fields of a modal, each with the label above it."""
    fields: list[Json] = []
    for outer in components:
        label = outer.get("label")
        inner = [outer["component"]] if isinstance(outer.get("component"), dict) else outer.get("components") or []
        fields += [
            {"required": True, "value": None, **field, "label": label or field.get("label") or field["custom_id"]}
            for field in inner
            if field.get("custom_id")
        ]
    return fields
