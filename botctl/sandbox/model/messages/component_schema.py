"""Validation of the components of a message (Discord: Components > Component Reference)."""

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
_ROWS_MAX = _BUTTONS_MAX = 5  # rows per message, buttons per row
_COMPONENTS_MAX = 40  # per V2 message, with nested ones
_TEXT_MAX = 4000  # characters of all text displays together
_OPTIONS_MAX = 25
_URL_MAX = 2048
_PREMIUM_STYLE = 6  # of a button
_ALLOWED_AT_TOP = (ROW, SECTION, TEXT, GALLERY, FILE, SEPARATOR, CONTAINER)
_ALLOWED_IN_CONTAINER = tuple(kind for kind in _ALLOWED_AT_TOP if kind != CONTAINER)
_CHILD_COUNTS = {CONTAINER: (1, _COMPONENTS_MAX), SECTION: (1, 3), ROW: (1, _BUTTONS_MAX), GALLERY: (1, 10)}


def parse_components(body: Json, errors: FormErrors, *, v2: bool) -> list[Json]:
    """The components of ``body``, with ids and defaults; empty if one is invalid. ``v2``: flag IS_COMPONENTS_V2."""
    path = ("components",)
    items = errors.objects((), body, "components")
    if not v2:
        errors.at_most(path, items, _ROWS_MAX)
    _check_list(items, errors, path, _ALLOWED_AT_TOP if v2 else (ROW,))
    if errors.tree:
        return []
    normalized = [_normalized(item) for item in items]
    everything = list(components.walk(normalized))
    _check_unique(errors, path, everything)
    if len(everything) > _COMPONENTS_MAX:
        errors.add(path, "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED", f"Must be {_COMPONENTS_MAX} or fewer in length.")
    if sum(len(component["content"]) for component in everything if component["type"] == TEXT) > _TEXT_MAX:
        words = f"The displayable text of a message must be {_TEXT_MAX} or fewer in length."
        errors.add(path, "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED", words)
    components.assign_ids(normalized)
    for component in everything:
        for name, value in _DEFAULTS_OF_TYPE.get(component["type"], {}).items():
            component.setdefault(name, value)
        for item in component.get("items") or ():
            item.setdefault("description", None)
            item.setdefault("spoiler", False)
    return normalized


def media_items(items: Iterable[Json]) -> list[Json]:
    """The images and files in components: objects with a ``url``."""
    media: list[Json] = []
    for component in components.walk(items):
        media += [component[name] for name in ("media", "file") if isinstance(component.get(name), dict)]
        media += [item["media"] for item in component.get("items") or ()]
    return media


def _normalized(component: Json) -> Json:
    """A copy of a valid component without unknown fields."""
    normalized = _keep_fields(component, ("type", "id", *_FIELDS_OF_TYPE[component["type"]]))
    if "components" in normalized:
        normalized["components"] = [_normalized(component) for component in normalized["components"]]
    if "accessory" in normalized:
        normalized["accessory"] = _normalized(normalized["accessory"])
    if "options" in normalized:
        normalized["options"] = [_keep_fields(option, _OPTION_FIELDS) for option in normalized["options"]]
    if "items" in normalized:
        normalized["items"] = [_keep_fields(item, _MEDIA_FIELDS) for item in normalized["items"]]
    for name in ("media", "file"):
        if name in normalized:
            normalized[name] = {"url": normalized[name]["url"]}
    return normalized


def _keep_fields(item: Json, names: Iterable[str]) -> Json:
    """The fields ``names`` of ``item`` that have a value; ``sku_id`` and ``emoji`` as Discord returns them."""
    picked = {name: item[name] for name in names if item.get(name) not in (None, "")}
    if "sku_id" in picked:
        picked["sku_id"] = str(picked["sku_id"])
    if emoji := picked.get("emoji"):
        picked["emoji"] = {"name": emoji.get("name") or ""} | ({"id": str(emoji["id"])} if emoji.get("id") else {})
    return picked


_OPTION_FIELDS = ("label", "value", "description", "emoji", "default")
_MEDIA_FIELDS = ("media", "description", "spoiler")
_SELECT_FIELDS = ("custom_id", "placeholder", "min_values", "max_values", "disabled", "required", "default_values")
_FIELDS_OF_TYPE: dict[int, tuple[str, ...]] = {
    ROW: ("components",),
    BUTTON: ("style", "label", "emoji", "custom_id", "url", "sku_id", "disabled"),
    SECTION: ("components", "accessory"),
    TEXT: ("content",),
    THUMBNAIL: _MEDIA_FIELDS,
    GALLERY: ("items",),
    FILE: ("file", "spoiler"),
    SEPARATOR: ("divider", "spacing"),
    CONTAINER: ("accent_color", "spoiler", "components"),
    **dict.fromkeys(SELECTS, _SELECT_FIELDS),
    STRING_SELECT: (*_SELECT_FIELDS, "options"),
    CHANNEL_SELECT: (*_SELECT_FIELDS, "channel_types"),
}
_DEFAULTS_OF_TYPE: dict[int, Json] = {
    CONTAINER: {"accent_color": None, "spoiler": False},
    THUMBNAIL: {"description": None, "spoiler": False},
    SEPARATOR: {"divider": True, "spacing": 1},
    FILE: {"spoiler": False, "name": None, "size": None},
}


def _check_list(items: list[Json], errors: FormErrors, path: Path, kinds: tuple[int, ...]) -> None:
    for index, component in enumerate(items):
        _check_one(component, errors, (*path, index), kinds)


def _check_one(component: Json, errors: FormErrors, path: Path, kinds: tuple[int, ...]) -> None:
    kind = component.get("type")
    if not errors.is_a((*path, "type"), kind, int):
        return
    if kind not in kinds:
        types = ", ".join(str(kind) for kind in kinds)
        errors.add((*path, "type"), "UNION_TYPE_CHOICES", f'Value of field "type" must be one of ({types},).')
        return
    errors.number(path, component, "id", 0, 2**31 - 1)
    _CHECK_OF_TYPE[int(kind or 0)](component, errors, path)


def _check_children(component: Json, errors: FormErrors, path: Path, kinds: tuple[int, ...]) -> list[Json]:
    inner = errors.objects(path, component, "components")
    _check_child_count(component, "components", inner, errors, path)
    _check_list(inner, errors, (*path, "components"), kinds)
    return inner


def _check_child_count(component: Json, name: str, items: list[Json], errors: FormErrors, path: Path) -> None:
    low, high = _CHILD_COUNTS[component["type"]]
    if name not in component:
        errors.add((*path, name), "BASE_TYPE_REQUIRED", "This field is required")
    elif not low <= len(items) <= high:
        errors.add((*path, name), "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")


def _check_row(row: Json, errors: FormErrors, path: Path) -> None:
    inner = _check_children(row, errors, path, (BUTTON, *sorted(SELECTS)))
    if len(inner) > 1 and any(child.get("type") in SELECTS for child in inner):
        words = "A select fills its action row alone."
        errors.add((*path, "components"), "COMPONENT_LAYOUT_WIDTH_EXCEEDED", words)


def _check_container(container: Json, errors: FormErrors, path: Path) -> None:
    errors.number(path, container, "accent_color", 0, 0xFFFFFF)
    errors.field(path, container, "spoiler", bool)
    _check_children(container, errors, path, _ALLOWED_IN_CONTAINER)


def _check_section(section: Json, errors: FormErrors, path: Path) -> None:
    _check_children(section, errors, path, (TEXT,))
    accessory = errors.field(path, section, "accessory", dict)
    if accessory is not None:
        _check_one(accessory, errors, (*path, "accessory"), (BUTTON, THUMBNAIL))
    elif section.get("accessory") is None:
        errors.add((*path, "accessory"), "BASE_TYPE_REQUIRED", "This field is required")


def _check_text(component: Json, errors: FormErrors, path: Path) -> None:
    errors.text(path, component, "content", 1, _TEXT_MAX)


def _check_thumbnail(thumbnail: Json, errors: FormErrors, path: Path) -> None:
    _check_media(thumbnail, "media", errors, path, ("http", "https", "attachment"))
    errors.text(path, thumbnail, "description", 0, 1024)
    errors.field(path, thumbnail, "spoiler", bool)


def _check_gallery(gallery: Json, errors: FormErrors, path: Path) -> None:
    items = errors.objects(path, gallery, "items")
    _check_child_count(gallery, "items", items, errors, path)
    for index, item in enumerate(items):
        _check_thumbnail(item, errors, (*path, "items", index))


def _check_file(component: Json, errors: FormErrors, path: Path) -> None:
    _check_media(component, "file", errors, path, ("attachment",))
    errors.field(path, component, "spoiler", bool)


def _check_media(component: Json, name: str, errors: FormErrors, path: Path, schemes: tuple[str, ...]) -> None:
    media = errors.field(path, component, name, dict)
    if media is None:
        if component.get(name) is None:
            errors.add((*path, name), "BASE_TYPE_REQUIRED", "This field is required")
        return
    errors.text((*path, name), media, "url", 1, _URL_MAX)
    errors.url((*path, name), media, "url", _URL_MAX, schemes)


def _check_separator(separator: Json, errors: FormErrors, path: Path) -> None:
    errors.field(path, separator, "divider", bool)
    errors.choice(path, separator, "spacing", (1, 2))


def _check_button(button: Json, errors: FormErrors, path: Path) -> None:
    style = errors.number(path, button, "style", 1, _PREMIUM_STYLE)
    if button.get("style") is None:
        errors.add((*path, "style"), "BASE_TYPE_REQUIRED", "This field is required")
    errors.text(path, button, "label", 0, 80)
    errors.field(path, button, "disabled", bool)
    _check_emoji(button, errors, path)
    errors.text(path, button, "custom_id", 0, 100)
    errors.url(path, button, "url", 512, ("http", "https", "discord"))
    errors.snowflake(path, button, "sku_id")
    wanted = {LINK_STYLE: "url", _PREMIUM_STYLE: "sku_id"}.get(style or 0, "custom_id")
    if not button.get(wanted):
        errors.add((*path, wanted), "BASE_TYPE_REQUIRED", f"A {wanted} is required for this button")
    if wanted != "custom_id" and button.get("custom_id"):
        words = f"A custom id and {wanted} cannot both be specified"
        errors.add((*path, "custom_id"), "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE", words)
    if style != _PREMIUM_STYLE and not button.get("label") and not button.get("emoji"):
        errors.add(path, "BUTTON_COMPONENT_INVALID", "A button must have a label or an emoji")


def _check_select(select: Json, errors: FormErrors, path: Path) -> None:
    errors.text(path, select, "custom_id", 1, 100)
    errors.text(path, select, "placeholder", 0, 150)
    errors.field(path, select, "disabled", bool)
    low = errors.number(path, select, "min_values", 0, _OPTIONS_MAX)
    high = errors.number(path, select, "max_values", 1, _OPTIONS_MAX)
    if low is not None and high is not None and low > high:
        errors.add((*path, "min_values"), "SELECT_COMPONENT_MIN_VALUES", "min_values cannot exceed max_values")
    if select["type"] == STRING_SELECT:
        _check_options(select, errors, path)
    elif select["type"] == CHANNEL_SELECT:
        errors.field(path, select, "channel_types", list)


def _check_options(select: Json, errors: FormErrors, path: Path) -> None:
    options = errors.objects(path, select, "options")
    if not 1 <= len(options) <= _OPTIONS_MAX:
        errors.add((*path, "options"), "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {_OPTIONS_MAX} in length.")
    for index, option in enumerate(options):
        option_path = (*path, "options", index)
        for name in ("label", "value"):
            errors.text(option_path, option, name, 1, 100)
        errors.text(option_path, option, "description", 0, 100)
        errors.field(option_path, option, "default", bool)
        _check_emoji(option, errors, option_path)
    values = [option.get("value") for option in options]
    for index, value in enumerate(values):
        if value in values[:index]:
            words = "The specified option value is already used"
            errors.add((*path, "options", index, "value"), "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", words)


def _check_emoji(component: Json, errors: FormErrors, path: Path) -> None:
    emoji, emoji_path = errors.field(path, component, "emoji", dict), (*path, "emoji")
    if emoji is None:
        return
    name, emoji_id = errors.text(emoji_path, emoji, "name", 0, 32), errors.snowflake(emoji_path, emoji, "id")
    if not name and not emoji_id:
        errors.add((*emoji_path, "name"), "COMPONENT_INVALID_EMOJI", "Invalid emoji")


def _check_unique(errors: FormErrors, path: Path, everything: list[Json]) -> None:
    """Each custom id and each id is used once."""
    for name, code in (("custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED"), ("id", "COMPONENT_ID_DUPLICATED")):
        values = [component[name] for component in everything if component.get(name)]
        if len(set(values)) < len(values):
            errors.add(path, code, f"Component {name.replace('_', ' ')} cannot be duplicated")


_CHECK_OF_TYPE: dict[int, Callable[[Json, FormErrors, Path], None]] = {
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
