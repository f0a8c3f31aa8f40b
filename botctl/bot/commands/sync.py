"""Registering the commands at Discord: what failed, and for which commands.

disnake sends the whole list of a guild (or of all guilds) at once, and only warns when Discord refuses it. Then Discord
has none of the changes, so the bot must not look as if all were well.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import disnake

from botctl.bot.commands.plain_disnake import kind_of_type
from botctl.core.contracts.invocation import Kind

RETRY_S: Final = (5.0, 15.0, 60.0, 300.0)
"""How long to wait before the commands are sent again; the last one is repeated."""
_IN_COMMAND: Final = re.compile(r"In (?P<index>\d+)(?:\.(?P<field>\S*))?: (?P<reason>.*)")  # as disnake writes it
_NO_ACCESS: Final = (403, 404)
_SHOWN: Final = 10  # names in a sentence
_is_registering: ContextVar[bool] = ContextVar("is_registering", default=False)
_log = logging.getLogger(__name__)


class ListUnknownError(Exception):
    """Discord did not say which commands it has. Sending a list now could delete others."""


@dataclass(frozen=True, slots=True)
class RefusedCommand:
    """A command that Discord refuses, and why."""

    kind: Kind
    name: str
    sentence: str


@dataclass(frozen=True, slots=True)
class SyncFailure:
    """A list that Discord did not take. ``guild``: None for the commands of all guilds."""

    guild: int | None
    commands: tuple[disnake.ApplicationCommand, ...]
    error: Exception

    @property
    def is_final(self) -> bool:
        """Whether Discord would answer the same again."""
        return isinstance(self.error, disnake.HTTPException) and self.error.status in (400, 401, 403, 404)

    def refused(self) -> Iterator[RefusedCommand]:
        """The commands that Discord names in its answer: it gives their index in the list."""
        if not isinstance(self.error, disnake.HTTPException) or self.error.status != 400:  # noqa: PLR2004  Bad Request
            return
        for found in _IN_COMMAND.finditer(self.error.text):
            if int(found["index"]) < len(self.commands):
                command = self.commands[int(found["index"])]
                field = f"{found['field']}: " if found["field"] else ""
                sentence = f"Discord refuses {_label(command)}: {field}{found['reason']}"
                yield RefusedCommand(kind_of_type(command.type), command.name, sentence)

    def __str__(self) -> str:
        where = "" if self.guild is None else f" in the guild {self.guild}"
        names = ", ".join(map(_label, self.commands[:_SHOWN]))
        more = f" and {len(self.commands) - _SHOWN} more" if len(self.commands) > _SHOWN else ""
        what = f"{names}{more} could not be registered{where}" if names else f"no commands could be registered{where}"
        return f"{what}: {self._reason()}"

    def _reason(self) -> str:
        match self.error:
            case disnake.HTTPException(text=text, status=status):
                answer = f"Discord answers {status}: {' '.join(text.split())}"
                if self.guild is None or status not in _NO_ACCESS:
                    return answer
                return f"{answer}. Invite the bot there with the scope applications.commands, or remove the guild"
            case _:
                return f"Discord cannot be reached: {type(self.error).__name__}"


class CommandSync:
    """The state of the bot's list of commands at Discord. ``failures`` are those of the last attempt."""

    def __init__(self) -> None:
        self.failures: list[SyncFailure] = []
        self.done = asyncio.Event()  # the first attempt has ended

    @property
    def is_running(self) -> bool:
        """Whether the current task registers the commands. Other code may send some of its own at the same time."""
        return _is_registering.get()

    def begin(self) -> None:
        self.failures = []
        _is_registering.set(True)

    def end(self) -> None:
        _is_registering.set(False)
        self.done.set()

    def fail(self, guild: int | None, commands: Sequence[disnake.ApplicationCommand], error: Exception) -> None:
        """Record that this list was not taken."""
        self.failures.append(SyncFailure(guild, tuple(commands), error))
        _log.debug("the commands could not be registered", exc_info=error)


def _label(command: Any) -> str:
    return f"/{command.name}" if kind_of_type(command.type) is Kind.SLASH else repr(command.name)
