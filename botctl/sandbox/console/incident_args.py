"""Incidents as text: parses what a user types, describes the result."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from botctl.core.errors import UsageError
from botctl.core.timeparse import parse_duration

Json = Mapping[str, Any]


def parse_incident(line: str) -> dict[str, Any]:
    """The request body for ``name 10s every_s=1``, ``stop name`` or an empty line. Raises UsageError."""
    try:
        name, *arguments = shlex.split(line) or [""]
    except ValueError:
        raise UsageError("A quote has no closing quote.") from None
    if not name:
        return {}
    if name == "stop":
        return {"stop": arguments[0] if arguments else "all"}
    periods = [argument for argument in arguments if "=" not in argument]
    if len(periods) > 1:
        raise UsageError(f"An incident has one duration, not {len(periods)}: {', '.join(periods)}.")
    return build_start_body(
        name, periods[0] if periods else None, [argument for argument in arguments if "=" in argument]
    )


def parse_seconds(period: str) -> float:
    """Parse ``10s`` or ``1h30m``. Raises UsageError."""
    try:
        return parse_duration(period).total_seconds()
    except ValueError as error:
        raise UsageError(f"{error}.") from None


def build_start_body(name: str, period: str | None, settings: Iterable[str]) -> dict[str, Any]:
    """The request body that starts an incident, with settings like ``every_s=1``. Raises UsageError."""
    pairs = [setting.partition("=") for setting in settings]
    for key, equals, _ in pairs:
        if not equals:
            raise UsageError(f"“{key}” is not a setting.", hint="Write NAME=VALUE, for example every_s=0.5.")
    for_s = parse_seconds(period) if period else None
    return {"name": name, "for_s": for_s, "settings": {key.strip(): value.strip() for key, _, value in pairs}}


def describe_result(body: Json, response: Json) -> str:
    """One line about the incident; an empty ``body`` gives the list of all incidents."""
    if body.get("name"):
        values = {**response["settings"], **response["result"]}
        details = ", ".join(f"{key}={value}" for key, value in values.items() if value != "")
        period = f" for {body['for_s']:g} s" if body["for_s"] else ""
        return f"{response['name']} has begun{period}{': ' if details else '.'}{details}"
    if body.get("stop"):
        return f"{body['stop']} has ended." if body["stop"] != "all" else "All incidents have ended."
    if body.get("scenario"):
        return "The scenario has begun. End it with: botctl sandbox incident --stop all"
    names = ", ".join(sorted(str(incident["name"]) for incident in response["incidents"]))
    active = ", ".join(str(incident["name"]) for incident in response["going_on"])
    return f"Incidents: {names}.\nActive: {active or 'none'}."
