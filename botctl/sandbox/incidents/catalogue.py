"""What an incident is: one async function with `@incident`, which goes on until it returns or is cancelled.

What it changed for the time being it puts right by `troubled` or in a ``finally``. Its keyword arguments are its
settings (numbers, flags and words, each with a default), its docstring says what Discord does. Importing `register_all`
fills the catalogue.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.server import Sandbox

Value = float | int | bool | str
Function = Callable[..., Awaitable[Mapping[str, Any] | None]]


@dataclass(frozen=True)
class Incident:
    """``settings`` are the defaults by name; ``source`` is where it is known from that Discord does this."""

    name: str
    what: str
    source: str
    function: Function
    settings: Mapping[str, Value]

    def checked(self, said: Mapping[str, object]) -> dict[str, Value]:
        """``said`` as values of the settings' own types; raises UsageError."""
        return {name: self._value(name, value) for name, value in said.items()}

    def _value(self, name: str, value: object) -> Value:
        if name not in self.settings:
            names = ", ".join(self.settings) or "none"
            raise UsageError(f"The incident {self.name} has no setting “{name}”.", hint=f"It has: {names}.")
        kind = type(self.settings[name])
        try:
            return _FLAGS[str(value).lower()] if kind is bool else kind(str(value))
        except (KeyError, ValueError, TypeError):
            raise UsageError(f"The setting {name} of {self.name} is a {_WORDS[kind]}, not “{value}”.") from None


_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_WORDS: dict[type, str] = {bool: "yes or no", int: "whole number", float: "number", str: "word"}
INCIDENTS: dict[str, Incident] = {}


def incident(source: str) -> Callable[[Function], Function]:
    """Put a function into the catalogue, under its name with dashes."""

    def register(function: Function) -> Function:
        name = function.__name__.replace("_", "-")
        parameters = list(inspect.signature(function).parameters.values())[1:]
        settings = {one.name: one.default for one in parameters}
        INCIDENTS[name] = Incident(name, inspect.getdoc(function) or "", source, function, settings)
        return function

    return register


def find(name: str) -> Incident:
    """The incident called ``name``; raises UsageError with what there is."""
    found = INCIDENTS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, INCIDENTS, 1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(INCIDENTS))}."
        raise UsageError(f"There is no incident “{name}”.", hint=hint)
    return found


async def until_stopped(sandbox: Sandbox) -> None:
    """Wait for the end of the incident."""
    while True:
        await sandbox.clock.sleep(86_400)


@contextlib.contextmanager
def troubled(sandbox: Sandbox, **changes: float) -> Iterator[None]:
    """For the time being `Sandbox.faults` is changed like this."""
    before = {name: getattr(sandbox.faults, name) for name in changes}
    try:
        for name, value in changes.items():
            setattr(sandbox.faults, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(sandbox.faults, name, value)
