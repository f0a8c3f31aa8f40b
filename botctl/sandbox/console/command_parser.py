r"""Parses slash commands as Discord's client does: ``/settings set key:locale value:"de DE"``.

The grammar::

    call    = "/" name { " " sub-command } { " " option ":" value }
    value   = '"' any text, with \" and \\ for a quote and a backslash '"'
            | text up to the next " known-option:" or the end

Values stay text: the sandbox converts them to numbers, members or channels by the option's type.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from botctl.core.errors import UsageError

Json = Mapping[str, Any]

# Discord: Application Commands > Application Command Types, and > Application Command Option Type
SLASH, USER, MESSAGE = 1, 2, 3
SUB_COMMAND, SUB_COMMAND_GROUP = 1, 2

_WORD = re.compile(r"\s*(\S+)")
_NAME = re.compile(r"\s*([^\s:\"]+):")
_QUOTED = re.compile(r'"(?:(?P<closed>(?:[^"\\]|\\.)*)"(?=\s|\Z)|(?P<open>.*))', re.DOTALL)
_MENTION = re.compile(r"(?<!\S)[@#][\w-]+(?:\.[\w-]+)*")
_ESCAPE = re.compile(r'\\(["\\])')


@dataclass(frozen=True)
class SlashCall:
    """A slash command with its options as typed; ``name`` includes sub-commands: "ops status"."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MenuCall:
    """A context menu command on a user (``target`` is "@ann") or on a message (its id, or "last")."""

    name: str
    target: str
    on_message: bool


@dataclass(frozen=True)
class CommandPath:
    """The command that a text names, with its sub-commands."""

    names: tuple[str, ...]
    node: Json | None  # Discord's JSON of the last of ``names``; None for an unknown command
    end: int  # where the last name ends in the text

    @property
    def name(self) -> str:
        return " ".join(self.names)

    @property
    def subcommands(self) -> list[Json]:
        return [option for option in self._children if option["type"] in {SUB_COMMAND, SUB_COMMAND_GROUP}]

    @property
    def options(self) -> list[Json]:
        return [option for option in self._children if option["type"] not in {SUB_COMMAND, SUB_COMMAND_GROUP}]

    @property
    def _children(self) -> Sequence[Json]:
        return (self.node or {}).get("options") or ()


@dataclass(frozen=True)
class TypedOption:
    """An option as the user typed it; positions count from the start of the line."""

    name: str
    value: str  # without quotes and escapes
    start: int  # where the value begins
    end: int  # where the value ends
    quoted: bool = False
    closed: bool = True  # False when the closing quote is missing


def parse_slash(text: str, commands: Iterable[Json]) -> SlashCall:
    """Parse ``text``. Raises UsageError; its hint names the most similar command or option."""
    commands = list(commands)
    path = resolve_path(text, commands)
    _check_path(text, path, commands)
    options = _read_options(text, path)
    missing = [option["name"] for option in path.options if option.get("required") and option["name"] not in options]
    if missing:
        raise UsageError(
            f"/{path.name} also needs {', '.join(missing)}.",
            hint=f"Write: /{path.name} " + " ".join(f"{name}:…" for name in missing),
        )
    return SlashCall(path.name, options)


def parse_menu(name: str, target: str, commands: Iterable[Json]) -> MenuCall:
    """Find the context menu command ``name`` for ``target``: a user, a message id or "last". Raises UsageError."""
    on_message = target.isdecimal() or target == "last"
    command_type = MESSAGE if on_message else USER
    candidates = [command for command in commands if command.get("type", SLASH) == command_type]
    for command in candidates:
        if name.casefold() in map(str.casefold, _accepted_names(command)):
            return MenuCall(command["name"], target, on_message)
    names = [command["name"] for command in candidates]
    raise UsageError(
        f'There is no {"message" if on_message else "user"} command "{name}".',
        hint=did_you_mean(name, names) or _list_hint("The commands are", names),
    )


def format_call(call: SlashCall) -> str:
    """The text of ``call``; `parse_slash` parses it back to the same call."""
    return " ".join(["/" + call.name, *(f"{name}:{quote(value)}" for name, value in call.options.items())])


def quote(value: str) -> str:
    if value and not value.startswith('"') and not re.search(r"\s", value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def resolve_path(text: str, commands: Iterable[Json]) -> CommandPath:
    """Match the words after the slash with commands and sub-commands, up to the first unknown word."""
    path = CommandPath((), None, text.index("/") + 1)
    choices: Iterable[Json] = (command for command in commands if command.get("type", SLASH) == SLASH)
    while word := _WORD.match(text, path.end):
        node = next((choice for choice in choices if word[1] in _accepted_names(choice)), None)
        if node is None or (not path.names and word.start(1) != path.end):
            return path
        path = CommandPath((*path.names, word[1]), node, word.end())
        choices = path.subcommands
    return path


def _accepted_names(choice: Json) -> list[str]:
    """The accepted names of a command or option: its name, its name before translation, and ``name@bot``."""
    names = [choice["name"], *([choice["own"]] if choice.get("own") else ())]
    return [*names, *(f"{name}@{choice['bot']}" for name in names if choice.get("bot"))]


def insert_mentions(text: str, ids: Mapping[str, str]) -> str:
    """Replace ``@ann``, ``@Moderator`` and ``#general`` in ``text`` by mentions; ``ids`` has lower-case names."""
    return _MENTION.sub(lambda match: ids.get(match[0].casefold(), match[0]), text)


def scan_options(text: str, path: CommandPath) -> Iterator[TypedOption]:
    """The options after the command's name, in order, up to the first text that is not an option."""
    known = {name: option["name"] for option in path.options for name in _accepted_names(option)}
    position = path.end
    while (name := _NAME.match(text, position)) and name[1] in known:
        typed = replace(_read_value(text, name, known), name=known[name[1]])
        yield typed
        position = typed.end


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A hint with the most similar name, or an empty string."""
    closest = _closest_name(word, names, 0.6)
    return f"Did you mean {closest}?" if closest else ""


def _closest_name(word: str, names: Iterable[str], cutoff: float) -> str | None:
    by_fold = {name.casefold(): name for name in names}
    matches = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=cutoff)
    return by_fold[matches[0]] if matches else None


def _read_options(text: str, path: CommandPath) -> dict[str, str]:
    options: dict[str, str] = {}
    end = path.end
    for typed in scan_options(text, path):
        _check_value(typed, path)
        if typed.name in options:
            raise UsageError(f"The option {typed.name} is given twice.")
        options[typed.name] = typed.value
        end = typed.end
    if stray := text[end:].split(maxsplit=1):
        raise _unexpected_word_error(stray[0], path)
    return options


def _read_value(text: str, name: re.Match[str], known: Iterable[str]) -> TypedOption:
    start = name.end()
    if quoted := _QUOTED.match(text, start):
        closed = quoted["closed"] is not None
        value = _ESCAPE.sub(r"\1", quoted["closed"] if closed else quoted["open"])
        return TypedOption(name[1], value, start, quoted.end(), quoted=True, closed=closed)
    following = re.compile(rf"\s+(?:{'|'.join(map(re.escape, known))}):").search(text, start)
    end = following.start() if following else len(text)
    return TypedOption(name[1], text[start:end].strip(), start, end)


def _check_value(typed: TypedOption, path: CommandPath) -> None:
    """Refuse an empty value, and a value that probably contains a mistyped option."""
    if not typed.closed:
        raise UsageError(
            f"The quoted value of {typed.name} has no closing quote.",
            hint='Put a quote at the end of the value; inside it, write \\" for a literal quote.',
        )
    if typed.quoted:
        return
    if not typed.value:
        raise UsageError(f"The option {typed.name} has no value.", hint=f'Write {typed.name}:"" to send an empty one.')
    others = [option["name"] for option in path.options if option["name"] != typed.name]
    for word in re.findall(r"\s([^\s:\"]+):", typed.value):
        if closest := _closest_name(word, others, 0.8):
            raise UsageError(
                f'/{path.name} has no option "{word}".',
                hint=f'Did you mean {closest}? If "{word}:" is part of {typed.name}, put the value in quotes.',
            )


def _check_path(text: str, path: CommandPath, commands: Iterable[Json]) -> None:
    """Raises UsageError for an unknown command or sub-command, or a missing sub-command."""
    word = _WORD.match(text, path.end)
    typed = word[1] if word else ""
    if path.node is None:
        typed = "" if text[path.end :][:1].isspace() else typed
        visible = [item for item in commands if item.get("type", SLASH) == SLASH and not item.get("hidden")]
        names = ["/" + command["name"] for command in visible]
        if matches := [name for name in names if typed and name.startswith(f"/{typed}@")]:
            raise UsageError(f"Several bots have /{typed}.", hint=f"Write {' or '.join(matches)}.")
        raise UsageError(
            f'There is no command "/{typed}" here.' if typed else "A command's name must follow the slash.",
            hint=(typed and did_you_mean("/" + typed, names)) or _list_hint("The commands are", names),
        )
    if path.subcommands:
        names = [sub["name"] for sub in path.subcommands]
        raise UsageError(
            f'/{path.name} has no sub-command "{typed}".' if typed else f"/{path.name} needs a sub-command.",
            hint=did_you_mean(typed, names) or _list_hint("The sub-commands are", names),
        )


def _unexpected_word_error(word: str, path: CommandPath) -> UsageError:
    names = [option["name"] for option in path.options]
    if not names:
        return UsageError(f'/{path.name} has no options, so "{word}" cannot follow.')
    if name := _NAME.match(word):
        hint = did_you_mean(name[1], names) or _list_hint("Its options are", names)
        return UsageError(f'/{path.name} has no option "{name[1]}".', hint=hint)
    return UsageError(f'"{word}" belongs to no option of /{path.name}.', hint=f"Write: {names[0]}:{word}")


def _list_hint(prefix: str, names: Sequence[str]) -> str:
    return f"{prefix}: {', '.join(names)}." if names else "The bot has not registered any command yet."
