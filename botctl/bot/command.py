"""What a command's author writes: a `Command`, its buttons and forms, and what listens to events.

A file in ``commands/`` holds one or more classes::

    class Roll(Command):
        \"\"\"Roll a die.\"\"\"                             # the description that Discord shows

        throttle = "5/10s per user"

        async def execute(self, ctx: Context, sides: commands.Range[int, 2, 100] = 6) -> None:
            await ctx.reply(f"You rolled {random.randint(1, sides)}")

The options of the command are the parameters of ``execute``, with disnake's annotations, ``commands.Param`` and
converters. Sub-commands are methods named ``execute_<name>`` beside one another, or Commands nested in the class;
a nested Command that has sub-commands is a group. What a nested Command does not say itself, it takes from outside;
its buttons and forms go by its own roles and limits.
``__init__`` gets the services that its annotations name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, ClassVar, Final, Literal, TypeVar

from botctl.core.contracts.events import Event

F = TypeVar("F", bound=Callable[..., Any])

MAX_CUSTOM_ID: Final = 100  # Discord: Components > Custom ID
_SETTINGS: Final = ("name", "throttle", "roles", "defer", "guild_only")
_CLOSE: Final = 0.8  # rolse and roles, trottle and throttle; not game and name
MARK: Final = "__botctl__"
"""Where a decorator leaves its note on a function."""


class Command:
    """A slash command. See the module's docstring for its form.

    ``name``: how it is called; the class's name in kebab case when empty. ``throttle``: its limits; None takes those of
    ``commands.throttle`` in the settings, the empty text means none. ``roles``: botctl roles, one of which is needed.
    ``defer``: whether Discord is told by itself that the answer takes longer, seen by all or by the person alone.
    ``guild_only``: whether it exists in direct messages. ``full_name``: with what it is nested in, ``ops cache``;
    set when it has been made.
    """

    name: ClassVar[str] = ""
    throttle: ClassVar[str | None] = None
    roles: ClassVar[tuple[str, ...]] = ()
    defer: ClassVar[Literal[False, "public", "ephemeral"]] = "public"
    guild_only: ClassVar[bool] = False

    full_name: str = ""

    def custom_id(self, handler: str, *parts: object) -> str:
        """The custom id that leads to the ``@component`` or ``@modal`` called ``handler``, with ``parts`` as arguments.

        Raises:
            ValueError: it is longer than Discord allows (100 characters), or a part has a colon.
        """
        words = [self.full_name or command_name(type(self)), handler, *map(str, parts)]
        if any(":" in word for word in words):
            raise ValueError(f"a part of the custom id {words!r} has a colon, which separates parts")
        if len(joined := ":".join(words)) > MAX_CUSTOM_ID:
            raise ValueError(f"custom id {joined!r} has {len(joined)} characters; Discord allows {MAX_CUSTOM_ID}")
        return joined


class UserCommand(Command):
    """A command in the menu of a user: ``async def execute(self, ctx, user)``."""


class MessageCommand(Command):
    """A command in the menu of a message: ``async def execute(self, ctx, message)``."""


def command_name(cls: type[Command]) -> str:
    """What people call the command: ``name``, else ``WhoIs`` becomes ``who-is``."""
    return cls.__dict__.get("name") or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()


def misspelt(cls: type[Command]) -> Iterator[tuple[str, str]]:
    """Attributes of ``cls`` that look like slips of the pen, each with what may have been meant.

    A ``role`` that nobody reads would open a command to everybody.
    """
    for base in cls.__mro__[: cls.__mro__.index(Command)]:
        for name, value in vars(base).items():
            if name in _SETTINGS or name.startswith("_") or callable(value) or hasattr(value, "__get__"):
                continue
            for close in get_close_matches(name, _SETTINGS, n=1, cutoff=_CLOSE):
                yield name, close


def component(name: str) -> Callable[[F], F]:
    """Let a method of a Command answer buttons and selects whose custom id is ``<command>:<name>[:part…]``.

    The parts are its arguments, as text: ``async def vote(self, ctx, choice: str)``. Custom ids outlive the process:
    an old message's button still works after a restart.
    """
    return _marker("component", name)


def modal(name: str) -> Callable[[F], F]:
    """Let a method of a Command receive forms whose custom id is ``<command>:<name>[:part…]``; like `component`."""
    return _marker("modal", name)


def on(*events: type[Event]) -> Callable[[F], F]:
    """Call a function of a file in ``commands/`` for each event of these classes: ``async def slow(event)``.

    Further parameters are services, by annotation. It runs in the background: commands do not wait for it, and what it
    raises is logged.
    """
    return _marker("on", events)


def marks(function: object) -> dict[str, Any]:
    """The notes that the decorators of this module left on ``function``."""
    found: dict[str, Any] = getattr(function, MARK, {})
    return found


def _marker(kind: str, value: object) -> Callable[[F], F]:
    def mark(function: F) -> F:
        setattr(function, MARK, marks(function) | {kind: value})
        return function

    return mark
