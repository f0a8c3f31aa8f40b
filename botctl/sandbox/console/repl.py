"""The lines that a person types at the prompt, or pipes in: what they mean, and what could come next.

A line is a slash command, a message, or a word for the session itself with a colon before it (``:as bob``): an
exclamation mark would be taken from bots with prefix commands. ``:smile:`` is an emoji and so a message.
"""

from __future__ import annotations

from botctl.core.errors import BotctlError, UsageError
from botctl.sandbox.console.command_parser import did_you_mean, quote
from botctl.sandbox.console.repl_commands import REPL_COMMANDS, LineResult
from botctl.sandbox.console.suggest import Suggestion, autocomplete_query, complete, filter_names
from botctl.sandbox.console.user_session import UserSession

_AUTOCOMPLETE_TIMEOUT_S = 3.0  # Discord: an interaction, autocomplete too, must be answered within 3 seconds


async def run_line(session: UserSession, line: str) -> LineResult:
    """Do what ``line`` says. Raises BotctlError with what is wrong."""
    line = line.strip()
    if not line.startswith(":") or line.split(maxsplit=1)[0].endswith(":"):
        return await session.send_line(line)
    verb, _, rest = line[1:].partition(" ")
    if verb not in REPL_COMMANDS:
        raise UsageError(f'There is no ":{verb}".', hint=did_you_mean(verb, REPL_COMMANDS) or "See :help.")
    identity = session.identity
    outcome = await REPL_COMMANDS[verb].run(session, rest.strip())
    if session.identity != identity:
        await session.refresh()  # for the commands that are there for them
    return outcome


async def suggest(session: UserSession, text: str, cursor: int) -> list[Suggestion]:
    """What could stand at ``cursor``; values with autocomplete are asked from the bot, whose silence is no error."""
    if text.startswith(":"):
        return await _suggest_command(session, text[:cursor])
    known = complete(text, cursor, session.state, session.guild, session.locale)
    asked = autocomplete_query(text, cursor, session.commands)
    if asked is None:
        return known
    try:
        choices = await session.client.complete(asked, session.identity, timeout_s=_AUTOCOMPLETE_TIMEOUT_S)
    except BotctlError:
        return known
    values = {quote(str(one.value)): "" if one.name == str(one.value) else one.name for one in choices}
    return [Suggestion(value, asked.start, name) for value, name in values.items()] + known


async def _suggest_command(session: UserSession, before: str) -> list[Suggestion]:
    verb, space, rest = before[1:].partition(" ")
    if not space:
        return [Suggestion(":" + name, 0, REPL_COMMANDS[name].summary) for name in filter_names(verb, REPL_COMMANDS)]
    hints = REPL_COMMANDS[verb].arguments if verb in REPL_COMMANDS else None
    if hints is None:
        return []
    try:
        return [Suggestion(name, len(before) - len(rest)) for name in filter_names(rest, await hints(session))]
    except BotctlError:
        return []
