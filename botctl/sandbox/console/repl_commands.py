"""The prompt's own commands, which begin with a colon: ``:as bob``, ``:click Yes``."""

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
from botctl.sandbox.model.messages.components import clickable, display_name

_DEFAULT_LIMIT = 10


@dataclass(frozen=True)
class Notice:
    """A message of the prompt itself."""

    text: str


class Quit:
    """The user leaves the prompt."""


LineResult: TypeAlias = ReplySchema | Sequence[MessageSchema] | Notice | Quit


@dataclass(frozen=True)
class ReplCommand:
    """A command; ``usage`` is written without the colon, ``arguments`` suggests values for the command's argument."""

    usage: str
    summary: str
    run: Callable[[UserSession, str], Awaitable[LineResult]]
    arguments: Callable[[UserSession], Awaitable[Iterable[str]]] | None = None


async def _help(_session: UserSession, _argument: str) -> LineResult:
    rows = {"/command option:value": "use a command; any other text is posted in the channel"}
    rows |= {f":{command.usage}": command.summary for command in REPL_COMMANDS.values()}
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
        raise UsageError("A command and its target must follow.", hint=f"Write: :menu {quote(target)} @PERSON")
    return await session.use_menu(" ".join(name), target)


async def _reply(session: UserSession, argument: str) -> LineResult:
    return await session.client.reply(session.with_mentions(_require(argument, "text")), session.identity)


async def _edit(session: UserSession, argument: str) -> LineResult:
    return await session.client.edit(session.with_mentions(_require(argument, "text")), session.identity)


async def _delete(session: UserSession, _argument: str) -> LineResult:
    reply = await session.client.delete(session.identity)
    return Notice("Deleted.") if reply.answered else reply


async def _react(session: UserSession, argument: str) -> LineResult:
    return await session.client.react(_require(argument, "emoji"), session.identity)


async def _unreact(session: UserSession, argument: str) -> LineResult:
    return await session.client.react(_require(argument, "emoji"), session.identity, remove=True)


async def _incident(session: UserSession, argument: str) -> LineResult:
    body = parse_incident(argument)
    return Notice(describe_result(body, await session.client.incidents(body)))


async def _advance(session: UserSession, argument: str) -> LineResult:
    advance_s = parse_seconds(_require(argument, "period"))
    return Notice(f"The sandbox's time is {await session.client.advance(advance_s)} now.")


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
    members = session.guild.members if session.guild else []
    return [member.name for member in members if member.name != session.identity.name]


async def _channel_names(session: UserSession) -> list[str]:
    guild = session.guild
    return [channel.name for channel in (*guild.channels, *guild.threads)] if guild else []


async def _incident_names(session: UserSession) -> list[str]:
    return [str(incident["name"]) for incident in (await session.client.incidents({}))["incidents"]]


async def _guild_names(session: UserSession) -> list[str]:
    return [guild.name for guild in session.state.guilds]


async def _labels(session: UserSession) -> list[str]:
    """The buttons and select menus of the last message with components."""
    candidates = [message for message in await session.client.messages(session.identity) if message.components]
    return [display_name(item) for item in clickable(list(candidates[-1].components))] if candidates else []


async def _quoted_labels(session: UserSession) -> list[str]:
    return [quote(label) for label in await _labels(session)]


async def _field_names(session: UserSession) -> list[str]:
    return [quote(f"{field.input_name}=").removesuffix('"') for field in session.modal.fields] if session.modal else []


async def _menu_names(session: UserSession) -> list[str]:
    return [command["name"] for command in session.commands if command.get("type") in {2, 3}]


REPL_COMMANDS = {
    command.usage.split()[0]: command
    for command in (
        ReplCommand("as PERSON", "act as another person", _as, _person_names),
        ReplCommand("channel NAME", "go to another channel or thread, and read it", _channel, _channel_names),
        ReplCommand("dm PERSON", "go to the direct messages with a person or bot", _dm, _dm_partner_names),
        ReplCommand("guild NAME", "go to another guild", _guild, _guild_names),
        ReplCommand("click LABEL", "press a button of the last message with buttons", _click, _labels),
        ReplCommand('pick MENU 1 "Two"', "choose in a select menu, by number or name", _pick, _quoted_labels),
        ReplCommand('submit FIELD="some text"', "send the form that is open", _submit, _field_names),
        ReplCommand("menu COMMAND @PERSON", "use a context menu on a person, a message id or last", _menu, _menu_names),
        ReplCommand("reply TEXT", "reply to the last message", _reply),
        ReplCommand("edit TEXT", "edit your last message", _edit),
        ReplCommand("delete", "delete your last message", _delete),
        ReplCommand("react EMOJI", "add a reaction to the last message", _react),
        ReplCommand("unreact EMOJI", "remove your reaction", _unreact),
        ReplCommand("messages [COUNT]", "show the last messages here", _messages),
        ReplCommand("incident NAME 10s", "start an incident; or: stop NAME", _incident, _incident_names),
        ReplCommand("advance 15m", "advance the sandbox's clock", _advance),
        ReplCommand("say TEXT", "post a text that begins with a colon or a slash", _say),
        ReplCommand("who", "list guilds, channels, people and bots", _who),
        ReplCommand("help", "show this list", _help),
        ReplCommand("quit", "leave the prompt; Ctrl-D does the same", _quit),
    )
}


def describe_state(state: StateSchema, guild: GuildSchema | None) -> list[str]:
    bots = [f"{bot.name}{'' if bot.connected else ' (not connected)'}" for bot in state.bots]
    people = [f"@{member.name}" for member in guild.members if not member.bot] if guild else []
    channels = [f"#{channel.name}" for channel in (*guild.channels, *guild.threads)] if guild else []
    return [
        f"Guilds:   {', '.join(guild.name for guild in state.guilds)}",
        f"Channels: {', '.join(channels)}",
        f"People:   {', '.join(people)}",
        f"Bots:     {', '.join(bots) or 'none has logged in yet'}",
    ]


def _unquote(argument: str) -> str:
    """Remove quotes around the whole argument."""
    try:
        parts = shlex.split(argument) if argument[:1] in ("'", '"') else []
    except ValueError:  # an open quote is part of the name
        return argument
    return parts[0] if len(parts) == 1 else argument


def split_words(text: str) -> list[str]:
    """Split ``text`` into words; quotes group words. Raises UsageError when it is empty or a quote is not closed."""
    try:
        return shlex.split(_require(text, "word"))
    except ValueError as error:
        raise UsageError("A quote has no closing quote.", hint='Write \\" for a literal quote.') from error


def parse_assignments(pairs: Iterable[str]) -> dict[str, str]:
    """Parse ``field=value`` words. Raises UsageError when "=" is missing."""
    fields: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f'"{pair}" is not FIELD=VALUE.', hint='Write for example: subject="Too loud"')
        fields[name] = value
    return fields


def _require(argument: str, what: str) -> str:
    """Return ``argument``. Raises UsageError when it is empty; ``what`` is the argument's name in the error."""
    if not argument:
        raise UsageError(
            f"{'An' if what[0] in 'aeiou' else 'A'} {what} must follow.", hint="Type :help for the commands."
        )
    return argument


def _match_name(name: str, names: Iterable[str], what: str) -> str:
    """Return ``name``. Raises UsageError when it is not one of ``names``; ``what`` is their kind, such as "guild"."""
    names = list(names)
    if name in names:
        return name
    problem = f'There is no {what} "{name}".' if name else f"The name of a {what} must follow."
    raise UsageError(problem, hint=did_you_mean(name, names) or f"There are: {', '.join(names)}.")
