"""What could come next in a line that a person is typing: commands, options, choices, members, channels. Pure.

Values of options with autocomplete are the bot's to suggest: `autocomplete_query` says what to ask it, the caller asks.
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
    """``text`` may stand instead of what is between ``start`` and the cursor; ``detail`` explains it."""

    text: str
    start: int
    detail: str = ""


@dataclass(frozen=True)
class AutocompleteQuery:
    """An autocomplete question: what could the option ``focused`` be? The answer may replace all from ``start``."""

    name: str
    options: Mapping[str, str]
    focused: str
    value: str
    start: int


@dataclass(frozen=True)
class _CursorContext:
    """Where the cursor is: in ``word``, which begins at ``start``, behind the commands that ``path`` names."""

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
        """The option whose value is being typed."""
        last = self.typed_options[-1] if self.typed_options else None
        if last is None or (last.quoted and last.closed):
            return None
        return last if last.quoted or self.word or not last.value else None


def complete(
    text: str, cursor: int, state: StateSchema, guild: GuildSchema | None = None, locale: str = ""
) -> list[Suggestion]:
    """What could stand at ``cursor``, likeliest first, in the language of the person."""
    before = text[:cursor]
    if not before.startswith("/"):
        return list(_suggest_mentions(before, guild))
    there = [command for command in state.commands_in(guild, locale) if not command.get("hidden")]
    commands = [command for command in there if command.get("type", SLASH) == SLASH]
    context = _context_at(before, commands)
    if context.path.node is None:
        return _suggest_names("/" + context.word, 0, commands, "/") if context.start == 1 else []
    if context.path.subcommands:
        between = context.before[context.path.end : context.start].strip()
        return [] if between else _suggest_names(context.word, context.start, context.path.subcommands)
    return [*_suggest_values(context, guild), *_suggest_options(context)]


def autocomplete_query(text: str, cursor: int, commands: Iterable[Json]) -> AutocompleteQuery | None:
    """What to ask the bot for the value at ``cursor``; None where that is no value with autocomplete."""
    before = text[:cursor]
    if not before.startswith("/"):
        return None
    context = _context_at(before, commands)
    if context.open_option is None or not _option(context, context.open_option).get("autocomplete"):
        return None
    others = {typed_options.name: typed_options.value for typed_options in context.typed_options[:-1]}
    return AutocompleteQuery(
        context.path.name, others, context.open_option.name, context.open_option.value, context.open_option.start
    )


def filter_names(typed: str, names: Iterable[str]) -> list[str]:
    """The names that contain what is typed, those that begin with it first."""
    needle = typed.casefold()
    found = [name for name in names if needle in name.casefold()]
    return sorted(found, key=lambda name: not name.casefold().startswith(needle))


def _context_at(before: str, commands: Iterable[Json]) -> _CursorContext:
    start = max(_word_start(before), 1)
    return _CursorContext(before, start, resolve_path(before[:start], commands))


def _word_start(before: str) -> int:
    return len(before) - len(re.split(r"\s", before)[-1])


def _suggest_names(typed: str, start: int, choices: Iterable[Json], lead: str = "") -> list[Suggestion]:
    details = {lead + choice["name"]: str(choice.get("description", "")) for choice in choices}
    return [Suggestion(name, start, details[name]) for name in filter_names(typed, details)]


def _suggest_values(context: _CursorContext, guild: GuildSchema | None) -> Iterator[Suggestion]:
    """Values of the option that is being given, as far as they are known without asking the bot."""
    if context.open_option is not None:
        option = _option(context, context.open_option)
        known = [*_fixed_values(option), *_guild_values(option, guild)]
        yield from (
            Suggestion(quote(name), context.open_option.start)
            for name in filter_names(context.open_option.value, known)
        )


def _suggest_options(context: _CursorContext) -> Iterator[Suggestion]:
    """The options that are not given yet, where another one may begin."""
    if context.open_option is not None and (context.open_option.quoted or context.start <= context.open_option.start):
        return
    if context.word.endswith('"'):
        return
    taken = {typed_options.name for typed_options in context.typed_options}
    for option in context.path.options:
        if option["name"] not in taken and option["name"].startswith(context.word):
            yield Suggestion(option["name"] + ":", context.start, str(option.get("description", "")))


def _option(context: _CursorContext, typed_options: TypedOption) -> Json:
    return next(option for option in context.path.options if option["name"] == typed_options.name)


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
        names = ["@" + name for name in (*(one.name for one in guild.members), *(one.name for one in guild.roles))]
        names = [name for name in names if not name.startswith("@@")]
    if guild and word.startswith("#"):
        names = ["#" + channel.name for channel in (*guild.channels, *guild.threads)]
    yield from (Suggestion(name, start) for name in filter_names(word, names))
