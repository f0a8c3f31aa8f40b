"""Suggests completions of a line: commands, options, choices, members, channels.

Only the bot knows the values of options with autocomplete: `autocomplete_query` returns the query to send.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from botctl.sandbox.console.command_parser import (
    SLASH,
    CommandPath,
    Json,
    TypedOption,
    quote,
    resolve_path,
    scan_options,
)
from botctl.sandbox.console.schemas import GuildSchema, StateSchema

# Discord: Application Commands > Application Command Option Type
BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE = 5, 6, 7, 8, 9


@dataclass(frozen=True)
class Suggestion:
    """``text`` replaces the text between ``start`` and the cursor; ``detail`` describes it."""

    text: str
    start: int
    detail: str = ""


@dataclass(frozen=True)
class AutocompleteQuery:
    """A request for autocomplete choices."""

    name: str  # the command, with sub-commands
    options: Mapping[str, str]  # the other options, as typed
    focused: str  # the option at the cursor
    value: str
    start: int  # where the value begins in the line


@dataclass(frozen=True)
class _CursorContext:
    """The text ``before`` the cursor, with its command ``path``; ``start`` is where the word at the cursor begins."""

    before: str
    start: int
    path: CommandPath

    @property
    def word(self) -> str:
        return self.before[self.start :]

    @property
    def typed_options(self) -> list[TypedOption]:
        return list(scan_options(self.before, self.path))

    @property
    def open_option(self) -> TypedOption | None:
        """The option whose value is being typed at the cursor."""
        last = self.typed_options[-1] if self.typed_options else None
        if last is None or (last.quoted and last.closed):
            return None
        return last if last.quoted or self.word or not last.value else None


def complete(
    text: str, cursor: int, state: StateSchema, guild: GuildSchema | None = None, locale: str = ""
) -> list[Suggestion]:
    """Suggestions at ``cursor``, the most likely first, in the language ``locale``."""
    before = text[:cursor]
    if not before.startswith("/"):
        return list(_suggest_mentions(before, guild))
    visible = [command for command in state.commands_in(guild, locale) if not command.get("hidden")]
    commands = [command for command in visible if command.get("type", SLASH) == SLASH]
    context = _context_at(before, commands)
    if context.path.node is None:
        return _suggest_names("/" + context.word, 0, commands, "/") if context.start == 1 else []
    if context.path.subcommands:
        between = context.before[context.path.end : context.start].strip()
        return [] if between else _suggest_names(context.word, context.start, context.path.subcommands)
    return [*_suggest_values(context, guild), *_suggest_options(context)]


def autocomplete_query(text: str, cursor: int, commands: Iterable[Json]) -> AutocompleteQuery | None:
    """The query for the value at ``cursor``, or None when its option has no autocomplete."""
    before = text[:cursor]
    if not before.startswith("/"):
        return None
    context = _context_at(before, commands)
    if context.open_option is None or not _option(context, context.open_option).get("autocomplete"):
        return None
    others = {typed.name: typed.value for typed in context.typed_options[:-1]}
    return AutocompleteQuery(
        context.path.name, others, context.open_option.name, context.open_option.value, context.open_option.start
    )


def filter_names(typed: str, names: Iterable[str]) -> list[str]:
    """The names that contain ``typed``; names that begin with it come first."""
    needle = typed.casefold()
    matches = [name for name in names if needle in name.casefold()]
    return sorted(matches, key=lambda name: not name.casefold().startswith(needle))


def _context_at(before: str, commands: Iterable[Json]) -> _CursorContext:
    start = max(_word_start(before), 1)
    return _CursorContext(before, start, resolve_path(before[:start], commands))


def _word_start(before: str) -> int:
    return len(before) - len(re.split(r"\s", before)[-1])


def _suggest_names(typed: str, start: int, choices: Iterable[Json], prefix: str = "") -> list[Suggestion]:
    details = {prefix + choice["name"]: str(choice.get("description", "")) for choice in choices}
    return [Suggestion(name, start, details[name]) for name in filter_names(typed, details)]


def _suggest_values(context: _CursorContext, guild: GuildSchema | None) -> Iterator[Suggestion]:
    """Values of `open_option` that are known without the bot."""
    if context.open_option is not None:
        option = _option(context, context.open_option)
        known = [*_fixed_values(option), *_guild_values(option, guild)]
        yield from (
            Suggestion(quote(name), context.open_option.start)
            for name in filter_names(context.open_option.value, known)
        )


def _suggest_options(context: _CursorContext) -> Iterator[Suggestion]:
    """The names of unused options, when an option can begin at the cursor."""
    if context.open_option is not None and (context.open_option.quoted or context.start <= context.open_option.start):
        return
    if context.word.endswith('"'):
        return
    used = {typed.name for typed in context.typed_options}
    for option in context.path.options:
        if option["name"] not in used and option["name"].startswith(context.word):
            yield Suggestion(option["name"] + ":", context.start, str(option.get("description", "")))


def _option(context: _CursorContext, typed: TypedOption) -> Json:
    return next(option for option in context.path.options if option["name"] == typed.name)


def _fixed_values(option: Json) -> list[str]:
    if option["type"] == BOOLEAN:
        return ["true", "false"]
    return [str(choice["name"]) for choice in option.get("choices") or ()]


def _guild_values(option: Json, guild: GuildSchema | None) -> Iterator[str]:
    if guild and option["type"] in {USER, MENTIONABLE}:
        yield from ("@" + member.name for member in guild.members)
    if guild and option["type"] in {ROLE, MENTIONABLE}:
        yield from sorted({"@" + role.name.removeprefix("@") for role in guild.roles})
    if guild and option["type"] == CHANNEL:
        yield from ("#" + channel.name for channel in (*guild.channels, *guild.threads))


def _suggest_mentions(before: str, guild: GuildSchema | None) -> Iterator[Suggestion]:
    start = _word_start(before)
    word = before[start:]
    names: list[str] = []
    if guild and word.startswith("@"):
        names = [
            "@" + name for name in (*(member.name for member in guild.members), *(role.name for role in guild.roles))
        ]
        names = [name for name in names if not name.startswith("@@")]
    if guild and word.startswith("#"):
        names = ["#" + channel.name for channel in (*guild.channels, *guild.threads)]
    yield from (Suggestion(name, start) for name in filter_names(word, names))
