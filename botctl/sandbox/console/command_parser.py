r"""What a person types, read as Discord's client would: ``/settings set key:locale value:"de DE"``. Pure.

The grammar of a line::

    call    = "/" name { " " sub-command } { " " option ":" value }
    value   = '"' any text, with \" and \\ for a quote and a backslash '"'
            | text up to the next " known-option:" or the end

Values stay text here: the sandbox reads numbers, members and channels out of them, as each option's type asks.
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
    """A slash command with its options as typed; ``name`` holds the sub-commands too: "ops status"."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MenuCall:
    """A command of a context menu, used on a person (``target`` as "@ann") or on a message (its id, or "last")."""

    name: str
    target: str
    on_message: bool


@dataclass(frozen=True)
class CommandPath:
    """How far the words of a text name a command: ``node`` is the last one named, ``end`` where its name ends."""

    names: tuple[str, ...]
    node: Json | None
    end: int

    @property
    def name(self) -> str:
        return " ".join(self.names)

    @property
    def subcommands(self) -> list[Json]:
        """The sub-commands, of which one must follow."""
        return [option for option in self._children if option["type"] in {SUB_COMMAND, SUB_COMMAND_GROUP}]

    @property
    def options(self) -> list[Json]:
        return [option for option in self._children if option["type"] not in {SUB_COMMAND, SUB_COMMAND_GROUP}]

    @property
    def _children(self) -> Sequence[Json]:
        return (self.node or {}).get("options") or ()


@dataclass(frozen=True)
class TypedOption:
    """An option as it stands in a text, its value from ``start`` to ``end``; ``closed`` tells of the last quote."""

    name: str
    value: str
    start: int
    end: int
    quoted: bool = False
    closed: bool = True


def parse_slash(text: str, commands: Iterable[Json]) -> SlashCall:
    """The call that ``text`` means. Raises UsageError with a sentence, and a guess at what was meant."""
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
    """The context-menu command ``name`` on ``target``: a person, or a message by its id or as "last".

    Raises UsageError when there is no such command for it.
    """
    on_message = target.isdecimal() or target == "last"
    command_type = MESSAGE if on_message else USER
    candidates = [command for command in commands if command.get("type", SLASH) == command_type]
    for one in candidates:
        if name.casefold() in map(str.casefold, _accepted_names(one)):
            return MenuCall(one["name"], target, on_message)
    names = [one["name"] for one in candidates]
    raise UsageError(
        f'No menu of a {"message" if on_message else "person"} has "{name}".',
        hint=did_you_mean(name, names) or _list_hint("It has", names),
    )


def format_call(call: SlashCall) -> str:
    """``call`` as a person would type it; `parse_slash` reads the same call from it."""
    return " ".join(["/" + call.name, *(f"{name}:{quote(value)}" for name, value in call.options.items())])


def quote(value: str) -> str:
    """``value`` in quotes, unless it is one plain word."""
    if value and not value.startswith('"') and not re.search(r"\s", value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def resolve_path(text: str, commands: Iterable[Json]) -> CommandPath:
    """Follow the words after the slash through the commands, as far as they are known."""
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
    """What a command or an option may be called: by its name, by that which a translation hides, as ``name@bot``."""
    names = [choice["name"], *([choice["own"]] if choice.get("own") else ())]
    return [*names, *(f"{name}@{choice['bot']}" for name in names if choice.get("bot"))]


def insert_mentions(text: str, ids: Mapping[str, str]) -> str:
    """``text`` with the mentions that Discord's client makes of ``@ann``, ``@Moderator`` and ``#general``."""
    return _MENTION.sub(lambda match: ids.get(match[0].casefold(), match[0]), text)


def scan_options(text: str, path: CommandPath) -> Iterator[TypedOption]:
    """The options that follow the command's name, in order, up to the end or the first text that is none."""
    known = {said: option["name"] for option in path.options for said in _accepted_names(option)}
    at = path.end
    while (name := _NAME.match(text, at)) and name[1] in known:
        typed = replace(_read_value(text, name, known), name=known[name[1]])
        yield typed
        at = typed.end


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A hint with the name that ``word`` probably stands for, or empty."""
    near = _closest_name(word, names, 0.6)
    return f"Did you mean {near}?" if near else ""


def _closest_name(word: str, names: Iterable[str], alike: float) -> str | None:
    by_fold = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=alike)
    return by_fold[near[0]] if near else None


def _read_options(text: str, path: CommandPath) -> dict[str, str]:
    options: dict[str, str] = {}
    at = path.end
    for typed in scan_options(text, path):
        _check_value(typed, path)
        if typed.name in options:
            raise UsageError(f"The option {typed.name} is given twice.")
        options[typed.name] = typed.value
        at = typed.end
    if stray := text[at:].split(maxsplit=1):
        raise _stray_word_error(stray[0], path)
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
    """An empty value, or one that seems to have swallowed a mistyped option, is refused rather than sent."""
    if not typed.closed:
        raise UsageError(
            f"The quoted value of {typed.name} has no closing quote.",
            hint='A quote ends before a space or at the end; inside quotes, write \\" for a quote.',
        )
    if typed.quoted:
        return
    if not typed.value:
        raise UsageError(f"The option {typed.name} has no value.", hint=f'Write {typed.name}:"" to send an empty one.')
    others = [option["name"] for option in path.options if option["name"] != typed.name]
    for word in re.findall(r"\s([^\s:\"]+):", typed.value):
        if near := _closest_name(word, others, 0.8):
            raise UsageError(
                f'/{path.name} has no option "{word}".',
                hint=f'Did you mean {near}? If "{word}:" is part of {typed.name}, put the value in quotes.',
            )


def _check_path(text: str, path: CommandPath, commands: Iterable[Json]) -> None:
    word = _WORD.match(text, path.end)
    typed = word[1] if word else ""
    if path.node is None:
        typed = "" if text[path.end :][:1].isspace() else typed
        candidates = [one for one in commands if one.get("type", SLASH) == SLASH and not one.get("hidden")]
        names = ["/" + command["name"] for command in candidates]
        if same := [name for name in names if typed and name.startswith(f"/{typed}@")]:
            raise UsageError(f"Several bots have /{typed}.", hint=f"Write {' or '.join(same)}.")
        raise UsageError(
            f'There is no command "/{typed}" here.' if typed else "A command's name must follow the slash.",
            hint=(typed and did_you_mean("/" + typed, names)) or _list_hint("The commands are", names),
        )
    if path.subcommands:
        names = [sub["name"] for sub in path.subcommands]
        raise UsageError(
            f'/{path.name} has no sub-command "{typed}".' if typed else f"/{path.name} needs a sub-command.",
            hint=did_you_mean(typed, names) or _list_hint("There are", names),
        )


def _stray_word_error(word: str, path: CommandPath) -> UsageError:
    names = [option["name"] for option in path.options]
    if not names:
        return UsageError(f'/{path.name} takes no options, so "{word}" means nothing.')
    if name := _NAME.match(word):
        hint = did_you_mean(name[1], names) or _list_hint("Its options are", names)
        return UsageError(f'/{path.name} has no option "{name[1]}".', hint=hint)
    return UsageError(f'"{word}" belongs to no option of /{path.name}.', hint=f"Write: {names[0]}:{word}")


def _list_hint(lead: str, names: Sequence[str]) -> str:
    return f"{lead}: {', '.join(names)}." if names else "The bot has registered none yet."
