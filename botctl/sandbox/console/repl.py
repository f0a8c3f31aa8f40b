"""Runs and completes the lines that a user types at the prompt or pipes in.

A line is a slash command, a message, or a prompt command (``:as bob``). Prompt commands begin with a colon because bots
use the exclamation mark for their own commands. ``:smile:`` is an emoji, so it is a message.
"""

from __future__ import annotations

from botctl.core.errors import BotctlError, UsageError
from botctl.sandbox.console.command_parser import did_you_mean, quote
from botctl.sandbox.console.repl_commands import REPL_COMMANDS, LineResult
from botctl.sandbox.console.suggest import Suggestion, autocomplete_query, complete, filter_names
from botctl.sandbox.console.user_session import UserSession

_AUTOCOMPLETE_TIMEOUT_S = 3.0  # Discord: an interaction, autocomplete too, must be answered within 3 seconds


async def run_line(session: UserSession, line: str) -> LineResult:
    """Run ``line``. Raises BotctlError."""
    line = line.strip()
    if not line.startswith(":") or line.split(maxsplit=1)[0].endswith(":"):
        return await session.send_line(line)
    name, _, rest = line[1:].partition(" ")
    if name not in REPL_COMMANDS:
        raise UsageError(
            f'There is no command ":{name}".', hint=did_you_mean(name, REPL_COMMANDS) or "Type :help for the list."
        )
    before = session.identity
    result = await REPL_COMMANDS[name].run(session, rest.strip())
    if session.identity != before:
        await session.refresh()  # another user or place has other commands
    return result


async def suggest(session: UserSession, text: str, cursor: int) -> list[Suggestion]:
    """Suggestions for the text at ``cursor``; without the bot's autocomplete values if it does not answer."""
    if text.startswith(":"):
        return await _suggest_command(session, text[:cursor])
    known = complete(text, cursor, session.state, session.guild, session.locale)
    query = autocomplete_query(text, cursor, session.commands)
    if query is None:
        return known
    try:
        choices = await session.client.complete(query, session.identity, timeout_s=_AUTOCOMPLETE_TIMEOUT_S)
    except BotctlError:
        return known
    values = {quote(str(choice.value)): "" if choice.name == str(choice.value) else choice.name for choice in choices}
    return [Suggestion(value, query.start, name) for value, name in values.items()] + known


async def _suggest_command(session: UserSession, before: str) -> list[Suggestion]:
    typed, space, rest = before[1:].partition(" ")
    if not space:
        return [Suggestion(":" + name, 0, REPL_COMMANDS[name].summary) for name in filter_names(typed, REPL_COMMANDS)]
    hints = REPL_COMMANDS[typed].arguments if typed in REPL_COMMANDS else None
    if hints is None:
        return []
    try:
        return [Suggestion(name, len(before) - len(rest)) for name in filter_names(rest, await hints(session))]
    except BotctlError:
        return []
