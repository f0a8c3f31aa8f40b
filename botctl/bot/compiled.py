"""What is made of Command classes before they run: where methods are, which policy holds, and what they need."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from disnake.ext import commands

from botctl.bot.command import Command
from botctl.bot.decisions import CommandPolicy
from botctl.core.contracts.invocation import Kind
from botctl.core.contracts.throttle import Limit

Invokable = commands.InvokableSlashCommand | commands.InvokableUserCommand | commands.InvokableMessageCommand
Blame = Callable[[object, str], None]
"""Notes a fault: the class or function where it is (for the line), and the sentence."""

_OPTIONS: Final = ("throttle", "roles", "defer", "guild_only")


@dataclass(frozen=True, slots=True)
class Checks:
    """What a file is held against: known botctl roles, the default limits, whether a type is provided, names taken."""

    roles: Collection[str] = ()
    limits: tuple[Limit, ...] = ()
    provides: Callable[[Any], bool] = lambda _: True
    jobs: Collection[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class HandlerSpec:
    """One method that answers: an ``execute``, a component or a form.

    ``path``: how its Command is called, ``ops cache``.
    """

    cls: type[Command]
    method: str
    path: str
    defer: Any = False


@dataclass(frozen=True, slots=True, eq=False)
class CompiledCommand:
    """A Command class, ready to be registered. ``policies`` by full name, ``handlers`` by the prefix of custom ids."""

    cls: type[Command]
    name: str
    invokable: Invokable
    policies: dict[str, CommandPolicy]
    handler_specs: list[HandlerSpec]
    handlers: dict[tuple[Kind, str], HandlerSpec]

    @property
    def classes(self) -> list[type[Command]]:
        """The Command and its nested ones, as far as they are called."""
        return list(dict.fromkeys(spec.cls for spec in self._all_specs))

    def bind(self, resolve: Callable[[type], dict[str, Any]]) -> dict[HandlerSpec, Callable[..., Any]]:
        """Make the Command and its nested ones, with the services that they need; returns their methods.

        Raises:
            MissingNeed: nobody provides one of them.
        """
        made: dict[str, Command] = {}
        for spec in self._all_specs:
            if spec.path not in made:
                made[spec.path] = spec.cls(**resolve(spec.cls))
                made[spec.path].full_name = spec.path
        return {spec: getattr(made[spec.path], spec.method) for spec in self._all_specs}

    @property
    def _all_specs(self) -> tuple[HandlerSpec, ...]:
        return (*self.handler_specs, *self.handlers.values())


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """What a Command says of itself, or takes from the one around it. Not checked yet, hence without types."""

    throttle: Any
    roles: Any
    defer: Any
    guild_only: Any

    @classmethod
    def of(cls, command: type[Command], outer: CommandOptions | None = None) -> CommandOptions:
        """The options of ``command``, nested in one with the options ``outer``."""
        said = {}
        for name in _OPTIONS:
            owner = next(base for base in command.__mro__ if name in vars(base))
            said[name] = getattr(outer if owner is Command and outer else command, name)
        return cls(**said)
