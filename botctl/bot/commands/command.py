"""What the author of a command uses: `Command`, handlers of its buttons and modals, and event handlers.

A file in ``commands/`` holds one or more classes::

    class Roll(Command):
        \"\"\"Roll a die.\"\"\"  # the description that Discord shows
        throttle = "5/10s per user"

        async def execute(self, ctx: Context, sides: commands.Range[int, 2, 100] = 6) -> None:
            await ctx.reply(f"You rolled {random.randint(1, sides)}")

The parameters of ``execute`` are the options of the command, with disnake's annotations, ``commands.Param`` and
converters. Sub-commands are methods named ``execute_<name>``, or nested Command classes; a nested Command that has
sub-commands is a group. A nested Command inherits ``throttle``, ``roles``, ``defer`` and ``guild_only`` from the class
around it, unless it sets them. ``__init__`` gets the services that its annotations name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, ClassVar, Final, Literal, TypeVar

from botctl.core.contracts.events import Event
from botctl.core.contracts.invocation import Kind, policy_name

F = TypeVar("F", bound=Callable[..., Any])

MAX_CUSTOM_ID: Final = 100  # Discord: Components > Custom ID
_OPTIONS: Final = ("name", "throttle", "roles", "defer", "guild_only")
_SIMILARITY: Final = 0.8  # a misspelled name has at least this difflib ratio: rolse and roles, but not game and name
METADATA: Final = "__botctl__"
"""The attribute of a function in which the decorators store their arguments."""


class Command:
    """A slash command. The docstring of this module shows how to write one."""

    name: ClassVar[str] = ""  # if empty, the class name in kebab case
    throttle: ClassVar[str | None] = None  # None: commands.throttle of the settings; "": no limits
    roles: ClassVar[tuple[str, ...]] = ()  # names in ``[roles]``: the user needs one; empty: everyone may use it
    defer: ClassVar[Literal[False, "public", "ephemeral"]] = "public"  # who sees an automatic "thinking…"
    guild_only: ClassVar[bool] = False  # not in direct messages

    full_name: str = ""  # with the names of its parents: ops cache; set when the command is instantiated

    def custom_id(self, handler: str, *parts: object) -> str:
        """Return a custom id for the ``@component`` or ``@modal`` named ``handler``; it gets ``parts`` as arguments.

        Raises ValueError if the id is longer than 100 characters (Discord's limit), or a part has a colon.
        """
        command = policy_name(kind_of(type(self)), self.full_name or command_name(type(self)))
        segments = [command, handler, *map(str, parts)]
        if any(":" in segment for segment in segments):
            raise ValueError(f"a part of the custom id {segments!r} has a colon, which separates parts")
        if len(joined := ":".join(segments)) > MAX_CUSTOM_ID:
            raise ValueError(f"custom id {joined!r} has {len(joined)} characters; Discord allows {MAX_CUSTOM_ID}")
        return joined


class UserCommand(Command):
    """A command in the context menu of a user: ``async def execute(self, ctx, user)``."""


class MessageCommand(Command):
    """A command in the context menu of a message: ``async def execute(self, ctx, message)``."""


def kind_of(cls: type[Command]) -> Kind:
    """Return whether ``cls`` is a slash command, or in the context menu of users or messages."""
    if issubclass(cls, UserCommand):
        return Kind.USER
    return Kind.MESSAGE if issubclass(cls, MessageCommand) else Kind.SLASH


def command_name(cls: type[Command]) -> str:
    """Return ``name`` if it is set, else the class name in kebab case: ``WhoIs`` becomes ``who-is``."""
    return cls.__dict__.get("name") or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()


def misspelled_options(cls: type[Command]) -> Iterator[tuple[str, str]]:
    """Yield each attribute of ``cls`` that looks like a misspelled option, and the option: ``role``, ``roles``."""
    for base in cls.__mro__[: cls.__mro__.index(Command)]:
        for name, value in vars(base).items():
            if name in _OPTIONS or name.startswith("_") or callable(value) or hasattr(value, "__get__"):
                continue
            for option in get_close_matches(name, _OPTIONS, n=1, cutoff=_SIMILARITY):
                yield name, option


def component(name: str) -> Callable[[F], F]:
    """Handle buttons and select menus whose custom id is ``<command>:<name>[:part…]``; parts are text arguments.

    ``Command.custom_id`` makes it. The command is ``ops cache``; of a context menu, ``user/Ban`` or ``message/Report``.
    """
    return _store_metadata("component", name)


def modal(name: str) -> Callable[[F], F]:
    """Handle modals whose custom id is ``<command>:<name>[:part…]``, like `component`."""
    return _store_metadata("modal", name)


def on(*events: type[Event]) -> Callable[[F], F]:
    """Handle events of these classes in the background: ``async def slow(event)``. Other parameters are services."""
    return _store_metadata("on", events)


def metadata_of(function: object) -> dict[str, Any]:
    """Return what the decorators of this module stored on ``function``."""
    metadata: dict[str, Any] = getattr(function, METADATA, {})
    return metadata


def _store_metadata(kind: str, value: object) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        setattr(function, METADATA, metadata_of(function) | {kind: value})
        return function

    return decorate
