"""Command classes after validation: their handlers, their policies (limits and roles) and the services they need."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from disnake.ext import commands

from botctl.bot.commands.command import Command
from botctl.bot.commands.policy import CommandPolicy
from botctl.core.contracts.invocation import Kind
from botctl.core.contracts.throttle import Limit

Invokable = commands.InvokableSlashCommand | commands.InvokableUserCommand | commands.InvokableMessageCommand
ReportFault = Callable[[object, str], None]
"""A function that collects faults. It gets the class or function with the fault (for its line), and a sentence."""

_OPTIONS: Final = ("throttle", "roles", "defer", "guild_only")


@dataclass(frozen=True, slots=True)
class ValidationContext:
    """What command files are checked against: known roles and services, and the names of botctl's own jobs."""

    roles: Collection[str] = ()
    limits: tuple[Limit, ...] = ()  # for commands that set none
    provides: Callable[[Any], bool] = lambda _: True  # whether a service of this type exists
    jobs: Collection[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class HandlerSpec:
    """A method that handles a command, component or modal. ``path``: its Command's full name, such as ``ops cache``."""

    cls: type[Command]
    method: str
    path: str
    defer: Any = False


@dataclass(frozen=True, slots=True, eq=False)
class CompiledCommand:
    """A Command class that is ready to be registered."""

    cls: type[Command]
    name: str  # in Discord
    invokable: Invokable  # disnake's command
    policies: dict[tuple[Kind, str], CommandPolicy]  # by kind and full name
    handler_specs: list[HandlerSpec]  # of the ``execute`` methods
    handlers: dict[tuple[Kind, str], HandlerSpec]  # of components and modals, by custom id prefix

    @property
    def classes(self) -> list[type[Command]]:
        """The Command and the nested Commands that have handlers."""
        return list(dict.fromkeys(spec.cls for spec in self._all_specs))

    def bind(self, resolve: Callable[[type], dict[str, Any]]) -> dict[HandlerSpec, Callable[..., Any]]:
        """Instantiate the Command and its nested Commands; return the bound methods.

        ``resolve`` returns the services that a class needs, and raises MissingNeed if one does not exist.
        """
        instances: dict[str, Command] = {}
        for spec in self._all_specs:
            if spec.path not in instances:
                instances[spec.path] = spec.cls(**resolve(spec.cls))
                instances[spec.path].full_name = spec.path
        return {spec: getattr(instances[spec.path], spec.method) for spec in self._all_specs}

    @property
    def _all_specs(self) -> tuple[HandlerSpec, ...]:
        return (*self.handler_specs, *self.handlers.values())


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """The options of a Command, own or inherited, before validation."""

    throttle: Any
    roles: Any
    defer: Any
    guild_only: Any

    @classmethod
    def from_class(cls, command: type[Command], outer: CommandOptions | None = None) -> CommandOptions:
        """Read the options of ``command``; ``outer`` are those of the class around it."""
        values = {}
        for name in _OPTIONS:
            definer = next(base for base in command.__mro__ if name in vars(base))
            values[name] = getattr(outer if definer is Command and outer else command, name)
        return cls(**values)
