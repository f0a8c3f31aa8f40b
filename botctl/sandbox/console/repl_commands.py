"""The words that a person says to the session itself, with a colon before them: ``:as bob``, ``:click Yes``."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from botctl.core.errors import UsageError
from botctl.sandbox.console.command_parser import guess, quote
from botctl.sandbox.console.incident_args import asked, seconds, told_of
from botctl.sandbox.console.schemas import GuildSchema, MessageSchema, ReplySchema, StateSchema
from botctl.sandbox.console.user_session import UserSession
from botctl.sandbox.model.messages.components import clickable, display_name

_LISTED = 10


@dataclass(frozen=True)
class Note:
    """Something that the session itself says."""

    text: str


class Leave:
    """The person wants to go."""


Outcome: TypeAlias = ReplySchema | Sequence[MessageSchema] | Note | Leave


@dataclass(frozen=True)
class Word:
    """A word for the session: ``usage`` without the colon, ``about`` in a few words, ``hints`` for what follows it."""

    usage: str
    about: str
    run: Callable[[UserSession, str], Awaitable[Outcome]]
    hints: Callable[[UserSession], Awaitable[Iterable[str]]] | None = None


async def _help(_talk: UserSession, _rest: str) -> Outcome:
    rows = {"/command option:value": "use a command; anything else is said in the channel"}
    rows |= {f":{word.usage}": word.about for word in WORDS.values()}
    width = max(map(len, rows)) + 2
    return Note("\n".join(f"{usage:{width}}{about}" for usage, about in rows.items()))


async def _as(talk: UserSession, rest: str) -> Outcome:
    talk.seat = replace(talk.seat, name=_one_of(_bare(rest).removeprefix("@"), await _people(talk), "person"))
    talk.form = None
    return Note(f"You are {talk.seat.name} now.")


async def _channel(talk: UserSession, rest: str) -> Outcome:
    await talk.look()
    name = _one_of(_bare(rest).removeprefix("#"), await _channels(talk), "channel")
    talk.seat = replace(talk.seat, channel=name, dm=None)
    return await _messages(talk, "")


async def _dm(talk: UserSession, rest: str) -> Outcome:
    name = _one_of(_bare(_needed(rest, "person")).removeprefix("@"), await _others(talk), "person")
    talk.seat = replace(talk.seat, dm=name)
    return await _messages(talk, "")


async def _guild(talk: UserSession, rest: str) -> Outcome:
    name = _one_of(_bare(rest), await _guilds(talk), "guild")
    talk.seat = replace(talk.seat, guild=name, channel=None, dm=None)
    await talk.settle()
    return Note(f"You are in {talk.place} of {name} now.")


async def _click(talk: UserSession, rest: str) -> Outcome:
    return await talk.click(_bare(_needed(rest, "button")))


async def _pick(talk: UserSession, rest: str) -> Outcome:
    select, *values = words(rest)
    return await talk.click(select, values)


async def _submit(talk: UserSession, rest: str) -> Outcome:
    return await talk.submit(assigned(words(rest)))


async def _menu(talk: UserSession, rest: str) -> Outcome:
    *name, target = words(rest)
    if not name:
        raise UsageError(
            "A command and whom it is used on must follow.", hint=f"Write: :menu {quote(target)} @somebody"
        )
    return await talk.menu(" ".join(name), target)


async def _reply(talk: UserSession, rest: str) -> Outcome:
    return await talk.client.reply(talk.mentioned(_needed(rest, "text")), talk.seat)


async def _edit(talk: UserSession, rest: str) -> Outcome:
    return await talk.client.edit(talk.mentioned(_needed(rest, "text")), talk.seat)


async def _delete(talk: UserSession, _rest: str) -> Outcome:
    gone = await talk.client.delete(talk.seat)
    return Note("Deleted.") if gone.answered else gone


async def _react(talk: UserSession, rest: str) -> Outcome:
    return await talk.client.react(_needed(rest, "emoji"), talk.seat)


async def _unreact(talk: UserSession, rest: str) -> Outcome:
    return await talk.client.react(_needed(rest, "emoji"), talk.seat, remove=True)


async def _incident(talk: UserSession, rest: str) -> Outcome:
    body = asked(rest)
    return Note(told_of(body, await talk.client.incidents(body)))


async def _advance(talk: UserSession, rest: str) -> Outcome:
    ahead_s = seconds(_needed(rest, "period"))
    return Note(f"In the sandbox it is {await talk.client.advance(ahead_s)} now.")


async def _say(talk: UserSession, rest: str) -> Outcome:
    return await talk.send(_needed(rest, "text"))


async def _messages(talk: UserSession, rest: str) -> Outcome:
    return await talk.client.messages(talk.seat, limit=int(rest) if rest.isdecimal() else _LISTED)


async def _who(talk: UserSession, _rest: str) -> Outcome:
    return Note("\n".join(told(await talk.look(), talk.guild)))


async def _quit(_talk: UserSession, _rest: str) -> Outcome:
    return Leave()


async def _people(talk: UserSession) -> list[str]:
    return [member.name for member in talk.guild.members if not member.bot] if talk.guild else []


async def _others(talk: UserSession) -> list[str]:
    """Whom one can write with."""
    return [one.name for one in talk.guild.members if one.name != talk.seat.name] if talk.guild else []


async def _channels(talk: UserSession) -> list[str]:
    guild = talk.guild
    return [channel.name for channel in (*guild.channels, *guild.threads)] if guild else []


async def _incidents(talk: UserSession) -> list[str]:
    return [str(one["name"]) for one in (await talk.client.incidents({}))["incidents"]]


async def _guilds(talk: UserSession) -> list[str]:
    return [guild.name for guild in talk.state.guilds]


async def _labels(talk: UserSession) -> list[str]:
    """The buttons and menus of the last message that has any."""
    shown = [message for message in await talk.client.messages(talk.seat) if message.components]
    return [display_name(one) for one in clickable(list(shown[-1].components))] if shown else []


async def _quoted_labels(talk: UserSession) -> list[str]:
    return [quote(label) for label in await _labels(talk)]


async def _fields(talk: UserSession) -> list[str]:
    return [quote(f"{field.typed}=").removesuffix('"') for field in talk.form.fields] if talk.form else []


async def _menus(talk: UserSession) -> list[str]:
    return [command["name"] for command in talk.commands if command.get("type") in {2, 3}]


WORDS = {
    word.usage.split()[0]: word
    for word in (
        Word("as PERSON", "be somebody else", _as, _people),
        Word("channel NAME", "go to another channel or thread, and read it", _channel, _channels),
        Word("dm PERSON", "write with one person, or with a bot", _dm, _others),
        Word("guild NAME", "go to another guild", _guild, _guilds),
        Word("click LABEL", "press a button of the last message that has any", _click, _labels),
        Word('pick MENU 1 "Two"', "choose in a menu, by number or name", _pick, _quoted_labels),
        Word('submit FIELD="some text"', "send the form that is open", _submit, _fields),
        Word("menu COMMAND @PERSON", "use a context menu; on a message: its id, or last", _menu, _menus),
        Word("reply TEXT", "answer the last message", _reply),
        Word("edit TEXT", "change what you said last", _edit),
        Word("delete", "delete what you said last", _delete),
        Word("react EMOJI", "give the last message a reaction", _react),
        Word("unreact EMOJI", "take it back", _unreact),
        Word("messages [COUNT]", "the last messages here", _messages),
        Word("incident NAME 10s", "begin a bad day; also: stop NAME, SETTING=VALUE", _incident, _incidents),
        Word("advance 15m", "move the sandbox's clock ahead", _advance),
        Word("say TEXT", "say a text that begins with a colon", _say),
        Word("who", "who and what is there", _who),
        Word("help", "this page", _help),
        Word("quit", "leave; Ctrl-D does the same", _quit),
    )
}


def told(state: StateSchema, guild: GuildSchema | None) -> list[str]:
    """Who and what is there, a line each."""
    bots = [f"{bot.name}{'' if bot.connected else ' (not connected)'}" for bot in state.bots]
    people = [f"@{member.name}" for member in guild.members if not member.bot] if guild else []
    channels = [f"#{channel.name}" for channel in (*guild.channels, *guild.threads)] if guild else []
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
        raise UsageError(f"{'An' if what[0] in 'aeiou' else 'A'} {what} must follow.", hint="See :help.")
    return rest


def _one_of(name: str, names: Iterable[str], what: str) -> str:
    names = list(names)
    if name in names:
        return name
    said = f'There is no {what} "{name}".' if name else f"The name of a {what} must follow."
    raise UsageError(said, hint=guess(name, names) or f"There are: {', '.join(names)}.")
