"""What is made of Command classes before they run: where methods are, which rules hold, and what they need."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

from disnake.ext import commands

from botctl.bot.command import Command
from botctl.bot.decisions import Rules
from botctl.core.contracts.invocation import Kind
from botctl.core.contracts.throttle import Limit

Invokable = commands.InvokableSlashCommand | commands.InvokableUserCommand | commands.InvokableMessageCommand
Blame = Callable[[object, str], None]
"""Notes a fault: the class or function where it is (for the line), and the sentence."""

_TRAITS: Final = ("throttle", "roles", "defer", "guild_only")


@dataclass(frozen=True, slots=True)
class Checks:
    """What a file is held against: known botctl roles, the default limits, whether a type is provided, names taken."""

    roles: Collection[str] = ()
    limits: tuple[Limit, ...] = ()
    provides: Callable[[Any], bool] = lambda _: True
    jobs: Collection[str] = ()


@dataclass(slots=True, eq=False)
class Leaf:
    """One method that answers: an ``execute``, a component or a form. ``run`` is set when its Command has been made.

    ``path``: how its Command is called, ``ops cache``.
    """

    cls: type[Command]
    method: str
    path: str
    defer: Any = False
    run: Callable[..., Any] = field(init=False)


@dataclass(slots=True, eq=False)
class Built:
    """A Command class, ready to be registered. ``rules`` by full name, ``handlers`` by the prefix of custom ids."""

    cls: type[Command]
    name: str
    invokable: Invokable
    rules: dict[str, Rules]
    leaves: list[Leaf]
    handlers: dict[tuple[Kind, str], Leaf]

    @property
    def classes(self) -> list[type[Command]]:
        """The Command and its nested ones, as far as they are called."""
        return list(dict.fromkeys(leaf.cls for leaf in (*self.leaves, *self.handlers.values())))

    def bind(self, resolve: Callable[[type], dict[str, Any]]) -> None:
        """Make the Command and its nested ones, with the services that they need.

        Raises:
            MissingNeed: nobody provides one of them.
        """
        made: dict[str, Command] = {}
        for leaf in (*self.leaves, *self.handlers.values()):
            if leaf.path not in made:
                made[leaf.path] = leaf.cls(**resolve(leaf.cls))
                made[leaf.path].full_name = leaf.path
            leaf.run = getattr(made[leaf.path], leaf.method)


@dataclass(frozen=True, slots=True)
class Traits:
    """What a Command says of itself, or takes from the one around it. Not checked yet, hence without types."""

    throttle: Any
    roles: Any
    defer: Any
    guild_only: Any

    @classmethod
    def of(cls, command: type[Command], outer: Traits | None = None) -> Traits:
        """The traits of ``command``, nested in one with the traits ``outer``."""
        said = {}
        for name in _TRAITS:
            owner = next(base for base in command.__mro__ if name in vars(base))
            said[name] = getattr(outer if owner is Command and outer else command, name)
        return cls(**said)
