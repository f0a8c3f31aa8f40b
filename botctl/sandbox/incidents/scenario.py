"""A scenario: incidents with their times, in a TOML file.

[[incident]]
name = "op7-storm"
at_s = 5           # after the scenario began; 0 when left out
for_s = 10         # left out: until it ends by itself, or with the scenario's last one
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
    """One incident of a scenario; times in seconds, ``at_s`` after the beginning."""

    name: str
    at_s: float
    for_s: float | None
    settings: Mapping[str, catalogue.Value]

    @property
    def end_s(self) -> float:
        return self.at_s + (self.for_s or 0.0)


def parse(text: str) -> list[ScenarioStep]:
    """The steps of the TOML ``text``, by time; raises UsageError that says which incident is wrong, and how."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The scenario is no TOML: {error}.") from None
    listed = data.pop("incident", None)
    if data or not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        also = f"; it also has {', '.join(data)}" if data else ""
        raise UsageError(f"A scenario is a list of [[incident]] tables{also}.", hint='At least: name = "op7-storm".')
    steps = [_step(number, one) for number, one in enumerate(listed, 1)]
    return sorted(steps, key=lambda one: one.at_s)


def _step(number: int, said: dict[str, Any]) -> ScenarioStep:
    where = f"Incident {number} of the scenario"
    name, at_s, for_s = said.pop("name", None), said.pop("at_s", 0.0), said.pop("for_s", None)
    if not isinstance(name, str):
        raise UsageError(f"{where} has no name.", hint='Begin it with: name = "op7-storm".')
    for key, value in (("at_s", at_s), ("for_s", for_s)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            raise UsageError(f"{where} ({name}): {key} is a number of seconds, not “{value}”.")
    try:
        settings = catalogue.find(name).checked(said)
    except UsageError as error:
        raise UsageError(f"{where}: {error}", hint=error.hint) from None
    return ScenarioStep(name, float(at_s), None if for_s is None else float(for_s), settings)
