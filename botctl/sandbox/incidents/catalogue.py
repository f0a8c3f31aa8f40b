"""The catalogue of incidents: async functions with the decorator `@incident`.

Each runs until it returns or is cancelled, and restores what it changed. Its keyword arguments are its settings, each
with a default; its docstring says what Discord does. Importing `register_all` fills the catalogue.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.sandbox import Sandbox

Value = float | int | bool | str
Function = Callable[..., Awaitable[Mapping[str, Any] | None]]


@dataclass(frozen=True)
class Incident:
    """``source`` says how we know that Discord does this; ``settings`` maps names to default values."""

    name: str
    description: str
    source: str
    function: Function
    settings: Mapping[str, Value]

    def parse_settings(self, given: Mapping[str, object]) -> dict[str, Value]:
        """``given`` converted to the types of the defaults; raises UsageError."""
        return {name: self._value(name, value) for name, value in given.items()}

    def _value(self, name: str, value: object) -> Value:
        if name not in self.settings:
            names = ", ".join(self.settings) or "none"
            raise UsageError(f"The incident {self.name} has no setting “{name}”.", hint=f"It has: {names}.")
        value_type = type(self.settings[name])
        try:
            return _BOOLEANS[str(value).lower()] if value_type is bool else value_type(str(value))
        except (KeyError, ValueError, TypeError):
            type_name = _TYPE_NAMES[value_type]
            raise UsageError(f"The setting {name} of {self.name} must be {type_name}, not “{value}”.") from None


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_TYPE_NAMES: dict[type, str] = {bool: "yes or no", int: "a whole number", float: "a number", str: "a word"}
INCIDENTS: dict[str, Incident] = {}


def incident(source: str) -> Callable[[Function], Function]:
    """Add a function to the catalogue, under its name with dashes."""

    def register(function: Function) -> Function:
        name = function.__name__.replace("_", "-")
        parameters = list(inspect.signature(function).parameters.values())[1:]
        settings = {parameter.name: parameter.default for parameter in parameters}
        INCIDENTS[name] = Incident(name, inspect.getdoc(function) or "", source, function, settings)
        return function

    return register


def find(name: str) -> Incident:
    incident = INCIDENTS.get(name)
    if incident is None:
        matches = difflib.get_close_matches(name, INCIDENTS, 1)
        hint = f"Did you mean {matches[0]}?" if matches else f"Incidents: {', '.join(sorted(INCIDENTS))}."
        raise UsageError(f"There is no incident “{name}”.", hint=hint)
    return incident


async def until_stopped(sandbox: Sandbox) -> None:
    """Sleep until the incident is cancelled."""
    while True:
        await sandbox.clock.sleep(86_400)


@contextlib.contextmanager
def inject_faults(sandbox: Sandbox, **changes: float) -> Iterator[None]:
    """Set fields of `Sandbox.faults`, the failures that REST and gateway simulate, inside the block."""
    before = {name: getattr(sandbox.faults, name) for name in changes}
    try:
        for name, value in changes.items():
            setattr(sandbox.faults, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(sandbox.faults, name, value)
