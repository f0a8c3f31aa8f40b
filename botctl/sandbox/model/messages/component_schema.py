"""What the components of a message may be and where each may stand (Discord: Components > Component Reference)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from botctl.sandbox.model.api_error import FormErrors, Path
from botctl.sandbox.model.messages import components
from botctl.sandbox.model.messages.components import (
    BUTTON,
    CHANNEL_SELECT,
    CONTAINER,
    FILE,
    GALLERY,
    LINK_STYLE,
    ROW,
    SECTION,
    SELECTS,
    SEPARATOR,
    STRING_SELECT,
    TEXT,
    THUMBNAIL,
)

Json = dict[str, Any]
_ROWS = _BUTTONS = 5  # in a message, in a row
_COMPONENTS_MAX = 40  # components of a version 2 message, nested ones too
_TEXT_MAX = 4000  # characters in all text displays of a message
_OPTIONS = 25
_URL = 2048
_PREMIUM_STYLE = 6
_TOP = (ROW, SECTION, TEXT, GALLERY, FILE, SEPARATOR, CONTAINER)
_IN_CONTAINER = tuple(kind for kind in _TOP if kind != CONTAINER)
_SIZES = {CONTAINER: (1, _COMPONENTS_MAX), SECTION: (1, 3), ROW: (1, _BUTTONS), GALLERY: (1, 10)}


def parse_components(body: Json, errors: FormErrors, *, v2: bool) -> list[Json]:
    """The components in the ``body`` of a message as Discord keeps them: with ids, and with what was left out.

    What Discord refuses is added to ``errors``; ``v2``: the message has that flag.
    """
    path = ("components",)
    listed = errors.objects((), body, "components")
    if not v2:
        errors.at_most(path, listed, _ROWS)
    _check_all(listed, errors, path, _TOP if v2 else (ROW,))
    if errors.tree:
        return []
    made = [_normalized(one) for one in listed]
    everything = list(components.walk(made))
    _check_unique(errors, path, everything)
    if len(everything) > _COMPONENTS_MAX:
        errors.add(path, "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED", f"Must be {_COMPONENTS_MAX} or fewer in length.")
    if sum(len(one["content"]) for one in everything if one["type"] == TEXT) > _TEXT_MAX:
        words = f"The displayable text of a message must be {_TEXT_MAX} or fewer in length."
        errors.add(path, "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED", words)
    components.assign_ids(made)
    for one in everything:
        for name, value in _DEFAULTS.get(one["type"], {}).items():
            one.setdefault(name, value)
        for item in one.get("items") or ():
            item.setdefault("description", None)
            item.setdefault("spoiler", False)
    return made


def media_items(listed: Iterable[Json]) -> list[Json]:
    """The pictures and files in components: objects with a ``url``."""
    found: list[Json] = []
    for one in components.walk(listed):
        found += [one[name] for name in ("media", "file") if isinstance(one.get(name), dict)]
        found += [item["media"] for item in one.get("items") or ()]
    return found


def _normalized(said: Json) -> Json:
    """A component that is right, without what Discord does not know of it; ``said`` stays as it is."""
    made = _pick(said, ("type", "id", *_FIELDS[said["type"]]))
    if "components" in made:
        made["components"] = [_normalized(one) for one in made["components"]]
    if "accessory" in made:
        made["accessory"] = _normalized(made["accessory"])
    if "options" in made:
        made["options"] = [_pick(one, _OPTION) for one in made["options"]]
    if "items" in made:
        made["items"] = [_pick(one, _ITEM) for one in made["items"]]
    for name in ("media", "file"):
        if name in made:
            made[name] = {"url": made[name]["url"]}
    return made


def _pick(said: Json, names: Iterable[str]) -> Json:
    """Those of ``names`` that say something."""
    made = {name: said[name] for name in names if said.get(name) not in (None, "")}
    if "sku_id" in made:
        made["sku_id"] = str(made["sku_id"])
    if emoji := made.get("emoji"):
        made["emoji"] = {"name": emoji.get("name") or ""} | ({"id": str(emoji["id"])} if emoji.get("id") else {})
    return made


_OPTION = ("label", "value", "description", "emoji", "default")
_ITEM = ("media", "description", "spoiler")
_SELECT = ("custom_id", "placeholder", "min_values", "max_values", "disabled", "required", "default_values")
_FIELDS: dict[int, tuple[str, ...]] = {
    ROW: ("components",),
    BUTTON: ("style", "label", "emoji", "custom_id", "url", "sku_id", "disabled"),
    SECTION: ("components", "accessory"),
    TEXT: ("content",),
    THUMBNAIL: _ITEM,
    GALLERY: ("items",),
    FILE: ("file", "spoiler"),
    SEPARATOR: ("divider", "spacing"),
    CONTAINER: ("accent_color", "spoiler", "components"),
    **dict.fromkeys(SELECTS, _SELECT),
    STRING_SELECT: (*_SELECT, "options"),
    CHANNEL_SELECT: (*_SELECT, "channel_types"),
}
_DEFAULTS: dict[int, Json] = {
    CONTAINER: {"accent_color": None, "spoiler": False},
    THUMBNAIL: {"description": None, "spoiler": False},
    SEPARATOR: {"divider": True, "spacing": 1},
    FILE: {"spoiler": False, "name": None, "size": None},
}


def _check_all(listed: list[Json], errors: FormErrors, path: Path, kinds: tuple[int, ...]) -> None:
    for index, one in enumerate(listed):
        _check_one(one, errors, (*path, index), kinds)


def _check_one(one: Json, errors: FormErrors, path: Path, kinds: tuple[int, ...]) -> None:
    kind = one.get("type")
    if not errors.is_a((*path, "type"), kind, int):
        return
    if kind not in kinds:
        listed = ", ".join(str(one) for one in kinds)
        errors.add((*path, "type"), "UNION_TYPE_CHOICES", f'Value of field "type" must be one of ({listed},).')
        return
    errors.number(path, one, "id", 0, 2**31 - 1)
    _CHECKS[int(kind or 0)](one, errors, path)


def _check_children(one: Json, errors: FormErrors, path: Path, kinds: tuple[int, ...]) -> list[Json]:
    inner = errors.objects(path, one, "components")
    _check_size(one, "components", inner, errors, path)
    _check_all(inner, errors, (*path, "components"), kinds)
    return inner


def _check_size(one: Json, name: str, listed: list[Json], errors: FormErrors, path: Path) -> None:
    low, high = _SIZES[one["type"]]
    if name not in one:
        errors.add((*path, name), "BASE_TYPE_REQUIRED", "This field is required")
    elif not low <= len(listed) <= high:
        errors.add((*path, name), "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")


def _check_row(one: Json, errors: FormErrors, path: Path) -> None:
    inner = _check_children(one, errors, path, (BUTTON, *sorted(SELECTS)))
    if len(inner) > 1 and any(child.get("type") in SELECTS for child in inner):
        words = "A select fills its action row alone."
        errors.add((*path, "components"), "COMPONENT_LAYOUT_WIDTH_EXCEEDED", words)


def _check_container(one: Json, errors: FormErrors, path: Path) -> None:
    errors.number(path, one, "accent_color", 0, 0xFFFFFF)
    errors.field(path, one, "spoiler", bool)
    _check_children(one, errors, path, _IN_CONTAINER)


def _check_section(one: Json, errors: FormErrors, path: Path) -> None:
    _check_children(one, errors, path, (TEXT,))
    beside = errors.field(path, one, "accessory", dict)
    if beside is not None:
        _check_one(beside, errors, (*path, "accessory"), (BUTTON, THUMBNAIL))
    elif one.get("accessory") is None:
        errors.add((*path, "accessory"), "BASE_TYPE_REQUIRED", "This field is required")


def _check_text(one: Json, errors: FormErrors, path: Path) -> None:
    errors.text(path, one, "content", 1, _TEXT_MAX)


def _check_thumbnail(one: Json, errors: FormErrors, path: Path) -> None:
    _check_media(one, "media", errors, path, ("http", "https", "attachment"))
    errors.text(path, one, "description", 0, 1024)
    errors.field(path, one, "spoiler", bool)


def _check_gallery(one: Json, errors: FormErrors, path: Path) -> None:
    items = errors.objects(path, one, "items")
    _check_size(one, "items", items, errors, path)
    for index, item in enumerate(items):
        _check_thumbnail(item, errors, (*path, "items", index))


def _check_file(one: Json, errors: FormErrors, path: Path) -> None:
    _check_media(one, "file", errors, path, ("attachment",))
    errors.field(path, one, "spoiler", bool)


def _check_media(one: Json, name: str, errors: FormErrors, path: Path, schemes: tuple[str, ...]) -> None:
    said = errors.field(path, one, name, dict)
    if said is None:
        if one.get(name) is None:
            errors.add((*path, name), "BASE_TYPE_REQUIRED", "This field is required")
        return
    errors.text((*path, name), said, "url", 1, _URL)
    errors.url((*path, name), said, "url", _URL, schemes)


def _check_separator(one: Json, errors: FormErrors, path: Path) -> None:
    errors.field(path, one, "divider", bool)
    errors.choice(path, one, "spacing", (1, 2))


def _check_button(one: Json, errors: FormErrors, path: Path) -> None:
    style = errors.number(path, one, "style", 1, _PREMIUM_STYLE)
    if one.get("style") is None:
        errors.add((*path, "style"), "BASE_TYPE_REQUIRED", "This field is required")
    errors.text(path, one, "label", 0, 80)
    errors.field(path, one, "disabled", bool)
    _check_emoji(one, errors, path)
    errors.text(path, one, "custom_id", 0, 100)
    errors.url(path, one, "url", 512, ("http", "https", "discord"))
    errors.snowflake(path, one, "sku_id")
    wanted = {LINK_STYLE: "url", _PREMIUM_STYLE: "sku_id"}.get(style or 0, "custom_id")
    if not one.get(wanted):
        errors.add((*path, wanted), "BASE_TYPE_REQUIRED", f"A {wanted} is required for this button")
    if wanted != "custom_id" and one.get("custom_id"):
        words = f"A custom id and {wanted} cannot both be specified"
        errors.add((*path, "custom_id"), "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", words)
    if style != _PREMIUM_STYLE and not one.get("label") and not one.get("emoji"):
        errors.add(path, "BUTTON_COMPONENT_INVALID", "A button must have a label or an emoji")


def _check_select(one: Json, errors: FormErrors, path: Path) -> None:
    errors.text(path, one, "custom_id", 1, 100)
    errors.text(path, one, "placeholder", 0, 150)
    errors.field(path, one, "disabled", bool)
    low = errors.number(path, one, "min_values", 0, _OPTIONS)
    high = errors.number(path, one, "max_values", 1, _OPTIONS)
    if low is not None and high is not None and low > high:
        errors.add((*path, "min_values"), "SELECT_COMPONENT_MIN_VALUES", "min_values cannot exceed max_values")
    if one["type"] == STRING_SELECT:
        _check_options(one, errors, path)
    elif one["type"] == CHANNEL_SELECT:
        errors.field(path, one, "channel_types", list)


def _check_options(one: Json, errors: FormErrors, path: Path) -> None:
    options = errors.objects(path, one, "options")
    if not 1 <= len(options) <= _OPTIONS:
        errors.add((*path, "options"), "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {_OPTIONS} in length.")
    for index, option in enumerate(options):
        where = (*path, "options", index)
        for name in ("label", "value"):
            errors.text(where, option, name, 1, 100)
        errors.text(where, option, "description", 0, 100)
        errors.field(where, option, "default", bool)
        _check_emoji(option, errors, where)
    values = [option.get("value") for option in options]
    for index, value in enumerate(values):
        if value in values[:index]:
            words = "The specified option value is already used"
            errors.add((*path, "options", index, "value"), "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", words)


def _check_emoji(one: Json, errors: FormErrors, path: Path) -> None:
    said, where = errors.field(path, one, "emoji", dict), (*path, "emoji")
    if said is None:
        return
    name, emoji_id = errors.text(where, said, "name", 0, 32), errors.snowflake(where, said, "id")
    if not name and not emoji_id:
        errors.add((*where, "name"), "COMPONENT_INVALID_EMOJI", "Invalid emoji")


def _check_unique(errors: FormErrors, path: Path, everything: list[Json]) -> None:
    """No custom id and no id may come twice."""
    for name, code in (("custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED"), ("id", "COMPONENT_ID_DUPLICATED")):
        said = [one[name] for one in everything if one.get(name)]
        if len(set(said)) < len(said):
            errors.add(path, code, f"Component {name.replace('_', ' ')} cannot be duplicated")


_CHECKS: dict[int, Callable[[Json, FormErrors, Path], None]] = {
    ROW: _check_row,
    BUTTON: _check_button,
    SECTION: _check_section,
    TEXT: _check_text,
    THUMBNAIL: _check_thumbnail,
    GALLERY: _check_gallery,
    FILE: _check_file,
    SEPARATOR: _check_separator,
    CONTAINER: _check_container,
    **dict.fromkeys(SELECTS, _check_select),
}
