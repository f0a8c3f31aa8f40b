"""What Discord refuses in a command, found in the payload that disnake would send: `refusals`, `too_many`.

Discord: Application Commands > Application Command Object, Naming, Registering a Command. One fault in one command
makes Discord refuse the whole list, so that no command of the bot is registered.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from disnake.ext import commands

from botctl.core.contracts.guild_settings import LOCALES

Json = dict[str, Any]

MAX_DESCRIPTION: Final = 100
MAX_OPTIONS: Final = 25  # of a command; also sub-commands, and choices of an option
_MAX_NAME: Final = 32
_MAX_CHOICE: Final = 100  # characters of its name, and of its value if it is text
_MAX_SIZE: Final = 8000  # characters of a command, see `_size`
_MAX_LENGTH: Final = 6000  # characters of a text option
_MAX_INTEGER: Final = 2**53
_MAX_COMMANDS: Final = {1: 100, 2: 15, 3: 15}  # by type, in one guild or globally
_KINDS: Final = {1: "slash commands", 2: "user commands", 3: "message commands"}
_SLASH, _SUB_COMMAND, _GROUP, _INTEGER = 1, 1, 2, 4
_NAME: Final = re.compile(r"[-_'\w\u0900-\u097f\u0e00-\u0e7f]{1,32}")  # with the marks of Devanagari and Thai


class RefusedPart(NamedTuple):
    """What Discord refuses. ``path``: the names of the sub-command that it is in; empty for the command itself."""

    path: tuple[str, ...]
    sentence: str


def payload(command: commands.InvokableApplicationCommand) -> Json:
    """What disnake sends to Discord. Translations that come from files are missing before it is added to a bot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about those translations
        return dict(command.body.to_dict())


def refusals(command: Json) -> Iterator[RefusedPart]:
    """Everything that Discord would refuse in the payload of one command."""
    label = f"/{command['name']}" if command.get("type", _SLASH) == _SLASH else repr(command["name"])
    found = list(_in_command(command, label))
    yield from found
    if not found and (size := _size(command)) > _MAX_SIZE:
        yield RefusedPart((), f"{label} has {size} characters in all its texts; Discord allows {_MAX_SIZE}")


def too_many(kind: int, names: list[str]) -> str:
    """A sentence if these are more commands of one type than Discord allows in one place, else an empty text."""
    limit = _MAX_COMMANDS[kind]
    return f"there are {len(names)} {_KINDS[kind]}; Discord allows {limit}" if len(names) > limit else ""


def _in_command(command: Json, label: str) -> Iterator[RefusedPart]:
    is_slash = command.get("type", _SLASH) == _SLASH
    yield from (RefusedPart((), sentence) for sentence in _names(command, label, is_slash=is_slash))
    for key in ("contexts", "integration_types"):
        if command.get(key) == []:
            yield RefusedPart((), f"{label} has an empty list of {key}, so no one could use it")
    if is_slash:
        yield from (RefusedPart((), sentence) for sentence in _descriptions(command, label))
        yield from _options(command, label, ())


def _options(command: Json, label: str, path: tuple[str, ...]) -> Iterator[RefusedPart]:
    """In the options and sub-commands of ``command``, which is the one at ``path``."""
    options: list[Json] = command.get("options") or []
    nested = [option for option in options if option["type"] in (_SUB_COMMAND, _GROUP)]
    if len(options) > MAX_OPTIONS:
        noun = "sub-commands" if nested else "options"
        yield RefusedPart(path, f"{label} has {len(options)} {noun}; Discord allows {MAX_OPTIONS}")
    if nested and len(nested) < len(options):
        yield RefusedPart(path, f"{label} has sub-commands and options; Discord allows only one of them")
    for name in _repeated(option["name"] for option in options):
        yield RefusedPart(path, f"{label} has two options called {name}")
    for option in options:
        if option in nested:
            inner, full_name = (*path, option["name"]), f"{label} {option['name']}"
            yield from (RefusedPart(inner, s) for s in (*_names(option, full_name), *_descriptions(option, full_name)))
            yield from _options(option, full_name, inner)
        else:
            yield from (RefusedPart(path, sentence) for sentence in _in_option(option, f"option {option['name']}"))
    is_required = [bool(option.get("required")) for option in options if option not in nested]
    if is_required != sorted(is_required, reverse=True):
        yield RefusedPart(path, f"{label} has an option without a default after one with a default")


def _in_option(option: Json, label: str) -> Iterator[str]:
    yield from _names(option, label)
    yield from _descriptions(option, label)
    choices: list[Json] = option.get("choices") or []
    if len(choices) > MAX_OPTIONS:
        yield f"{label} has {len(choices)} choices; Discord allows {MAX_OPTIONS}"
    for name in _repeated(choice["name"] for choice in choices):
        yield f"{label} has two choices called {name!r}"
    for choice in choices:
        yield from _in_choice(choice, option["type"], label)
    if choices and option.get("autocomplete"):
        yield f"{label} has choices and autocomplete; Discord allows only one of them"
    for low, high in (("min_value", "max_value"), ("min_length", "max_length")):
        least, most = option.get(low), option.get(high)
        if least is not None and most is not None and least > most:
            yield f"{label} allows nothing: {low} is {least}, and {high} is {most}"
    for key, least in (("min_length", 0), ("max_length", 1)):
        if (value := option.get(key)) is not None and not least <= value <= _MAX_LENGTH:
            yield f"{label} has {key} {value}; Discord allows {least} to {_MAX_LENGTH}"


def _in_choice(choice: Json, kind: int, label: str) -> Iterator[str]:
    label, value = f"choice {_short(choice['name'])} of {label}", choice.get("value")
    for text in _texts(choice, "name"):
        if not 1 <= len(text) <= _MAX_CHOICE:
            yield f"the name of {label} has {len(text)} characters; Discord allows 1 to {_MAX_CHOICE}"
    if isinstance(value, str) and not 1 <= len(value) <= _MAX_CHOICE:
        yield f"the value of {label} has {len(value)} characters; Discord allows 1 to {_MAX_CHOICE}"
    if kind == _INTEGER and isinstance(value, int) and abs(value) > _MAX_INTEGER:
        yield f"the value of {label} is {value}; Discord allows numbers up to 2**53 (use text)"


def _names(item: Json, label: str, *, is_slash: bool = True) -> Iterator[str]:
    """About the name and its translations. Only a context menu command (not ``is_slash``) may have capitals, spaces."""
    for locale, name in _translated(item, "name"):
        where = f"the name {_short(name)} of {label}" + (f" in {locale}" if locale else "")
        if locale and locale not in LOCALES:
            yield f"{label} is translated to {locale!r}, which is no language of Discord"
        if not 1 <= len(name) <= _MAX_NAME:
            yield f"{where} has {len(name)} characters; Discord allows 1 to {_MAX_NAME}"
        elif is_slash and not (_NAME.fullmatch(name) and name == name.lower()):
            yield f"{where} may have lower-case letters, digits, '-' and '_' only"


def _descriptions(item: Json, label: str) -> Iterator[str]:
    for locale, text in _translated(item, "description"):
        if not 1 <= len(text) <= MAX_DESCRIPTION:
            where = f"the description of {label}" + (f" in {locale}" if locale else "")
            yield f"{where} has {len(text)} characters; Discord allows 1 to {MAX_DESCRIPTION}"


def _translated(item: Json, key: str) -> Iterator[tuple[str, str]]:
    """The text ``key`` with an empty locale, and its translations with theirs."""
    yield "", str(item.get(key) or "")
    for locale, text in (item.get(f"{key}_localizations") or {}).items():
        if text is not None:
            yield str(locale), str(text)


def _texts(item: Json, key: str) -> Iterator[str]:
    return (text for _, text in _translated(item, key))


def _size(command: Json) -> int:
    """The characters of names, descriptions and values, each in its longest translation."""
    own = sum(max(map(len, _texts(command, key))) for key in ("name", "description"))
    inner = [*(command.get("options") or []), *(command.get("choices") or [])]
    return own + len(str(command.get("value", ""))) + sum(map(_size, inner))


def _repeated(names: Iterable[str]) -> list[str]:
    """Each name that occurs more than once."""
    known = list(names)
    return [name for name in dict.fromkeys(known) if known.count(name) > 1]


def _short(name: str) -> str:
    return repr(name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…")
