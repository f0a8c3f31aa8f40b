"""The lines that a person types at the prompt, or pipes in: what they mean, and what could come next.

A line is a slash command, a message, or a word for the session itself with a colon before it (``:as bob``): an
exclamation mark would be taken from bots with prefix commands. ``:smile:`` is an emoji and so a message.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from botctl.core.errors import BotctlError, UsageError
from botctl.sandbox.components import clickable, name_of
from botctl.sandbox.conversation import Conversation
from botctl.sandbox.person import guess, quote
from botctl.sandbox.shapes import Guild, Message, Reply, State
from botctl.sandbox.suggest import Suggestion, complete, matching, question

_ASK_S = 3.0  # Discord: an interaction, autocomplete too, must be answered within 3 seconds
_LISTED = 10


@dataclass(frozen=True)
class Note:
    """Something that the session itself says."""

    text: str


class Leave:
    """The person wants to go."""


Outcome: TypeAlias = Reply | Sequence[Message] | Note | Leave


@dataclass(frozen=True)
class Word:
    """A word for the session: ``usage`` without the colon, ``about`` in a few words, ``hints`` for what follows it."""

    usage: str
    about: str
    run: Callable[[Conversation, str], Awaitable[Outcome]]
    hints: Callable[[Conversation], Awaitable[Iterable[str]]] | None = None


async def run(talk: Conversation, line: str) -> Outcome:
    """Do what ``line`` says. Raises BotctlError with what is wrong."""
    line = line.strip()
    if not line.startswith(":") or line.split(maxsplit=1)[0].endswith(":"):
        return await talk.say(line)
    verb, _, rest = line[1:].partition(" ")
    if verb not in WORDS:
        raise UsageError(f'There is no ":{verb}".', hint=guess(verb, WORDS) or "See :help.")
    return await WORDS[verb].run(talk, rest.strip())


async def suggest(talk: Conversation, text: str, cursor: int) -> list[Suggestion]:
    """What could stand at ``cursor``; values with autocomplete are asked from the bot, whose silence is no error."""
    if text.startswith(":"):
        return await _word_hints(talk, text[:cursor])
    known = complete(text, cursor, talk.state, talk.guild)
    asked = question(text, cursor, talk.state.commands_in(talk.guild))
    if asked is None:
        return known
    try:
        choices = await talk.client.complete(asked, talk.seat, timeout_s=_ASK_S)
    except BotctlError:
        return known
    return [Suggestion(quote(str(choice.value)), asked.start, choice.name) for choice in choices] + known


async def _word_hints(talk: Conversation, before: str) -> list[Suggestion]:
    verb, space, rest = before[1:].partition(" ")
    if not space:
        return [Suggestion(":" + name, 0, WORDS[name].about) for name in matching(verb, WORDS)]
    hints = WORDS[verb].hints if verb in WORDS else None
    if hints is None:
        return []
    try:
        return [Suggestion(name, len(before) - len(rest)) for name in matching(rest, await hints(talk))]
    except BotctlError:
        return []


async def _help(_talk: Conversation, _rest: str) -> Outcome:
    rows = {"/command option:value": "use a command; anything else is said in the channel"}
    rows |= {f":{word.usage}": word.about for word in WORDS.values()}
    width = max(map(len, rows)) + 2
    return Note("\n".join(f"{usage:{width}}{about}" for usage, about in rows.items()))


async def _as(talk: Conversation, rest: str) -> Outcome:
    talk.seat = replace(talk.seat, name=_one_of(_bare(rest).removeprefix("@"), await _people(talk), "person"))
    talk.form = None
    return Note(f"You are {talk.seat.name} now.")


async def _channel(talk: Conversation, rest: str) -> Outcome:
    talk.seat = replace(talk.seat, channel=_one_of(_bare(rest).removeprefix("#"), await _channels(talk), "channel"))
    return await _messages(talk, "")


async def _guild(talk: Conversation, rest: str) -> Outcome:
    name = _one_of(_bare(rest), await _guilds(talk), "guild")
    talk.seat = replace(talk.seat, guild=name, channel=None)
    await talk.settle()
    return Note(f"You are in #{talk.seat.channel} of {name} now.")


async def _click(talk: Conversation, rest: str) -> Outcome:
    return await talk.click(_bare(_needed(rest, "button")))


async def _pick(talk: Conversation, rest: str) -> Outcome:
    select, *values = words(rest)
    return await talk.click(select, values)


async def _submit(talk: Conversation, rest: str) -> Outcome:
    return await talk.submit(assigned(words(rest)))


async def _menu(talk: Conversation, rest: str) -> Outcome:
    *name, target = words(rest)
    return await talk.menu(" ".join(name), target)


async def _say(talk: Conversation, rest: str) -> Outcome:
    return await talk.send(_needed(rest, "text"))


async def _messages(talk: Conversation, rest: str) -> Outcome:
    return await talk.client.messages(talk.seat, limit=int(rest) if rest.isdecimal() else _LISTED)


async def _who(talk: Conversation, _rest: str) -> Outcome:
    return Note("\n".join(told(await talk.look(), talk.guild)))


async def _quit(_talk: Conversation, _rest: str) -> Outcome:
    return Leave()


async def _people(talk: Conversation) -> list[str]:
    return [member.name for member in talk.guild.members if not member.bot] if talk.guild else []


async def _channels(talk: Conversation) -> list[str]:
    return [channel.name for channel in talk.guild.channels] if talk.guild else []


async def _guilds(talk: Conversation) -> list[str]:
    return [guild.name for guild in talk.state.guilds]


async def _labels(talk: Conversation) -> list[str]:
    """The buttons and menus of the last message that has any."""
    shown = [message for message in await talk.client.messages(talk.seat) if message.components]
    return [name_of(one) for one in clickable(list(shown[-1].components))] if shown else []


async def _quoted_labels(talk: Conversation) -> list[str]:
    return [quote(label) for label in await _labels(talk)]


async def _fields(talk: Conversation) -> list[str]:
    return [f"{field.custom_id}=" for field in talk.form.fields] if talk.form else []


async def _menus(talk: Conversation) -> list[str]:
    return [command["name"] for command in talk.state.commands_in(talk.guild) if command.get("type") in {2, 3}]


WORDS = {
    word.usage.split()[0]: word
    for word in (
        Word("as PERSON", "be somebody else", _as, _people),
        Word("channel NAME", "go to another channel and read what is there", _channel, _channels),
        Word("guild NAME", "go to another guild", _guild, _guilds),
        Word("click LABEL", "press a button of the last message that has any", _click, _labels),
        Word('pick MENU 1 "Two"', "choose in a menu, by number or name", _pick, _quoted_labels),
        Word('submit FIELD="some text"', "send the form that is open", _submit, _fields),
        Word("menu COMMAND @PERSON", "use a context menu; on a message: its id, or last", _menu, _menus),
        Word("messages [COUNT]", "the last messages here", _messages),
        Word("say TEXT", "say a text that begins with a colon", _say),
        Word("who", "who and what is there", _who),
        Word("help", "this page", _help),
        Word("quit", "leave; Ctrl-D does the same", _quit),
    )
}


def told(state: State, guild: Guild | None) -> list[str]:
    """Who and what is there, a line each."""
    bots = [f"{bot.name}{'' if bot.connected else ' (not connected)'}" for bot in state.bots]
    people = [f"@{member.name}" for member in guild.members if not member.bot] if guild else []
    channels = [f"#{channel.name}" for channel in guild.channels] if guild else []
    return [
        f"Guilds:   {', '.join(each.name for each in state.guilds)}",
        f"Channels: {', '.join(channels)}",
        f"People:   {', '.join(people)}",
        f"Bots:     {', '.join(bots) or 'none has logged in yet'}",
    ]


def _bare(rest: str) -> str:
    """``rest`` without quotes around all of it, which lines with several words need and this one does not mind."""
    try:
        found = shlex.split(rest) if rest[:1] in ("'", '"') else []
    except ValueError:  # the quote stays open, so it is part of the name
        return rest
    return found[0] if len(found) == 1 else rest


def words(text: str) -> list[str]:
    """``text`` as words; quotes keep several together. Raises UsageError when there is none, or a quote stays open."""
    try:
        return shlex.split(_needed(text, "word"))
    except ValueError as error:
        raise UsageError("A quote has no closing quote.", hint='Write \\" for one that is meant.') from error


def assigned(pairs: Iterable[str]) -> dict[str, str]:
    """``field=value`` words as a mapping. Raises UsageError on one without "="."""
    fields: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f'"{pair}" is not FIELD=VALUE.', hint='Write for example: subject="Too loud"')
        fields[name] = value
    return fields


def _needed(rest: str, what: str) -> str:
    if not rest:
        raise UsageError(f"A {what} must follow.", hint="See :help.")
    return rest


def _one_of(name: str, names: Iterable[str], what: str) -> str:
    names = list(names)
    if name in names:
        return name
    there = ", ".join(names)
    raise UsageError(f'There is no {what} "{name}".', hint=guess(name, names) or f"There are: {there}.")
