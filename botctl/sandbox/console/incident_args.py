"""Incidents in a person's words: what they ask for, and what they are told. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from botctl.core.errors import UsageError
from botctl.core.timeparse import parse_duration

Json = Mapping[str, Any]


def asked(line: str) -> dict[str, Any]:
    """``name 10s every_s=1``, ``stop name`` or nothing, as the control port takes it. Raises UsageError."""
    try:
        name, *more = shlex.split(line) or [""]
    except ValueError:
        raise UsageError("A quote has no closing quote.") from None
    if not name:
        return {}
    if name == "stop":
        return {"stop": more[0] if more else "all"}
    periods = [one for one in more if "=" not in one]
    if len(periods) > 1:
        raise UsageError(f"An incident has one length, and not {' and '.join(periods)}.")
    return begin(name, periods[0] if periods else None, [one for one in more if "=" in one])


def seconds(period: str) -> float:
    """The seconds of ``10s`` or ``1h30m``. Raises UsageError."""
    try:
        return parse_duration(period).total_seconds()
    except ValueError as error:
        raise UsageError(f"{error}.") from None


def begin(name: str, period: str | None, settings: Iterable[str]) -> dict[str, Any]:
    """An incident of the length ``period``, with settings like ``every_s=1``. Raises UsageError."""
    pairs = [one.partition("=") for one in settings]
    for key, equals, _ in pairs:
        if not equals:
            raise UsageError(f"“{key}” is no setting.", hint="Write NAME=VALUE, like every_s=0.5.")
    for_s = seconds(period) if period else None
    return {"name": name, "for_s": for_s, "settings": {key.strip(): value.strip() for key, _, value in pairs}}


def told_of(body: Json, said: Json) -> str:
    """What came of it, in a line; all there is, in many."""
    if body.get("name"):
        known = {**said["settings"], **said["result"]}
        told = ", ".join(f"{key}={value}" for key, value in known.items() if value != "")
        how_long = f" for {body['for_s']:g} s" if body["for_s"] else ""
        return f"{said['name']} has begun{how_long}{': ' if told else '.'}{told}"
    if body.get("stop"):
        return f"{body['stop']} has ended." if body["stop"] != "all" else "All incidents have ended."
    if body.get("scenario"):
        return "The scenario has begun. End it with --stop all."
    names = ", ".join(sorted(str(one["name"]) for one in said["incidents"]))
    now = ", ".join(str(one["name"]) for one in said["going_on"])
    return f"There are: {names}.\nNow: {now or 'none'}."
