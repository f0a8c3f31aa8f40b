"""Scenarios: incidents with start times, in a TOML file.

[[incident]]
name = "op7-storm"
at_s = 5           # after the scenario's start; default 0
for_s = 10         # default: until it returns, or until the scenario ends
every_s = 0.5      # every other key is a setting of the incident
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botctl.core.errors import UsageError
from botctl.sandbox.incidents import catalogue


@dataclass(frozen=True)
class ScenarioStep:
    """One incident of a scenario; times in seconds, ``at_s`` after the scenario's start."""

    name: str
    at_s: float
    for_s: float | None
    settings: Mapping[str, catalogue.Value]

    @property
    def end_s(self) -> float:
        return self.at_s + (self.for_s or 0.0)


def parse(text: str) -> list[ScenarioStep]:
    """The steps in TOML ``text``, sorted by time; raises UsageError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The scenario is not valid TOML: {error}.") from None
    tables = data.pop("incident", None)
    if data or not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        hint = 'Write [[incident]] and below it: name = "op7-storm".'
        extra = f"; it also has {', '.join(data)}" if data else ""
        raise UsageError(f"A scenario is a list of [[incident]] tables{extra}.", hint=hint)
    steps = [_parse_step(number, table) for number, table in enumerate(tables, 1)]
    return sorted(steps, key=lambda step: step.at_s)


def _parse_step(number: int, table: dict[str, Any]) -> ScenarioStep:
    label = f"Incident {number} of the scenario"
    name, at_s, for_s = table.pop("name", None), table.pop("at_s", 0.0), table.pop("for_s", None)
    if not isinstance(name, str):
        raise UsageError(f"{label} has no name.", hint='Add a line such as: name = "op7-storm".')
    for key, value in (("at_s", at_s), ("for_s", for_s)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise UsageError(f"{label} ({name}): {key} must be a number of seconds, not “{value}”.")
    try:
        settings = catalogue.find(name).parse_settings(table)
    except UsageError as error:
        raise UsageError(f"{label}: {error}", hint=error.hint) from None
    return ScenarioStep(name, float(at_s), None if for_s is None else float(for_s), settings)
