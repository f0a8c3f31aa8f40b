"""Checks of a command's names, translations, size and contexts (Discord: Application Commands > Naming, Contexts)."""

from __future__ import annotations

import re
from typing import Any

from botctl.core.contracts.guild_settings import LOCALES
from botctl.sandbox.model.api_error import FormErrors, Path

Json = dict[str, Any]
NAME_MAX = 32
DESCRIPTION_MAX = 100
SIZE_MAX = 8000  # characters, see `count_characters`
CHOICE_NAME_MAX = CHOICE_VALUE_MAX = 100
_INTEGER_MAX = 2**53
_LENGTH_MAX = 6000  # characters of a text option
_STRING, _INTEGER, _NUMBER = 3, 4, 10
_WITH_CHOICES = (_STRING, _INTEGER, _NUMBER)
# Letters and digits of all scripts, with the marks of Devanagari and Thai
_NAME = re.compile(r"[-_'\w\u0900-\u097f\u0e00-\u0e7f]{1,32}")


def check_name(errors: FormErrors, path: Path, body: Json, *, slash: bool = True) -> None:
    """Check the name in all languages. Only a context menu command (not ``slash``) may have spaces and capitals."""
    own_name = errors.text(path, body, "name", 1, NAME_MAX)
    if slash and own_name and not _is_valid_name(own_name):
        errors.add((*path, "name"), "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    for here, text in _check_localizations(errors, path, body, "name", NAME_MAX):
        if slash and not _is_valid_name(text):
            errors.add(here, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def check_description(errors: FormErrors, path: Path, body: Json) -> None:
    errors.text(path, body, "description", 1, DESCRIPTION_MAX)
    _check_localizations(errors, path, body, "description", DESCRIPTION_MAX)


def check_contexts(errors: FormErrors, path: Path, body: Json) -> None:
    for key, offered in (("contexts", (0, 1, 2)), ("integration_types", (0, 1))):
        values = errors.field(path, body, key, list)
        if values == []:
            errors.add((*path, key), "BASE_TYPE_MIN_LENGTH", "Must be 1 or more in length.")
        for index, value in enumerate(values or []):
            errors.choice((*path, key), {str(index): value}, str(index), offered)
    for key in ("nsfw", "dm_permission"):
        errors.field(path, body, key, bool)
    errors.snowflake(path, body, "default_member_permissions")  # text or a number, like an id


def check_value_option(errors: FormErrors, path: Path, option: Json, choices_max: int) -> None:
    """Check the choices and limits of an option that is not a sub-command."""
    kind = option["type"]
    choices = errors.objects(path, option, "choices")
    errors.at_most((*path, "choices"), choices, choices_max)
    for index, choice in enumerate(choices):
        _check_choice(errors, (*path, "choices", index), choice, kind)
    names = [choice.get("name") for choice in choices]
    if len(set(map(str, names))) < len(names):
        code = "APPLICATION_COMMAND_OPTIONS_CHOICE_NAMES_DUPLICATE"
        errors.add((*path, "choices"), code, "Choice names must be unique")
    autocomplete = errors.field(path, option, "autocomplete", bool)
    if autocomplete and (choices or kind not in _WITH_CHOICES):
        code = "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_INVALID"
        errors.add((*path, "autocomplete"), code, "Cannot have choices and autocomplete")
    for index, channel_type in enumerate(errors.field(path, option, "channel_types", list) or []):
        errors.choice((*path, "channel_types"), {str(index): channel_type}, str(index), (*range(6), *range(10, 17)))
    errors.number(path, option, "min_length", 0, _LENGTH_MAX)
    errors.number(path, option, "max_length", 1, _LENGTH_MAX)
    for key in ("min_value", "max_value"):
        if not isinstance(option.get(key), float):
            errors.field(path, option, key, int)


def count_characters(command: Json) -> int:
    """The characters of names, descriptions and values, each in its longest translation."""
    own = _longest(command, "name") + _longest(command, "description") + len(str(command.get("value", "")))
    inner = [item for key in ("options", "choices") if isinstance(items := command.get(key), list) for item in items]
    return own + sum(count_characters(item) for item in inner if isinstance(item, dict))


def _is_valid_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name == name.lower()


def _check_localizations(errors: FormErrors, path: Path, body: Json, key: str, maximum: int) -> list[tuple[Path, str]]:
    """The valid translations of the field ``key``, each with its path in the body."""
    translations = []
    for locale, text in (errors.field(path, body, f"{key}_localizations", dict) or {}).items():
        here = (*path, f"{key}_localizations", locale)
        if locale not in LOCALES:
            errors.add(here, "ENUM_TYPE_COERCE", f'Value "{locale}" is not a valid enum value.')
        elif text is not None and errors.text(here[:-1], {locale: text}, locale, 1, maximum):
            translations.append((here, text))
    return translations


def _check_choice(errors: FormErrors, path: Path, choice: Json, kind: int) -> None:
    errors.text(path, choice, "name", 1, CHOICE_NAME_MAX)
    _check_localizations(errors, path, choice, "name", CHOICE_NAME_MAX)
    value = choice.get("value")
    if value is None:
        errors.add((*path, "value"), "BASE_TYPE_REQUIRED", "This field is required")
    elif kind == _STRING:
        errors.text(path, choice, "value", 1, CHOICE_VALUE_MAX)
    elif kind == _INTEGER:
        errors.number(path, choice, "value", -_INTEGER_MAX, _INTEGER_MAX)
    elif kind == _NUMBER:
        if not isinstance(value, float):
            errors.field(path, choice, "value", int)
    else:
        errors.add((*path, "value"), "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "This type of option has no choices")


def _longest(command: Json, key: str) -> int:
    localized = command.get(f"{key}_localizations")
    texts = (command.get(key), *(localized.values() if isinstance(localized, dict) else ()))
    return max(len(str(text or "")) for text in texts)
