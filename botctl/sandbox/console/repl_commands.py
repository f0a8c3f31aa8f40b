"""The words that a person says to the session itself, with a colon before them: ``:as bob``, ``:click Yes``."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from botctl.core.errors import UsageError
from botctl.sandbox.console.command_parser import did_you_mean, quote
from botctl.sandbox.console.incident_args import describe_result, parse_incident, parse_seconds
from botctl.sandbox.console.schemas import GuildSchema, MessageSchema, ReplySchema, StateSchema
from botctl.sandbox.console.user_session import UserSession
from botctl.sandbox.model.messages.components import clickable, name_of

_DEFAULT_LIMIT = 10


@dataclass(frozen=True)
class Notice:
    """Something that the session itself says."""

    text: str


class Quit:
    """The person wants to go."""


LineResult: TypeAlias = ReplySchema | Sequence[MessageSchema] | Notice | Quit


@dataclass(frozen=True)
class ReplCommand:
    """A word for the session: ``usage`` without the colon, ``summary`` in a few words, ``arguments`` for what follows it."""

    usage: str
    summary: str
    run: Callable[[UserSession, str], Awaitable[LineResult]]
    arguments: Callable[[UserSession], Awaitable[Iterable[str]]] | None = None


async def _help(_session: UserSession, _argument: str) -> LineResult:
    rows = {"/command option:value": "use a command; anything else is said in the channel"}
    rows |= {f":{word.usage}": word.summary for word in REPL_COMMANDS.values()}
    width = max(map(len, rows)) + 2
    return Notice("\n".join(f"{usage:{width}}{summary}" for usage, summary in rows.items()))


async def _as(session: UserSession, argument: str) -> LineResult:
    session.identity = replace(
        session.identity, name=_match_name(_unquote(argument).removeprefix("@"), await _person_names(session), "person")
    )
    session.modal = None
    return Notice(f"You are {session.identity.name} now.")


async def _channel(session: UserSession, argument: str) -> LineResult:
    await session.refresh()
    name = _match_name(_unquote(argument).removeprefix("#"), await _channel_names(session), "channel")
    session.identity = replace(session.identity, channel=name, dm=None)
    return await _messages(session, "")


async def _dm(session: UserSession, argument: str) -> LineResult:
    name = _match_name(
        _unquote(_require(argument, "person")).removeprefix("@"), await _dm_partner_names(session), "person"
    )
    session.identity = replace(session.identity, dm=name)
    return await _messages(session, "")


async def _guild(session: UserSession, argument: str) -> LineResult:
    name = _match_name(_unquote(argument), await _guild_names(session), "guild")
    session.identity = replace(session.identity, guild=name, channel=None, dm=None)
    await session.resolve_defaults()
    return Notice(f"You are in {session.location} of {name} now.")


async def _click(session: UserSession, argument: str) -> LineResult:
    return await session.click(_unquote(_require(argument, "button")))


async def _pick(session: UserSession, argument: str) -> LineResult:
    select, *values = split_words(argument)
    return await session.click(select, values)


async def _submit(session: UserSession, argument: str) -> LineResult:
    return await session.submit(parse_assignments(split_words(argument)))


async def _menu(session: UserSession, argument: str) -> LineResult:
    *name, target = split_words(argument)
    if not name:
        raise UsageError(
            "A command and whom it is used on must follow.", hint=f"Write: :menu {quote(target)} @somebody"
        )
    return await session.use_menu(" ".join(name), target)


async def _reply(session: UserSession, argument: str) -> LineResult:
    return await session.client.reply(session.with_mentions(_require(argument, "text")), session.identity)


async def _edit(session: UserSession, argument: str) -> LineResult:
    return await session.client.edit(session.with_mentions(_require(argument, "text")), session.identity)


async def _delete(session: UserSession, _argument: str) -> LineResult:
    gone = await session.client.delete(session.identity)
    return Notice("Deleted.") if gone.answered else gone


async def _react(session: UserSession, argument: str) -> LineResult:
    return await session.client.react(_require(argument, "emoji"), session.identity)


async def _unreact(session: UserSession, argument: str) -> LineResult:
    return await session.client.react(_require(argument, "emoji"), session.identity, remove=True)


async def _incident(session: UserSession, argument: str) -> LineResult:
    body = parse_incident(argument)
    return Notice(describe_result(body, await session.client.incidents(body)))


async def _advance(session: UserSession, argument: str) -> LineResult:
    ahead_s = parse_seconds(_require(argument, "period"))
    return Notice(f"In the sandbox it is {await session.client.advance(ahead_s)} now.")


async def _say(session: UserSession, argument: str) -> LineResult:
    return await session.send(_require(argument, "text"))


async def _messages(session: UserSession, argument: str) -> LineResult:
    return await session.client.messages(
        session.identity, limit=int(argument) if argument.isdecimal() else _DEFAULT_LIMIT
    )


async def _who(session: UserSession, _argument: str) -> LineResult:
    return Notice("\n".join(describe_state(await session.refresh(), session.guild)))


async def _quit(_session: UserSession, _argument: str) -> LineResult:
    return Quit()


async def _person_names(session: UserSession) -> list[str]:
    return [member.name for member in session.guild.members if not member.bot] if session.guild else []


async def _dm_partner_names(session: UserSession) -> list[str]:
    """Whom one can write with."""
    return [one.name for one in session.guild.members if one.name != session.identity.name] if session.guild else []


async def _channel_names(session: UserSession) -> list[str]:
    guild = session.guild
    return [channel.name for channel in (*guild.channels, *guild.threads)] if guild else []


async def _incident_names(session: UserSession) -> list[str]:
    return [str(one["name"]) for one in (await session.client.incidents({}))["incidents"]]


async def _guild_names(session: UserSession) -> list[str]:
    return [guild.name for guild in session.state.guilds]


async def _labels(session: UserSession) -> list[str]:
    """The buttons and menus of the last message that has any."""
    shown = [message for message in await session.client.messages(session.identity) if message.components]
    return [name_of(one) for one in clickable(list(shown[-1].components))] if shown else []


async def _quoted_labels(session: UserSession) -> list[str]:
    return [quote(label) for label in await _labels(session)]


async def _field_names(session: UserSession) -> list[str]:
    return [quote(f"{field.input_name}=").removesuffix('"') for field in session.modal.fields] if session.modal else []


async def _menu_names(session: UserSession) -> list[str]:
    return [command["name"] for command in session.commands if command.get("type") in {2, 3}]


REPL_COMMANDS = {
    word.usage.split()[0]: word
    for word in (
        ReplCommand("as PERSON", "be somebody else", _as, _person_names),
        ReplCommand("channel NAME", "go to another channel or thread, and read it", _channel, _channel_names),
        ReplCommand("dm PERSON", "write with one person, or with a bot", _dm, _dm_partner_names),
        ReplCommand("guild NAME", "go to another guild", _guild, _guild_names),
        ReplCommand("click LABEL", "press a button of the last message that has any", _click, _labels),
        ReplCommand('pick MENU 1 "Two"', "choose in a menu, by number or name", _pick, _quoted_labels),
        ReplCommand('submit FIELD="some text"', "send the form that is open", _submit, _field_names),
        ReplCommand("menu COMMAND @PERSON", "use a context menu; on a message: its id, or last", _menu, _menu_names),
        ReplCommand("reply TEXT", "answer the last message", _reply),
        ReplCommand("edit TEXT", "change what you said last", _edit),
        ReplCommand("delete", "delete what you said last", _delete),
        ReplCommand("react EMOJI", "give the last message a reaction", _react),
        ReplCommand("unreact EMOJI", "take it back", _unreact),
        ReplCommand("messages [COUNT]", "the last messages here", _messages),
        ReplCommand("incident NAME 10s", "begin a bad day; also: stop NAME, SETTING=VALUE", _incident, _incident_names),
        ReplCommand("advance 15m", "move the sandbox's clock ahead", _advance),
        ReplCommand("say TEXT", "say a text that begins with a colon", _say),
        ReplCommand("who", "who and what is there", _who),
        ReplCommand("help", "this page", _help),
        ReplCommand("quit", "leave; Ctrl-D does the same", _quit),
    )
}


def describe_state(state: StateSchema, guild: GuildSchema | None) -> list[str]:
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


def _unquote(argument: str) -> str:
    """``argument`` without quotes around all of it, which lines with several words need and this one does not mind."""
    try:
        found = shlex.split(argument) if argument[:1] in ("'", '"') else []
    except ValueError:  # the quote stays open, so it is part of the name
        return argument
    return found[0] if len(found) == 1 else argument


def split_words(text: str) -> list[str]:
    """``text`` as words; quotes keep several together. Raises UsageError when there is none, or a quote stays open."""
    try:
        return shlex.split(_require(text, "word"))
    except ValueError as error:
        raise UsageError("A quote has no closing quote.", hint='Write \\" for one that is meant.') from error


def parse_assignments(pairs: Iterable[str]) -> dict[str, str]:
    """``field=value`` words as a mapping. Raises UsageError on one without "="."""
    fields: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f'"{pair}" is not FIELD=VALUE.', hint='Write for example: subject="Too loud"')
        fields[name] = value
    return fields


def _require(argument: str, what: str) -> str:
    if not argument:
        raise UsageError(f"{'An' if what[0] in 'aeiou' else 'A'} {what} must follow.", hint="See :help.")
    return argument


def _match_name(name: str, names: Iterable[str], what: str) -> str:
    names = list(names)
    if name in names:
        return name
    said = f'There is no {what} "{name}".' if name else f"The name of a {what} must follow."
    raise UsageError(said, hint=did_you_mean(name, names) or f"There are: {', '.join(names)}.")
